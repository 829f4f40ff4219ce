"""Clusters that are alike: every failure domain, or every level of trust, spread over all of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from protocols import check
from protocols.clustering import clusterings
from protocols.clustering._dealing import dealt, period_of, spread_by
from protocols.population import Population
from protocols.randomness import public_stream
from protocols.types import Clustering, balanced_sizes


@clusterings.register(
    source="Neyman 1934 (strata); striping over failure domains as in Ghemawat et al. 2003, SOSP, Section 4",
    examples=({}, {"by": "trust"}, {"by": "trust", "every": 1}, {"every": 2}),
    facts={"drawn": True},
)
@dataclass(frozen=True, kw_only=True)
class Stratified:
    """Spread by failure `domain` or by `trust` score, drawn once (every = 0) or again every `every` rounds.

    By domain: the domains one after the other in random order, dealt like cards. By trust: sorted by score, each
    m in a row go to the m clusters in random order. The seed is a beacon's, as for `random`.

    Guarantees:
        By domain, a domain of s processes puts at most ceil(s / m) members into each of the m clusters.
        By trust, each cluster has at most one of the m least trusted processes, one of the next m, and so on.
        Within one period the clusters stay the same.
    """

    by: Literal["domain", "trust"] = "domain"
    every: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, every=self.every)

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ("domains",) if self.by == "domain" else ("trust",)

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:
        """See ClusteringPolicy."""
        m = len(balanced_sizes(population.n, cluster_size))
        rng = public_stream(seed, "clustering", "stratified", period_of(round_index, self.every))
        if self.by == "trust":
            return spread_by(population.fact("trust", reader="clustering stratified"), cluster_size, rng)
        _, domain = np.unique(population.fact("domains", reader="clustering stratified"), return_inverse=True)
        turn = rng.permutation(int(domain.max()) + 1)[domain]
        return dealt(np.lexsort((rng.permutation(population.n), turn)), m)

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """See ClusteringPolicy."""
        return balanced_sizes(n, cluster_size)

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return cluster_size
