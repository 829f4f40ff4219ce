"""Each process in several clusters, so that tests of clusters tell processes apart."""

from dataclasses import dataclass

from protocols import check
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.clustering._dealing import cut, period_of
from protocols.population import Population
from protocols.randomness import public_stream
from protocols.tolerance.spans import least_support
from protocols.types import Clustering, Cover, balanced_sizes

_MOST_DRAWS = 2000


@clusterings.register(
    source="group testing: Dorfman 1943; Du and Hwang 2000, Combinatorial Group Testing and Its Applications",
    examples=({}, {"support": 2, "colluders": 1}, {"renew": 4}),
    facts={"drawn": True, "keeps_company": True},
)
@dataclass(frozen=True, kw_only=True)
class Overlapping:
    """A cover of `times` random partitions, opened one after the other: round t opens partition t modulo `times`.

    Opened sums of static updates can be added and subtracted. Covers are drawn until every non-zero real combination
    of their sums depends on at least `support` processes beyond any `colluders`; then nothing about fewer than
    `support` honest processes is learnt, however often the cover is opened again. With `renew` > 0 a new cover is
    drawn every `renew` rounds, and this holds for each cover alone. Uniform among the covers that are not rejected.

    Guarantees:
        Every process is in `times` clusters of the cover, one of each partition.
        Every non-zero real combination of the cover's sums depends on support + colluders processes or more.
        Rounds that differ by a multiple of `times` have the same clusters while the cover lasts.

    Raises: CloisterError where no such cover is found.
    """

    times: int = 2
    support: int = 2
    colluders: int = 0
    renew: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(1, times=self.times, support=self.support)
        check.integer_at_least(0, colluders=self.colluders, renew=self.renew)

    @property
    def needs(self) -> tuple[str, ...]:
        """See ClusteringPolicy."""
        return ()

    def cover(self, *, n: int, cluster_size: int, seed: int, round_index: int = 0) -> Cover:
        """Return the cover that a round's clusters are taken from."""
        sizes = self.sizes(n=n, cluster_size=cluster_size)
        rng = public_stream(seed, "clustering", "overlapping", period_of(round_index, self.renew))
        least = self.support + self.colluders
        for _ in range(_MOST_DRAWS):
            drawn = Cover(partitions=tuple(cut(rng.permutation(n), sizes) for _ in range(self.times)))
            if least_support(drawn.membership, least - 1) >= least:
                return drawn
        raise self._refusal(n, cluster_size, f"none of {_MOST_DRAWS} covers drawn")

    def __call__(self, *, population: Population, cluster_size: int, seed: int, round_index: int) -> Clustering:
        """See ClusteringPolicy."""
        cover = self.cover(n=population.n, cluster_size=cluster_size, seed=seed, round_index=round_index)
        return cover.partitions[round_index % self.times]

    def sizes(self, *, n: int, cluster_size: int) -> tuple[int, ...]:
        """See ClusteringPolicy; refuses what opens more sums than any cover of this support can (Singleton bound)."""
        check.integer_at_least(1, n=n, cluster_size=cluster_size)
        sizes = balanced_sizes(n, max(cluster_size, min(n, self.support + self.colluders)))
        rank = 1 + self.times * (len(sizes) - 1)
        if n < self.support + self.colluders or rank > n - (self.support + self.colluders) + 1:
            raise self._refusal(n, cluster_size, f"{rank} independent sums")
        return sizes

    def smallest_cluster(self, cluster_size: int) -> int:
        """See ClusteringPolicy."""
        return max(cluster_size, self.support + self.colluders)

    def _refusal(self, n: int, cluster_size: int, why: str) -> CloisterError:
        return CloisterError(
            f"times = {self.times} partitions of n = {n} processes in clusters of {cluster_size}: {why} leave every "
            f"combination support = {self.support} beyond colluders = {self.colluders}; allowed: larger clusters, "
            f"fewer times, or a smaller support"
        )
