"""Whose inputs colluding members of hidden sums learn: from all sums that their seats tell them, or may tell them."""

from collections.abc import Collection, Iterable, Sequence, Set

from protocols.hidden_sums._resharing import Seats
from protocols.hidden_sums._seating import Formation

__all__ = ["exposed_by", "exposes_whoever_serves", "left_alone"]


def exposed_by(seats: Seats, colluding: Set[int], *, shows_total: bool) -> frozenset[int]:
    """Return the members of whom these learn the input, from all sums that their seats tell them.

    All holders of a node's sum together know its children's sums, more than t2 delegates those of the top level.
    """
    known: list[Collection[int]] = [
        sums for rises in seats.rises for rise in rises if colluding >= set(rise.holders) for sums in rise.sums
    ]
    if any(len(colluding & set(each.delegates)) > seats.access.threshold for each in seats.committees):
        known += seats.sums
    if shows_total:
        known.append(seats.contributors)
    return _alone(frozenset(sums) - colluding for sums in known)


def left_alone(
    groups: Sequence[Collection[int]], colluding: Set[int], *, choosing: Set[int], least: int
) -> frozenset[int]:
    """Return whose input some total of `least` groups or more tells these, where inputs are checked.

    They have any group left out in which one of them is `choosing` its input, by a word that does not pass. The others
    stay; a group that all collude in hides nobody, and is best kept.
    """
    rests = [frozenset(group) - colluding for group in groups]
    stays = [choosing.isdisjoint(group) or not rest for group, rest in zip(groups, rests, strict=True)]
    found = frozenset[int]()
    for number, one in enumerate(rests):
        kept = [rest for each, rest in enumerate(rests) if stays[each] or each == number]
        if len(one) == 1 and len(kept) >= least and one == one.union(*kept):
            found |= one
    return found


def _alone(known: Iterable[frozenset[int]]) -> frozenset[int]:
    """Return whose input follows from sums over these sets, of which any two are nested or disjoint."""
    sets = set(known)
    rests = [one.difference(*(other for other in sets if other < one)) for one in sets]
    return frozenset(process for rest in rests if len(rest) == 1 for process in rest)


def exposes_whoever_serves(formation: Formation, colluding: Set[int], *, enough: int, shows_total: bool) -> bool:
    """Return whether these may learn an input where all groups are complete, whoever serves.

    More than `enough` delegates know the groups' sums. Whoever colludes may choose its input. In one draw, whoever
    serves for a part colludes wherever anyone in it does: that coalition knows the most.
    """
    hierarchy = formation.hierarchy
    known: list[Collection[int]] = []
    for level, above in enumerate(hierarchy.levels[1:]):
        parts = hierarchy.processes(level).clusters
        for node in above.clusters:
            if not any(colluding.isdisjoint(parts[child]) for child in node):
                known += [parts[child] for child in node]
    if sum(not colluding.isdisjoint(group) for group in formation.top.clusters) > enough:
        members = range(hierarchy.leaves.n)
        known += [(rank,) for rank in members] if formation.one_by_one else formation.top.clusters
    if shows_total:
        known.append(range(hierarchy.leaves.n))
    alone = _alone(frozenset(sums) - colluding for sums in known)
    if shows_total and formation.one_by_one:
        alone |= left_alone(formation.top.clusters, colluding, choosing=colluding, least=formation.access.parties)
    return bool(formation.opened(colluding) or alone)
