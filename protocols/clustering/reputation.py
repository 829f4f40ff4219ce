"""Clusters by a score that is learnt from what past rounds showed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.clustering._dealing import packed_by, packed_owners, period_of, spread_by, spread_owners
from protocols.population import Population, Report
from protocols.randomness import public_stream
from protocols.types import Clustering, balanced_sizes


@clusterings.register(
    source="Jøsang and Ismail 2002, The Beta Reputation System, Bled eConference",
    examples=({}, {"pack": True}, {"memory": 0.9, "every": 3}),
    facts={"drawn": True},
)
@dataclass(frozen=True, kw_only=True)
class Reputation:
    """Spread, or packed, by a score learnt from past rounds; drawn again every `every` rounds.

    The score is (1 + clean) / (2 + clean + flagged): rounds in which a process's cluster was unremarkable, and rounds
    in which it was suspected, excluded or failed. A report counts `memory` times as much as one a round younger.
    Only reports from before the period count, so that what is learnt does not change clusters within it.

    Guarantees:
        A process that was flagged more often and clean less often than another has a lower score.
        Packed, no process of a cluster has a higher score than one of a later cluster.
        Spread, each cluster has at most one of the m lowest scores, one of the next m, and so on.
        Within one period the clusters stay the same.
    """

    pack: bool = False
    memory: float = 1.0
    every: int = 1

    def __post_init__(self) -> None:
        check.integer_at_least(1, every=self.every)
        check.positive(memory=self.memory)
        if self.memory > 1:
            raise CloisterError(f"memory = {self.memory} is not allowed; allowed: a number > 0 and <= 1")

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ("reports",)

    def scores(self, population: Population, round_index: int) -> NDArray[np.float64]:
        """Return the score (n,) of each process at a round, in (0, 1); 0.5 where nothing is known."""
        start = period_of(round_index, self.every) * self.every
        clean, flagged = np.zeros(population.n), np.zeros(population.n)
        for report in population.past(reader="clustering reputation"):
            if report.round_index < start:
                weight = self.memory ** (start - 1 - report.round_index)
                bad = _flagged(report)
                flagged[bad] += weight
                clean[_members(report)] += weight
                clean[bad] -= weight
        return (1 + clean) / (2 + clean + flagged)

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:
        """See ClusteringPolicy."""
        sizes = balanced_sizes(population.n, cluster_size)
        score = self.scores(population, round_index)
        rng = public_stream(seed, "clustering", "reputation", period_of(round_index, self.every))
        return packed_by(score, sizes, rng) if self.pack else spread_by(score, cluster_size, rng)

    def assign_by(
        self, score: NDArray[np.float64], *, cluster_size: int, seed: int, round_index: int
    ) -> NDArray[np.int64]:
        """Return the cluster (n,) of each process, as __call__ forms them for processes of these scores (n,).

        Guarantees:
            Equal to the clusters of __call__ where `scores` gives these scores.
        """
        sizes = balanced_sizes(len(score), cluster_size)
        rng = public_stream(seed, "clustering", "reputation", period_of(round_index, self.every))
        return packed_owners(score, sizes, rng) if self.pack else spread_owners(score, cluster_size, rng)

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """See ClusteringPolicy."""
        return balanced_sizes(n, cluster_size)

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return cluster_size


def _members(report: Report) -> list[int]:
    return [member for cluster in report.clusters for member in cluster]


def _flagged(report: Report) -> list[int]:
    return [member for j in report.flagged for member in report.clusters[j]]
