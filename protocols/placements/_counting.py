"""Faulty members counted by cluster: from counts to a mask, and the counts that break the most clusters."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.types import Clustering

__all__ = ["filled_up", "mask_of", "most_broken"]

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]


def mask_of(clustering: Clustering, counts: Sequence[int], rng: np.random.Generator) -> Mask:
    """Return a mask (n,) with counts[j] members of cluster j, drawn uniformly from it."""
    mask = np.zeros(clustering.n, dtype=np.bool_)
    for cluster, count in zip(clustering.clusters, counts, strict=True):
        mask[rng.permutation(cluster)[:count]] = True
    return mask


def filled_up(sizes: Sequence[int], f: int) -> Counts:
    """Return counts that add up to f <= sum(sizes), as even as the sizes allow, earlier places first.

    Guarantees:
        Raising a count that is not at its size, and lowering another, never makes them more even.
    """
    counts = np.zeros(len(sizes), dtype=np.int64)
    free = np.asarray(sizes, dtype=np.int64)
    while f:
        open_places = np.flatnonzero(counts < free)[:f]
        counts[open_places] += 1
        f -= len(open_places)
    return counts


def most_broken(sizes: Sequence[int], broken: Callable[[int], Mask], f: int) -> Counts:
    """Return counts that add up to f and break the most clusters; `broken` maps a size to a mask over 0..size.

    Dynamic programme over clusters: the most that can be broken with each number of faulty processes so far.

    Guarantees:
        No other counts that add up to f break more clusters.
    """
    masks = {size: broken(size) for size in set(sizes)}
    best = np.full(f + 1, -np.inf)
    best[0] = 0.0
    choices: list[Counts] = []
    for size in sizes:
        options = np.full((min(size, f) + 1, f + 1), -np.inf)
        for x, option in enumerate(options):
            option[x:] = best[: f + 1 - x] + masks[size][x]
        choices.append(np.argmax(options, axis=0))
        best = np.max(options, axis=0)
    counts = np.zeros(len(sizes), dtype=np.int64)
    left = f
    for j in reversed(range(len(sizes))):
        counts[j] = choices[j][left]
        left -= int(counts[j])
    return counts
