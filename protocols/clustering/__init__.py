"""Policies that form the clusters, one a file; they see public facts about the processes and a committed seed."""

from typing import Protocol

from protocols.population import Population
from protocols.registry import Registry
from protocols.types import Clustering

__all__ = ["ClusteringPolicy", "clusterings"]


class ClusteringPolicy(Protocol):
    """Forms balanced clusters: sizes differ by at most one and none is smaller than asked for.

    A policy whose clusters change with the seed is registered with facts={"drawn": True}. The seed is a public value
    that nobody could foresee when faults were placed and scores were given: a beacon's, committed to beforehand.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """The facts of a Population that it cannot do without."""
        ...

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:
        """Return the clusters of a round; the same arguments give the same clusters.

        Raises: CloisterError when the cluster size does not fit the population, or a fact that it needs is missing.
        """
        ...

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """Return the sizes of the clusters of n processes, largest first, which no other fact changes.

        Raises: CloisterError when the cluster size does not fit n.
        """
        ...

    def smallest_cluster(self, cluster_size: int) -> int:
        """Return the smallest cluster that the policy forms when asked for `cluster_size`."""
        ...


clusterings: Registry[ClusteringPolicy] = Registry("clustering", ("protocols.clustering",), "cloister.clusterings")
