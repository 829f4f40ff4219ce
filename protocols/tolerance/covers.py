"""Covers of two partitions, opened in turn: the chance that either is broken, by enumeration for few processes.

Each partition alone is uniform. Both together are not independent, since covers are rejected whose sums would tell too
much; so beyond some ten processes only the union bound is known.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import combinations
from math import comb, prod

import numpy as np

from protocols.tolerance.analysis import Faults
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.spans import least_support
from protocols.types import Clustering, Cover, balanced_sizes

__all__ = ["either_fails"]

_MOST_CASES = 400_000
Partition = tuple[tuple[int, ...], ...]


@lru_cache(maxsize=32)
def either_fails(
    faults: Faults, cluster_size: int, conditions: Conditions, tolerate: int, *, support: int = 2
) -> float | None:
    """Return P(some side fails in one of the two partitions of a cover), uniform among the covers of this support.

    None where that would take too long, or where there is no such cover.

    Guarantees:
        Equal to trying every cover and every placement.
    """
    sizes = balanced_sizes(faults.n, cluster_size)
    placements = comb(faults.n, faults.total) * comb(faults.total, faults.byzantine)
    placements *= comb(faults.total - faults.byzantine, faults.crashed)
    if _how_many(sizes) * placements * len(sizes) > _MOST_CASES:
        return None
    # Relabelling the processes maps covers to covers: the first partition may be any, as faults are uniform.
    first = _runs(sizes)
    seconds = (Clustering(clusters=each) for each in _partitions(sizes))
    covers = (Cover(partitions=(Clustering(clusters=first), second)) for second in seconds)
    kept = [cover for cover in covers if least_support(cover.membership, support - 1) >= support]
    if not kept:
        return None
    kinds = np.array(list(_kinds(faults)), dtype=np.int8)
    broken = _breaks(kinds, first, conditions, tolerate)
    shares = [(broken | _breaks(kinds, each.partitions[1].clusters, conditions, tolerate)).mean() for each in kept]
    return float(np.mean(shares))


def _runs(sizes: Sequence[int]) -> Partition:
    ends = np.cumsum(sizes).tolist()
    return tuple(tuple(range(end - size, end)) for size, end in zip(sizes, ends, strict=True))


def _how_many(sizes: Sequence[int]) -> int:
    return prod(comb(sum(sizes[j:]), size) for j, size in enumerate(sizes))


def _partitions(sizes: Sequence[int]) -> Iterator[Partition]:
    """Every assignment of the processes to clusters of these sizes, in order."""

    def deal(left: frozenset[int], wanted: Sequence[int]) -> Iterator[Partition]:
        if not wanted:
            yield ()
            return
        for chosen in combinations(sorted(left), wanted[0]):
            for rest in deal(left - set(chosen), wanted[1:]):
                yield (chosen, *rest)

    return deal(frozenset(range(sum(sizes))), tuple(sizes))


def _kinds(faults: Faults) -> Iterator[list[int]]:
    """Every placement: the kind of each process, 0 for an honest one, 1 Byzantine, 2 crashed, 3 curious."""
    for liars in combinations(range(faults.n), faults.byzantine):
        left = [process for process in range(faults.n) if process not in liars]
        for gone in combinations(left, faults.crashed):
            rest = [process for process in left if process not in gone]
            for curious in combinations(rest, faults.curious):
                held = [0] * faults.n
                for kind, processes in enumerate((liars, gone, curious), start=1):
                    for process in processes:
                        held[process] = kind
                yield held


def _breaks(kinds: np.ndarray, clusters: Partition, conditions: Conditions, tolerate: int) -> np.ndarray:
    """Whether each placement (rows of `kinds`) breaks some side of one round with these clusters."""
    exposed = np.zeros(len(kinds), dtype=np.bool_)
    failed = np.zeros(len(kinds), dtype=np.int64)
    for members in clusters:
        b, k, p = ((kinds[:, list(members)] == kind).sum(axis=1) for kind in (1, 2, 3))
        exposed |= conditions.exposed(len(members), b + p, k)
        failed += conditions.failed(len(members), b, k)
    return exposed | (failed > tolerate)
