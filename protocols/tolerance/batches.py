"""Batches that always act together, in clusters drawn anew: the chance that any of several rounds fails.

Who is faulty in which batch is drawn once, so rounds are not independent; given how many batches have 0, 1, .. faulty
members, they are. So batches take the place of processes: a batch with k faulty members has the k-th kind of fault, and
each way of having f faulty processes in batches is weighted by its probability.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

import numpy as np

from protocols.tolerance.analysis import Faults
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.parts import Groups, Mask, NotExactError, Part
from protocols.tolerance.rounds import over_rounds
from protocols.tolerance.solve import tail

__all__ = ["any_round_fails"]

_MOST_WAYS = 200  # each takes some hundredths of a second
_MOST_CELLS = 2_000_000  # occupancies of a cluster by batches
_NEGLIGIBLE = 1e-10
Counts = tuple[int, ...]
"""How many batches have 1, 2, .. faulty members."""


@dataclass(frozen=True, kw_only=True)
class _Design:
    """`clusters` clusters of `each` batches of `batch` processes; masks over a cluster's number of faulty members."""

    batch: int
    each: int
    clusters: int
    exposed: Mask
    failed: Mask
    tolerate: int

    @property
    def batches(self) -> int:
        return self.each * self.clusters


@lru_cache(maxsize=64)
def any_round_fails(
    faults: Faults, groups: Groups, conditions: Conditions, tolerate: int, *, batch: int, rounds: int
) -> float | None:
    """Return P(some side fails in any of so many rounds), batches drawn once and clusters in each round.

    Exact for one kind of fault, and clusters of one size that is a multiple of `batch`; None for anything else, and
    where it would take too long.

    Guarantees:
        Equal to trying every placement and every drawing of clusters.
        One round is as likely to fail as under clusters that are drawn without batches.
    """
    (size, clusters), *more = groups
    kinds = (faults.byzantine, faults.crashed, faults.curious)
    each, left_over = divmod(size, batch)
    if more or left_over or tolerate < 0 or sum(map(bool, kinds)) != 1 or (each + 1) ** batch > _MOST_CELLS:
        return None
    held = np.arange(size + 1)
    b, k, p = (held if count else np.zeros_like(held) for count in kinds)
    design = _Design(
        batch=batch,
        each=each,
        clusters=clusters,
        exposed=conditions.exposed(size, b + p, k),
        failed=conditions.failed(size, b, k),
        tolerate=tolerate,
    )
    try:
        return _mean(design, faults.total, rounds)
    except NotExactError:
        return None


def _mean(design: _Design, faulty: int, rounds: int) -> float:
    """Return the mean over the ways, the likeliest first: what is left when it changes no digit is not computed."""
    weights = {way: _weight(design, way) for way in islice(_ways(design.batch, faulty, design.batches), _MOST_WAYS + 1)}
    if len(weights) > _MOST_WAYS:
        raise NotExactError(f"there are more than {_MOST_WAYS} ways to have {faulty} faulty processes in batches")
    found, left = 0.0, math.fsum(weights.values())  # 1, but for the rounding of logarithms
    for way, weight in sorted(weights.items(), key=lambda each: -each[1]):
        if left <= _NEGLIGIBLE * found:
            break
        found += weight * over_rounds(_fails(design, way), rounds)
        left -= weight
    return min(1.0, found / math.fsum(weights.values()))


def _ways(batch: int, faulty: int, batches: int) -> Iterator[Counts]:
    """Every number of batches with 1, .., `batch` faulty members, that many of them in all."""

    def deal(k: int, left: int, free: int) -> Iterator[Counts]:
        if k == 1:
            if left <= free:
                yield (left,)
            return
        for count in range(min(left // k, free) + 1):
            for fewer in deal(k - 1, left - k * count, free - count):
                yield (*fewer, count)

    return deal(batch, faulty, batches)


def _weight(design: _Design, way: Counts) -> float:
    """Return the probability of a way: the placements that have it among all."""
    b, n = design.batch, design.batches * design.batch
    faulty = sum(k * count for k, count in enumerate(way, start=1))
    counts = (design.batches - sum(way), *way)
    ways = math.lgamma(design.batches + 1) - sum(math.lgamma(count + 1) for count in counts)
    inside = sum(count * math.log(math.comb(b, k)) for k, count in enumerate(counts))
    every = math.lgamma(n + 1) - math.lgamma(faulty + 1) - math.lgamma(n - faulty + 1)
    return math.exp(ways + inside - every)


def _fails(design: _Design, way: Counts) -> float:
    """Return P(a cluster is exposed, or too many have failed) of one drawing, given how many batches hold how many."""
    private = _tail(design, way, design.exposed, np.zeros_like(design.exposed), 0)
    if private >= 1 - _NEGLIGIBLE:
        return private
    return min(1.0, private + _tail(design, way, design.failed & ~design.exposed, design.exposed, design.tolerate))


def _tail(design: _Design, way: Counts, bad: Mask, barred: Mask, most: int) -> float:
    """Return P(more than `most` clusters are bad, and none is barred); the masks go by the number of faulty members."""
    if not bad.any():
        return 0.0
    axes = np.meshgrid(*[np.arange(design.each + 1)] * design.batch, indexing="ij", sparse=True)
    inside = np.asarray(sum(axes)) <= design.each
    held = np.where(inside, sum(k * axis for k, axis in enumerate(axes, start=1)), 0)
    wrong, safe = bad[held] & inside, ~bad[held] & ~barred[held] | ~inside
    part = Part(size=design.each, count=design.clusters, safe=safe, bad=wrong)
    return tail((part,), design.batches, way, most).value
