"""Clusters of processes that are trusted alike."""

from dataclasses import dataclass

from protocols import check
from protocols.clustering import clusterings
from protocols.clustering._dealing import packed_by, period_of
from protocols.population import Population
from protocols.randomness import public_stream
from protocols.types import Clustering, balanced_sizes


@clusterings.register(
    source="the counterpart of stratified: packing suspicious processes taints the fewest clusters",
    examples=({}, {"every": 1}),
    facts={"drawn": True},
)
@dataclass(frozen=True, kw_only=True)
class Segregated:
    """Packed by trust score, the least trusted first; equal scores are drawn, again every `every` rounds.

    Few clusters are tainted where the score is good, and the honest members among the least trusted lose their
    privacy: not for thresholds.

    Guarantees:
        No process of a cluster is trusted more than one of a later cluster.
        Within one period the clusters stay the same.
    """

    every: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, every=self.every)

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ("trust",)

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:
        """See ClusteringPolicy."""
        sizes = balanced_sizes(population.n, cluster_size)
        rng = public_stream(seed, "clustering", "segregated", period_of(round_index, self.every))
        return packed_by(population.fact("trust", reader="clustering segregated"), sizes, rng)

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """See ClusteringPolicy."""
        return balanced_sizes(n, cluster_size)

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return cluster_size
