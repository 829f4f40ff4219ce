"""Who serves in a batch of hidden sums: groups of groups, their holders, the delegates; and what they can learn."""

import math
from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass

import numpy as np

from protocols.hidden_sums._resharing import Rise, Seats
from protocols.randomness import public_stream
from protocols.secure_robust._access import Access
from protocols.types import Clustering, Hierarchy, balanced_sizes

__all__ = [
    "Rung",
    "common_multiple",
    "draw_seats",
    "exposed_by",
    "hierarchy_of",
    "may_expose",
    "rungs_of",
    "smallest_exposing",
]


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One step of re-sharing: up to `threshold` of these holders, at every node, learn nothing of what they hold."""

    holders: str
    threshold: int


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


def draw_seats(hierarchy: Hierarchy, *, complete: Set[int], access: Access, use: int) -> Seats:
    """Return who does what in batch number `use`, where these groups of the top level are complete.

    All draws are uniform, public, and fixed by the batch's number, whoever is there.
    """
    top = len(hierarchy.levels) - 1
    stream = public_stream(use, "hidden delegates", hierarchy.leaves.n)
    order = [int(number) for number in stream.permutation(len(hierarchy.levels[top].clusters))]
    holders: list[tuple[int, ...]] = list(hierarchy.leaves.clusters)
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
    leaves = [
        leaf for number, leaf in enumerate(hierarchy.leaves.clusters) if _top_of(hierarchy, 0, number) in complete
    ]
    return Seats(
        groups=tuple(holders[number] for number in there),
        sums=tuple(sums[number] for number in there),
        delegates=tuple(delegates[number] for number in order if number in complete)[: access.parties],
        access=access,
        leaves=tuple(leaves),
        rises=tuple(tuple(rise for node, rise in rises if node in complete) for rises in risen),
    )


def _top_of(hierarchy: Hierarchy, level: int, number: int) -> int:
    """Return the node of the top level that a node of a level is in."""
    for above in hierarchy.levels[level + 1 :]:
        number = next(node for node, children in enumerate(above.clusters) if number in children)
    return number


def rungs_of(hierarchy: Hierarchy, access: Access) -> tuple[Rung, ...]:
    """Return the thresholds from the members up to the delegates: all of a node's holders but one, then t2."""
    levels = [min(level.sizes) - 1 for level in hierarchy.levels]
    names = ["members of a group", *(f"holders of a sum of level {number}" for number in range(1, len(levels)))]
    rungs = [Rung(holders=name, threshold=most) for name, most in zip(names, levels, strict=True)]
    return (*rungs, Rung(holders="delegates", threshold=access.threshold))


def smallest_exposing(hierarchy: Hierarchy, access: Access) -> int:
    """Return how many members, at the best places, learn an input.

    They are all but one of the members of a node, and all holders of the node above it or, at the top, t2 + 1
    delegates; one of these may be in the node.
    """
    top = hierarchy.processes(len(hierarchy.levels) - 1).sizes
    found = [max(min(top) - 1, 1) + access.threshold]
    for level, above in enumerate(hierarchy.levels[1:]):
        sizes = hierarchy.processes(level).sizes
        # A node of one member is held by that member, too.
        found += [sizes[part] - 1 + len(node) - 1 for node in above.clusters for part in node if sizes[part] > 1]
    return min(found)


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


def _alone(known: Iterable[frozenset[int]]) -> frozenset[int]:
    """Return whose input follows from sums over these sets, of which any two are nested or disjoint."""
    sets = set(known)
    rests = [one.difference(*(other for other in sets if other < one)) for one in sets]
    return frozenset(process for rest in rests if len(rest) == 1 for process in rest)


def may_expose(groups: Sequence[Collection[int]], colluding: Set[int], access: Access, *, shows_total: bool) -> bool:
    """Return whether these may learn an input, whoever of each group serves, where the groups are the only level."""
    serving = sum(not colluding.isdisjoint(group) for group in groups)
    known = [frozenset(group) - colluding for group in groups] if serving > access.threshold else []
    if shows_total:
        known.append(frozenset[int]().union(*groups) - colluding)
    return bool(_alone(known))
