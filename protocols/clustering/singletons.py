"""The baseline without clusters."""

from dataclasses import dataclass

from protocols.clustering import clusterings
from protocols.population import Population
from protocols.types import Clustering, balanced_sizes


@clusterings.register(source="baseline", facts={"ignores_size": True})
@dataclass(frozen=True, kw_only=True)
class Singletons:
    """One process per cluster: every update is opened, so there is no secrecy.

    Guarantees:
        There are n clusters of one process, whatever the cluster size asked for.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ()

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:  # noqa: ARG002
        """See ClusteringPolicy."""
        return Clustering(clusters=tuple((process,) for process in range(population.n)))

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:  # noqa: ARG002
        """See ClusteringPolicy."""
        return balanced_sizes(n, 1)

    def smallest_cluster(self, cluster_size: int) -> int:  # noqa: ARG002
        """See ClusteringPolicy."""
        return 1
