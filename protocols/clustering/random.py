"""Clusters drawn uniformly at random."""

from dataclasses import dataclass
from itertools import accumulate

from protocols import check
from protocols.clustering import clusterings
from protocols.randomness import public_stream
from protocols.types import Clustering, balanced_sizes


@clusterings.register(
    source="Fisher and Yates 1938; in secure sums: Velicheti, Xia, Koyejo 2021 (SHARE), arXiv:2110.02940",
    examples=({}, {"every": 1}),
)
@dataclass(frozen=True, kw_only=True)
class Random:
    """A uniformly random partition, drawn once (every = 0) or again every `every` rounds.

    Guarantees:
        Every assignment of processes to places is equally likely.
        Within one period the clusters stay the same.
    """

    every: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, every=self.every)

    def __call__(self, *, n: int, cluster_size: int, seed: int, round_index: int) -> Clustering:
        """See ClusteringPolicy."""
        period = round_index // self.every if self.every else 0
        order = [int(process) for process in public_stream(seed, "clustering", period).permutation(n)]
        ends = list(accumulate(balanced_sizes(n, cluster_size)))
        starts = [0, *ends[:-1]]
        return Clustering(clusters=tuple(tuple(order[a:b]) for a, b in zip(starts, ends, strict=True)))

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return cluster_size
