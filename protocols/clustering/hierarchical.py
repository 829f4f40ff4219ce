"""Clusters of processes, groups of clusters, groups of groups."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.clustering._dealing import cut, period_of
from protocols.population import Population
from protocols.randomness import public_stream
from protocols.types import Clustering, Hierarchy, balanced_sizes


@clusterings.register(
    source="Bonawitz et al. 2019, Towards Federated Learning at Scale, MLSys, Section 6: groups, then one aggregator",
    examples=({}, {"groups": (2, 2)}, {"every": 2}),
    facts={"drawn": True},
)
@dataclass(frozen=True, kw_only=True)
class Hierarchical:
    """Random clusters whose sums go up a tree: `groups` are the least numbers of parts of a group, level by level.

    A round uses the leaves; `hierarchy` gives the groups, for protocols that keep cluster sums shared. All levels are
    drawn at once, again every `every` rounds. A level with fewer parts than asked for is one group of all.

    Guarantees:
        Every assignment of processes to leaves and groups is equally likely.
        On every level sizes differ by at most one, and no group has fewer parts than asked for where there are so many.
        Within one period the clusters stay the same.
    """

    groups: tuple[int, ...] = (3,)
    every: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, every=self.every)
        if not self.groups:
            raise CloisterError("groups = () is not allowed; allowed: one number >= 1 for each level above the leaves")
        for size in self.groups:
            check.integer_at_least(1, groups=size)

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ()

    def hierarchy(self, *, n: int, cluster_size: int, seed: int, round_index: int) -> Hierarchy:
        """Return the leaves and the groups of every level."""
        rng = public_stream(seed, "clustering", "hierarchical", period_of(round_index, self.every))
        # The leaves are drawn uniformly, so that runs of them are uniform groups.
        levels = [cut(rng.permutation(n), balanced_sizes(n, cluster_size))]
        for size in self.groups:
            parts = len(levels[-1].clusters)
            levels.append(cut(np.arange(parts), balanced_sizes(parts, min(size, parts))))
        return Hierarchy(levels=tuple(levels))

    def assign(self, *, n: int, cluster_size: int, seed: int, round_index: int) -> NDArray[np.int64]:
        """Return the leaf (n,) of each process, as __call__ forms them, without listing clusters.

        Guarantees:
            Equal to the clusters of __call__.
        """
        sizes = balanced_sizes(n, cluster_size)
        rng = public_stream(seed, "clustering", "hierarchical", period_of(round_index, self.every))
        owner = np.empty(n, dtype=np.int64)
        owner[rng.permutation(n)] = np.repeat(np.arange(len(sizes)), sizes)
        return owner

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:
        """See ClusteringPolicy."""
        return self.hierarchy(n=population.n, cluster_size=cluster_size, seed=seed, round_index=round_index).leaves

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """See ClusteringPolicy."""
        return balanced_sizes(n, cluster_size)

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return cluster_size
