"""Who serves in a batch of hidden sums: groups of groups, their holders, the delegates; and what they can learn."""

import math
from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np
from torch import Tensor

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
    "exposed_by",
    "hierarchy_of",
    "may_expose",
    "opened_by",
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

    With `one_by_one` groups share nothing: each member's own words are shared among the delegates.
    """

    hierarchy: Hierarchy
    sharing: GroupSharing
    access: Access
    one_by_one: bool = False

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
        if self.one_by_one:
            return (Rung(holders="delegates", threshold=self.access.threshold),)
        within = {size: self.sharing.threshold(size) for size in self.hierarchy.leaves.sizes}
        members = Rung(
            holders="members of a group",
            threshold=min(within.values()),
            spare=min(size - 1 - t for size, t in within.items()) if self.sharing.spares else 0,
        )
        between = [
            Rung(holders=f"holders of a sum of level {number}", threshold=min(level.sizes) - 1)
            for number, level in enumerate(self.hierarchy.levels[1:], start=1)
        ]
        return (members, *between, Rung(holders="delegates", threshold=self.access.threshold))

    @property
    def smallest_exposing(self) -> int:
        """How many members, at the best places, learn an input: the weaker of two thresholds counts.

        They are t1 + 1 members of a group that has more, or all but one of the members of a node, and all holders of
        the node above it or, at the top, t2 + 1 delegates; one of these may be in the node.
        """
        if self.one_by_one:
            return self.access.threshold + 1
        found = [max(min(self.top.sizes) - 1, 1) + self.access.threshold]
        within = {size: self.sharing.threshold(size) for size in self.hierarchy.leaves.sizes}
        found += [t + 1 for size, t in within.items() if t + 1 < size]
        for level, above in enumerate(self.hierarchy.levels[1:]):
            sizes = self.hierarchy.processes(level).sizes
            # A node of one member is held by that member, too.
            found += [sizes[part] - 1 + len(node) - 1 for node in above.clusters for part in node if sizes[part] > 1]
        return min(found)

    def opened(self, colluding: Set[int]) -> frozenset[int]:
        """Return the members of whom these know the input from the shares within their groups."""
        return opened_by(self.lowest, colluding, self.sharing)

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
    return Seats(
        groups=tuple(holders[number] for number in there),
        sums=tuple(sums[number] for number in there),
        delegates=tuple(delegates[number] for number in order if number in complete)[: access.parties],
        access=access,
        leaves=tuple(leaf for number, leaf in enumerate(leaves) if _top_of(hierarchy, 0, number) in complete),
        rises=tuple(tuple(rise for node, rise in rises if node in complete) for rises in risen),
    )


def _top_of(hierarchy: Hierarchy, level: int, number: int) -> int:
    """Return the node of the top level that a node of a level is in."""
    for above in hierarchy.levels[level + 1 :]:
        number = next(node for node, children in enumerate(above.clusters) if number in children)
    return number


def exposed_by(seats: Seats, colluding: Set[int], *, shows_total: bool) -> frozenset[int]:
    """Return the members of whom these learn the input, from all sums that their seats tell them.

    All holders of a node's sum together know its children's sums, more than t2 delegates those of the top level.
    """
    known: list[Collection[int]] = [
        sums for rises in seats.rises for rise in rises if colluding >= set(rise.holders) for sums in rise.sums
    ]
    if len(colluding & set(seats.delegates)) > seats.access.threshold:
        known += seats.sums
    if shows_total:
        known.append(seats.contributors)
    return _alone(frozenset(sums) - colluding for sums in known)


def opened_by(groups: Iterable[Collection[int]], colluding: Set[int], sharing: GroupSharing) -> frozenset[int]:
    """Return the others in lowest groups of which more than t1 members collude: shares tell these all inputs."""
    broken = [group for group in groups if len(colluding & set(group)) > sharing.threshold(len(group))]
    return frozenset(rank for group in broken for rank in group) - colluding


def _alone(known: Iterable[frozenset[int]]) -> frozenset[int]:
    """Return whose input follows from sums over these sets, of which any two are nested or disjoint."""
    sets = set(known)
    rests = [one.difference(*(other for other in sets if other < one)) for one in sets]
    return frozenset(process for rest in rests if len(rest) == 1 for process in rest)


def may_expose(
    groups: Sequence[Collection[int]],
    colluding: Set[int],
    access: Access,
    *,
    shows_total: bool,
    one_by_one: bool = False,
) -> bool:
    """Return whether these may learn an input, whoever of each group serves, where the groups are the only level."""
    serving = sum(not colluding.isdisjoint(group) for group in groups)
    held = [(rank,) for group in groups for rank in group] if one_by_one else groups
    known = [frozenset(each) - colluding for each in held] if serving > access.threshold else []
    if shows_total:
        known.append(frozenset[int]().union(*groups) - colluding)
    return bool(_alone(known))
