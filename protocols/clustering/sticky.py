"""Clusters made of batches that always act together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.clustering._dealing import owned, period_of, runs
from protocols.population import Population
from protocols.randomness import public_stream
from protocols.types import Clustering, balanced_sizes


@clusterings.register(
    source="So et al. 2023, Securing Secure Aggregation: Mitigating Multi-Round Privacy Leakage, AAAI (batches)",
    examples=({}, {"batch": 3, "every": 2}, {"every": 0}),
    facts={"drawn": True, "keeps_company": True},
)
@dataclass(frozen=True, kw_only=True)
class Sticky:
    """Batches of at least `batch` processes, drawn once; every `every` rounds whole batches get new clusters.

    However many rounds are opened, what is learnt about static updates is a combination of the batches' sums. A batch
    with too few honest members stays one for ever. Asked for clusters smaller than a batch, it forms clusters of one
    batch. All clusters have equally many batches, and the larger ones among these are dealt evenly.

    Guarantees:
        Two processes of one batch are in one cluster in every round.
        No batch is smaller than `batch`, and batches' sizes differ by at most one.
        Within one period the clusters stay the same.
    """

    batch: int = 2
    every: int = 1

    def __post_init__(self) -> None:
        check.integer_at_least(1, batch=self.batch)
        check.integer_at_least(0, every=self.every)

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ()

    def batches(self, *, n: int, cluster_size: int, seed: int) -> list[NDArray[np.int64]]:
        """Return the processes of each batch, the same in every round, larger batches first."""
        return runs(*self._batched(n, cluster_size, seed))

    def _batched(self, n: int, cluster_size: int, seed: int) -> tuple[NDArray[np.int64], list[int]]:
        """The processes batch after batch, and the sizes of the batches."""
        m = len(self.sizes(n=n, cluster_size=cluster_size))
        count = m * (self.smallest_cluster(cluster_size) // self.batch)
        order = public_stream(seed, "clustering", "batches").permutation(n)
        return order, [n // count + (1 if j < n % count else 0) for j in range(count)]

    def assign(self, *, n: int, cluster_size: int, seed: int, round_index: int) -> NDArray[np.int64]:
        """Return the cluster (n,) of each process, as __call__ forms them, without listing clusters.

        Guarantees:
            Equal to the clusters of __call__.
        """
        m = len(self.sizes(n=n, cluster_size=cluster_size))
        members, sizes = self._batched(n, cluster_size, seed)
        rng = public_stream(seed, "clustering", "sticky", period_of(round_index, self.every))
        larger = n % len(sizes)
        # Dealt like cards, larger batches first: no cluster gets two more of them than another.
        order = np.concatenate([rng.permutation(larger), larger + rng.permutation(len(sizes) - larger)])
        cluster_of_batch = np.empty(len(sizes), dtype=np.int64)
        cluster_of_batch[order] = np.arange(len(sizes)) % m
        owner = np.empty(n, dtype=np.int64)
        owner[members] = np.repeat(cluster_of_batch, sizes)
        return owner

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:
        """See ClusteringPolicy."""
        m = len(self.sizes(n=population.n, cluster_size=cluster_size))
        batches = self.batches(n=population.n, cluster_size=cluster_size, seed=seed)
        rng = public_stream(seed, "clustering", "sticky", period_of(round_index, self.every))
        larger = population.n % len(batches)
        # Dealt like cards, larger batches first: no cluster gets two more of them than another.
        order = np.concatenate([rng.permutation(larger), larger + rng.permutation(len(batches) - larger)])
        owner = np.empty(population.n, dtype=np.int64)
        for place, b in enumerate(order):
            owner[batches[int(b)]] = place % m
        return owned(owner)

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """See ClusteringPolicy."""
        check.integer_at_least(1, n=n, cluster_size=cluster_size)
        if self.batch > n:
            raise CloisterError(f"batch = {self.batch} does not fit n = {n} processes; allowed: 1 to {n}")
        return balanced_sizes(n, self.smallest_cluster(cluster_size))

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return max(cluster_size, self.batch)
