"""Clusters drawn uniformly at random."""

from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.clustering import clusterings
from protocols.clustering._dealing import period_of
from protocols.population import Population
from protocols.randomness import public_stream
from protocols.types import Clustering, balanced_sizes


@clusterings.register(
    source="Fisher and Yates 1938; in secure sums: Velicheti, Xia, Koyejo 2021 (SHARE), arXiv:2110.02940",
    examples=({}, {"every": 1}),
    facts={"drawn": True},
)
@dataclass(frozen=True, kw_only=True)
class Random:
    """A uniformly random partition, drawn once (every = 0) or again every `every` rounds.

    The seed stands for a beacon's value, committed to before it is known: it must be fixed after the faults are, or
    the adversary chooses its clusters. With every > 0 each period draws from a stream of its own.

    Guarantees:
        Every assignment of processes to places is equally likely.
        Within one period the clusters stay the same.
    """

    every: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, every=self.every)

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ()

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:
        """See ClusteringPolicy."""
        n, period = population.n, period_of(round_index, self.every)
        ends = list(accumulate(balanced_sizes(n, cluster_size)))
        order = [int(process) for process in public_stream(seed, "clustering", period).permutation(n)]
        starts = [0, *ends[:-1]]
        return Clustering(clusters=tuple(tuple(order[a:b]) for a, b in zip(starts, ends, strict=True)))

    def assign(self, *, n: int, cluster_size: int, seed: int, round_index: int) -> NDArray[np.int64]:
        """Return the cluster (n,) of each process, as __call__ forms them, without listing clusters.

        Guarantees:
            Equal to the clusters of __call__.
        """
        sizes = balanced_sizes(n, cluster_size)
        order = public_stream(seed, "clustering", period_of(round_index, self.every)).permutation(n)
        owner = np.empty(n, dtype=np.int64)
        owner[order] = np.repeat(np.arange(len(sizes)), sizes)
        return owner

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """See ClusteringPolicy."""
        return balanced_sizes(n, cluster_size)

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return cluster_size
