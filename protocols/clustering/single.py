"""One cluster of all."""

from dataclasses import dataclass

from protocols.clustering import clusterings
from protocols.population import Population
from protocols.types import Clustering, balanced_sizes


@clusterings.register(
    source="baseline: secure aggregation as in Bonawitz et al. 2017, one sum of all processes",
    facts={"ignores_size": True},
)
@dataclass(frozen=True, kw_only=True)
class Single:
    """All processes in one cluster: the most secrecy, and one Byzantine process taints everything.

    Guarantees:
        There is one cluster, of all processes, whatever the cluster size asked for.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ()

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:  # noqa: ARG002
        """See ClusteringPolicy."""
        (size,) = self.sizes(n=population.n, cluster_size=cluster_size)
        return Clustering(clusters=(tuple(range(size)),))

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """See ClusteringPolicy."""
        return (sum(balanced_sizes(n, cluster_size)),)

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return cluster_size
