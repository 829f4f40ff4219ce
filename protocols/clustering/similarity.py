"""Clusters of processes with similar data or updates."""

from dataclasses import dataclass

from protocols.clustering import clusterings
from protocols.clustering._halving import halved
from protocols.population import Population
from protocols.types import Clustering, balanced_sizes


@clusterings.register(
    source="clusters by features: Sattler, Müller, Samek 2021, IEEE TNNLS 32; balanced halving: Boley 1998, DMKD 2"
)
@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Near each other in `features`, by halving along the principal direction; the seed plays no part.

    A process chooses its features and so its cluster: c - 1 mimics can surround a victim. Never where a privacy
    threshold matters; here to be measured against.

    Guarantees:
        Processes whose features lie on a line are cut into consecutive runs.
        Moving or scaling all features alike changes nothing, up to rounding.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ("features",)

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:  # noqa: ARG002
        """See ClusteringPolicy."""
        sizes = balanced_sizes(population.n, cluster_size)
        groups = halved(population.fact("features", reader="clustering similarity"), sizes)
        return Clustering(clusters=tuple(tuple(group.tolist()) for group in groups))

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """See ClusteringPolicy."""
        return balanced_sizes(n, cluster_size)

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return cluster_size
