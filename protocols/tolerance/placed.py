"""Placements that are known but for ties: faulty processes packed into clusters, or spread over them."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from protocols.check import CloisterError
from protocols.tolerance.kinds import MarkedEvent
from protocols.tolerance.laws import Event
from protocols.tolerance.parts import Groups, NotExactError, clusters_of
from protocols.tolerance.solve import Probability, bounds_on, tail
from protocols.tolerance.union import tail_bounds

__all__ = ["Placed", "packed", "spread"]

Held = tuple[tuple[int, int, int], ...]
"""(size, faulty members, how many such clusters)."""


@dataclass(frozen=True, kw_only=True)
class Placed:
    """How many faulty members each cluster has, way by way, each with its probability.

    Guarantees:
        Equal to trying every way, and every choice of who has which kind of fault.
    """

    ways: tuple[tuple[float, Held], ...]

    def probability(self, event: Event) -> Probability:
        """See Law."""
        chances = [weight for weight, held in self.ways if _happens(event, held)]
        return Probability.exact(min(1.0, math.fsum(chances)), "certain" if len(self.ways) == 1 else "ties")

    def marked(self, event: MarkedEvent) -> Probability:
        """See Law; exactly so many processes of each kind."""
        lower = upper = 0.0
        engine, because = "ties", ""
        for weight, held in self.ways:
            found = _marked(event, held)
            lower, upper = lower + weight * found.lower, upper + weight * found.upper
            engine, because = found.engine, because or found.because
        if because:
            return bounds_on(lower, upper, because=because)
        return Probability.exact(min(1.0, lower), engine)


def _happens(event: Event, clusters: Held) -> bool:
    bad = 0
    for size, held, count in clusters:
        safe, wrong = event.masks(size)
        if not safe[held] and not wrong[held]:
            return False
        bad += count * int(wrong[held])
    return bad > event.most


def _marked(event: MarkedEvent, clusters: Held) -> Probability:
    """Who has which kind is uniform over the faulty: a placement of kinds in clusters of faulty members alone."""
    parts = [event.seated(size, held, count) for size, held, count in clusters]
    empty, full = [part for part in parts if not part.size], [part for part in parts if part.size]
    if not all(bool((part.safe | part.bad).all()) for part in empty):
        return Probability.exact(0.0, "certain")
    most = event.most - sum(part.count for part in empty if part.bad.all())
    if most < 0:  # there are enough without any of the others: only what is forbidden counts
        full = [replace(part, safe=np.zeros_like(part.safe), bad=part.safe | part.bad) for part in full]
        most = sum(part.count for part in full) - 1
    n = sum(part.size * part.count for part in full)
    if not n:
        return Probability.exact(float(most < 0), "certain")
    counts = [event.kinds[kind] for kind in event.looked_at]
    try:
        return tail(full, n, counts, most)
    except NotExactError as error:
        bound = tail_bounds(full, n, counts, most)
        return bounds_on(0.0 if event.forbidden else bound.lower, bound.upper, because=str(error))


def packed(groups: Groups, faulty: int) -> Placed:
    """Return the placement that fills one cluster after the other, the largest first."""
    held: list[tuple[int, int, int]] = []
    for size, count in reversed(groups):
        full = min(count, faulty // size)
        faulty -= full * size
        held.append((size, size, full))
        if full < count:
            held += [(size, faulty, 1), (size, 0, count - full - 1)]
            faulty = 0
    return Placed(ways=((1.0, tuple(each for each in held if each[2])),))


def spread(groups: Groups, faulty: int) -> Placed:
    """Return the placement that deals the faulty processes as evenly as sizes allow; who gets one more is drawn.

    Raises: CloisterError where there are more than processes.
    """
    n = sum(size * count for size, count in groups)
    if faulty > n:
        raise CloisterError(f"faulty = {faulty} is more than n = {n} processes; allowed: 0 to {n}")
    each = min(faulty // clusters_of(groups), groups[0][0])
    more = faulty - each * clusters_of(groups)
    return Placed(ways=tuple(_dealt(groups, each, more)))


def _dealt(groups: Groups, each: int, more: int) -> Iterator[tuple[float, Held]]:
    """The ways to give `more` of the clusters that are not full one more, by how many of the larger ones get it."""
    room = [count if size > each else 0 for size, count in groups]
    small, large = room if len(room) > 1 else (room[0], 0)
    for k in range(max(0, more - small), min(large, more) + 1):
        weight = math.comb(small, more - k) * math.comb(large, k) / math.comb(small + large, more)
        held = [
            cluster
            for (size, count), given in zip(groups, (more - k, k), strict=False)
            for cluster in ((size, each + 1, given), (size, each, count - given))
        ]
        yield weight, tuple(one for one in held if one[2])
