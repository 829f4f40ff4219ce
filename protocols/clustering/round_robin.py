"""Clusters by process number, dealt like cards."""

from dataclasses import dataclass

from protocols.clustering import clusterings
from protocols.types import Clustering, balanced_sizes


@clusterings.register(source="folklore; deterministic, so an adversary who chooses its numbers chooses its clusters")
@dataclass(frozen=True, kw_only=True)
class RoundRobin:
    """Process i joins cluster i modulo the number of clusters.

    Guarantees:
        Two processes whose numbers differ by less than the number of clusters are in different clusters.
    """

    def __call__(self, *, n: int, cluster_size: int, seed: int, round_index: int) -> Clustering:  # noqa: ARG002
        """See ClusteringPolicy."""
        m = len(balanced_sizes(n, cluster_size))
        return Clustering(clusters=tuple(tuple(range(j, n, m)) for j in range(m)))

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return cluster_size
