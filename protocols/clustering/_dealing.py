"""What policies have in common: periods, and ways to deal an order of the processes to balanced clusters."""

from collections.abc import Sequence
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from protocols.types import Clustering, balanced_sizes

__all__ = ["cut", "dealt", "owned", "packed_by", "packed_owners", "period_of", "runs", "spread_by", "spread_owners"]

Order = NDArray[np.int64]


def period_of(round_index: int, every: int) -> int:
    """Return the number of the period that a round is in; `every` = 0: all rounds are in one."""
    return round_index // every if every else 0


def runs(order: Order, sizes: Sequence[int]) -> list[Order]:
    """Return the order cut into runs of these sizes."""
    return np.split(order, list(accumulate(sizes))[:-1])


def cut(order: Order, sizes: Sequence[int]) -> Clustering:
    """Return clusters that are runs of the order."""
    return Clustering(clusters=tuple(tuple(run.tolist()) for run in runs(order, sizes)))


def dealt(order: Order, m: int) -> Clustering:
    """Return m clusters, dealt like cards: place i of the order goes to cluster i modulo m."""
    return Clustering(clusters=tuple(tuple(order[j::m].tolist()) for j in range(m)))


def owned(owner: Order) -> Clustering:
    """Return the clusters, given the cluster (n,) of each process."""
    order = np.argsort(owner, kind="stable")
    return cut(order, np.bincount(owner).tolist())


def packed_by(score: NDArray[np.float64], sizes: Sequence[int], rng: np.random.Generator) -> Clustering:
    """Return clusters of neighbours by score, lowest first; equal scores in random order."""
    return cut(_ranked(score, rng), sizes)


def packed_owners(score: NDArray[np.float64], sizes: Sequence[int], rng: np.random.Generator) -> Order:
    """Return the cluster (n,) of each process, as `packed_by` forms them."""
    owner = np.empty(len(score), dtype=np.int64)
    owner[_ranked(score, rng)] = np.repeat(np.arange(len(sizes)), sizes)
    return owner


def spread_by(score: NDArray[np.float64], cluster_size: int, rng: np.random.Generator) -> Clustering:
    """Return clusters that get one each of the m lowest scores, one each of the next m, .., in random order."""
    return owned(spread_owners(score, cluster_size, rng))


def spread_owners(score: NDArray[np.float64], cluster_size: int, rng: np.random.Generator) -> Order:
    """Return the cluster (n,) of each process, as `spread_by` forms them."""
    n = len(score)
    m = len(balanced_sizes(n, cluster_size))
    order = _ranked(score, rng)
    strata = rng.permuted(np.tile(np.arange(m), (-(-n // m), 1)), axis=1)
    owner = np.empty(n, dtype=np.int64)
    owner[order] = strata.ravel()[:n]
    return owner


def _ranked(score: NDArray[np.float64], rng: np.random.Generator) -> Order:
    return np.lexsort((rng.permutation(len(score)), score))
