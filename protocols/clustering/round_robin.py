"""Clusters by process number, dealt like cards."""

from dataclasses import dataclass

import numpy as np

from protocols.clustering import clusterings
from protocols.clustering._dealing import dealt
from protocols.population import Population
from protocols.types import Clustering, balanced_sizes


@clusterings.register(source="folklore; deterministic, so an adversary who chooses its numbers chooses its clusters")
@dataclass(frozen=True, kw_only=True)
class RoundRobin:
    """Process i joins cluster i modulo the number of clusters.

    Guarantees:
        Two processes whose numbers differ by less than the number of clusters are in different clusters.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ()

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:  # noqa: ARG002
        """See ClusteringPolicy."""
        sizes = self.sizes(n=population.n, cluster_size=cluster_size)
        return dealt(np.arange(population.n), len(sizes))

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """See ClusteringPolicy."""
        return balanced_sizes(n, cluster_size)

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return cluster_size
