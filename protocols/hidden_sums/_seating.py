"""Who serves in a batch of hidden sums: groups of groups, their holders, and the delegates."""

import math
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from protocols.check import CloisterError
from protocols.hidden_sums._groups import Attendance, Entered, GroupSharing
from protocols.hidden_sums._resharing import Rise, Seats
from protocols.randomness import public_stream
from protocols.secure_robust._access import Access
from protocols.secure_sum import Party
from protocols.types import Clustering, Hierarchy, balanced_sizes

__all__ = [
    "Formation",
    "Rung",
    "common_multiple",
    "draw_seats",
    "hierarchy_of",
]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One step of re-sharing: up to `threshold` of these holders, at every node, learn nothing of what they hold.

    `spare` of them may crash once they hold it, and before the next step.
    """

    holders: str
    threshold: int
    spare: int = 0


def hierarchy_of(*, parties: int, group_size: int, levels: Sequence[int]) -> Hierarchy:
    """Return groups of consecutive ranks and, above them, groups of consecutive groups, level by level."""
    formed = [_in_order(balanced_sizes(parties, group_size))]
    for size in levels:
        formed.append(_in_order(balanced_sizes(len(formed[-1].clusters), size)))
    return Hierarchy(levels=tuple(formed))


def _in_order(sizes: Sequence[int]) -> Clustering:
    ends = np.cumsum(sizes).tolist()
    return Clustering(clusters=tuple(tuple(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)))


def common_multiple(groups: Sequence[Sequence[int]]) -> int:
    """Return the least common multiple of the groups' sizes."""
    return math.lcm(*(len(group) for group in groups))


@dataclass(frozen=True, kw_only=True)
class Formation:
    """Groups and groups of groups, how the lowest ones share, and how the delegates above the top level do.

    With `one_by_one` groups add up nothing: each member's own words are shared among the delegates.
    """

    hierarchy: Hierarchy
    sharing: GroupSharing
    access: Access
    one_by_one: bool = False
    committees: int = 1

    def check(self, *, groups: int) -> None:
        """Raise CloisterError where so many groups of the top level are too few for the delegates.

        In a group that one member holds, a second committee has no other member to take.
        """
        alone = self.committees if min(len(group) for group in self.top.clusters) == 1 else 1
        least = alone * self.access.parties
        if groups < least:
            which = f" in each of {alone} committees" if alone > 1 else ""
            raise CloisterError(
                f"delegates = {self.access.parties}{which} need as many groups; allowed: {least} or more"
            )

    def deceived_by(self, deviating: Set[int]) -> bool:
        """Return whether these, who may serve in every committee, may make all of them open the same wrong result.

        Committees of as many groups as there are have no group in common.
        """
        if len(deviating) < self.committees:
            return False
        groups = self.top.clusters
        apart = len(groups) >= self.committees * self.access.parties
        serving = sum(not deviating.isdisjoint(group) for group in groups)
        return serving >= self.committees if apart else serving > 0

    @property
    def lowest(self) -> tuple[tuple[int, ...], ...]:
        """The members of each group of the lowest level, who share their words."""
        return self.hierarchy.leaves.clusters

    @property
    def top(self) -> Clustering:
        """The groups of the top level, as the members whose words are in their sums."""
        return self.hierarchy.processes(len(self.hierarchy.levels) - 1)

    def complete(self, attendance: Attendance) -> frozenset[int]:
        """Return the groups of the top level all of whose members have dealt, and whose lowest ones all can go on."""
        stopped = [
            leaf
            for leaf in self.lowest
            if not attendance.dealt.issuperset(leaf)
            or len(attendance.present.intersection(leaf)) <= self.sharing.threshold(len(leaf))
        ]
        lost = {rank for leaf in stopped for rank in leaf}
        return frozenset(number for number, group in enumerate(self.top.clusters) if lost.isdisjoint(group))

    @property
    def rungs(self) -> tuple[Rung, ...]:
        """The thresholds from the members up to the delegates: t1, all of a node's holders but one, then t2."""
        within = {size: self.sharing.threshold(size) for size in self.hierarchy.leaves.sizes}
        members = Rung(
            holders="members of a group",
            threshold=min(within.values()),
            spare=min(size - 1 - t for size, t in within.items()) if self.sharing.spares else 0,
        )
        delegates = Rung(holders="delegates", threshold=self.access.threshold)
        if self.one_by_one:  # members who share n of n hand their own words on, and nobody else's
            return (members, delegates) if self.sharing.spares else (delegates,)
        between = [
            Rung(holders=f"holders of a sum of level {number}", threshold=min(level.sizes) - 1)
            for number, level in enumerate(self.hierarchy.levels[1:], start=1)
        ]
        return (members, *between, delegates)

    @property
    def smallest_exposing(self) -> int:
        """How many members, at the best places, learn an input: the weaker of two thresholds counts.

        They are t1 + 1 members of a group that has more, or all but one of the members of a node, and all holders of
        the node above it or, at the top, t2 + 1 delegates; one of these may be in the node. Where members' words are
        shared one by one t2 + 1 delegates are enough.
        """
        alone = 1 if self.one_by_one else max(min(self.top.sizes) - 1, 1)
        found = [alone + self.access.threshold]
        within = {size: self.sharing.threshold(size) for size in self.hierarchy.leaves.sizes}
        found += [t + 1 for size, t in within.items() if t + 1 < size]
        for level, above in enumerate(self.hierarchy.levels[1:]):
            sizes = self.hierarchy.processes(level).sizes
            # A node of one member is held by that member, too.
            found += [sizes[part] - 1 + len(node) - 1 for node in above.clusters for part in node if sizes[part] > 1]
        return min(found)

    def opened(self, colluding: Set[int]) -> frozenset[int]:
        """Return the others in lowest groups of which more than t1 members collude: shares tell these all inputs."""
        broken = [leaf for leaf in self.lowest if len(colluding & set(leaf)) > self.sharing.threshold(len(leaf))]
        return frozenset(rank for leaf in broken for rank in leaf) - colluding

    def additive(self, party: Party, seats: Seats, entered: Entered) -> Tensor:
        """Return a holder's additive share of its lowest group's sum, int64 (clusters, coordinates)."""
        group = next(leaf for leaf in self.lowest if party.rank in leaf)
        holders = next(leaf for leaf in seats.leaves if party.rank in leaf)
        return self.sharing.additive(party, group, holders, entered)


def _holders_of(formation: Formation, present: Set[int], use: int) -> list[tuple[int, ...]]:
    """Return t1 + 1 members of each lowest group, those who are there before others, by a public order."""
    leaves, found = formation.hierarchy.leaves, list[tuple[int, ...]]()
    stream = public_stream(use, "hidden holders", leaves.n)
    for leaf in leaves.clusters:
        order = [leaf[int(place)] for place in stream.permutation(len(leaf))]
        order.sort(key=lambda rank: rank not in present)
        found.append(tuple(sorted(order[: formation.sharing.threshold(len(leaf)) + 1])))
    return found


def draw_seats(formation: Formation, *, attendance: Attendance, use: int) -> Seats:
    """Return who does what in batch number `use`, where the complete groups go on.

    All draws are uniform and public, and fixed by the batch's number and by who is there.
    """
    hierarchy, access, complete = formation.hierarchy, formation.access, formation.complete(attendance)
    top = len(hierarchy.levels) - 1
    stream = public_stream(use, "hidden delegates", hierarchy.leaves.n)
    order = [int(number) for number in stream.permutation(len(hierarchy.levels[top].clusters))]
    leaves = _holders_of(formation, attendance.present, use)
    holders = leaves
    risen: list[list[tuple[int, Rise]]] = []
    for level, above in enumerate(hierarchy.levels[1:]):
        below, processes = holders, hierarchy.processes(level).clusters
        holders = [tuple(int(stream.choice(list(below[child]))) for child in node) for node in above.clusters]
        rises = [
            Rise(
                children=tuple(below[child] for child in node),
                sums=tuple(processes[child] for child in node),
                holders=holders[number],
            )
            for number, node in enumerate(above.clusters)
        ]
        risen.append([(_top_of(hierarchy, level + 1, number), rise) for number, rise in enumerate(rises)])
    delegates = {number: int(stream.choice(list(holders[number]))) for number in order}
    there, sums = sorted(complete), hierarchy.processes(top).clusters
    chosen = [number for number in order if number in complete]
    first = tuple(delegates[number] for number in chosen)[: access.parties]
    return Seats(
        groups=tuple(holders[number] for number in there),
        sums=tuple(sums[number] for number in there),
        delegates=first,
        second=_second(formation, [holders[number] for number in chosen], first, use),
        access=access,
        leaves=tuple(leaf for number, leaf in enumerate(leaves) if _top_of(hierarchy, 0, number) in complete),
        rises=tuple(tuple(rise for node, rise in rises if node in complete) for rises in risen),
    )


def _second(formation: Formation, groups: Sequence[Sequence[int]], first: Sequence[int], use: int) -> tuple[int, ...]:
    """Return the delegates of a second committee, if any: of the groups that the first one leaves, then of others.

    `groups` are who holds each, the first committee's before others. Nobody serves twice.
    """
    if formation.committees == 1:
        return ()
    stream, found = public_stream(use, "hidden second committee", formation.hierarchy.leaves.n), list[int]()
    for holders in (*groups[len(first) :], *groups[: len(first)]):
        free = [rank for rank in holders if rank not in first]
        if free:
            found.append(int(stream.choice(free)))
    return tuple(found[: formation.access.parties])


def _top_of(hierarchy: Hierarchy, level: int, number: int) -> int:
    """Return the node of the top level that a node of a level is in."""
    for above in hierarchy.levels[level + 1 :]:
        number = next(node for node, children in enumerate(above.clusters) if number in children)
    return number
