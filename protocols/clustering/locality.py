"""Clusters of processes that are near each other on the network."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.clustering import clusterings
from protocols.clustering._halving import halved
from protocols.population import Population
from protocols.types import Clustering, balanced_sizes


@clusterings.register(
    source="latency coordinates: Dabek et al. 2004, SIGCOMM (Vivaldi); balanced halving: Boley 1998, DMKD 2",
    examples=({}, {"striped": True}, {"striped": True, "region": 2}),
)
@dataclass(frozen=True, kw_only=True)
class Locality:
    """Near each other in `positions`, by halving along the principal direction; the seed plays no part.

    What is near often fails together, so P(broken) can be orders of magnitude above that of `random`. Striped: regions
    of `region` clusters' worth of near processes are formed first, and inside a region each failure domain is dealt
    over the region's clusters.

    Guarantees:
        Processes whose positions lie on a line are cut into consecutive runs, regions where striped.
        Striped, a domain with s processes in a region of k clusters puts at most ceil(s / k) into each of them.
    """

    striped: bool = False
    region: int = 4

    def __post_init__(self) -> None:
        check.integer_at_least(1, region=self.region)

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ("positions", "domains") if self.striped else ("positions",)

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:  # noqa: ARG002
        """See ClusteringPolicy."""
        formed: list[NDArray[np.int64]] = []
        for members, k in self.regions(population, cluster_size):
            if self.striped:
                domains = population.fact("domains", reader="clustering locality")[members]
                members = members[np.argsort(domains, kind="stable")]  # noqa: PLW2901
            formed += [members[j::k] for j in range(k)]
        return Clustering(clusters=tuple(tuple(cluster.tolist()) for cluster in formed))

    def regions(self, population: Population, cluster_size: int) -> list[tuple[NDArray[np.int64], int]]:
        """Return the processes of each region, with the number of its clusters: 1 unless striped."""
        sizes = balanced_sizes(population.n, cluster_size)
        width = self.region if self.striped else 1
        parts = [sizes[start : start + width] for start in range(0, len(sizes), width)]
        near = halved(population.fact("positions", reader="clustering locality"), [sum(part) for part in parts])
        return [(members, len(part)) for members, part in zip(near, parts, strict=True)]

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """See ClusteringPolicy."""
        return balanced_sizes(n, cluster_size)

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return cluster_size
