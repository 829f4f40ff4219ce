"""The baseline without clusters."""

from dataclasses import dataclass

from protocols.clustering import clusterings
from protocols.types import Clustering


@clusterings.register(source="baseline")
@dataclass(frozen=True, kw_only=True)
class NoClustering:
    """One process per cluster: every update is opened, so there is no secrecy.

    Guarantees:
        There are n clusters of one process, whatever the cluster size asked for.
    """

    def __call__(self, *, n: int, cluster_size: int, seed: int, round_index: int) -> Clustering:  # noqa: ARG002
        """See ClusteringPolicy."""
        return Clustering(clusters=tuple((process,) for process in range(n)))

    def smallest_cluster(self, cluster_size: int) -> int:  # noqa: ARG002
        """See ClusteringPolicy."""
        return 1
