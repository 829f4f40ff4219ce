"""Policies that form the clusters, one a file."""

from typing import Protocol

from protocols.registry import Registry
from protocols.types import Clustering

__all__ = ["ClusteringPolicy", "clusterings"]


class ClusteringPolicy(Protocol):
    """Forms balanced clusters: sizes differ by at most one and none is smaller than asked for."""

    def __call__(self, *, n: int, cluster_size: int, seed: int, round_index: int) -> Clustering:
        """Return the clusters of a round; the same arguments give the same clusters.

        Raises: CloisterError when the cluster size does not fit n.
        """
        ...

    def smallest_cluster(self, cluster_size: int) -> int:
        """Return the smallest cluster that the policy forms when asked for `cluster_size`."""
        ...


clusterings: Registry[ClusteringPolicy] = Registry("clustering", ("protocols.clustering",), "cloister.clusterings")
