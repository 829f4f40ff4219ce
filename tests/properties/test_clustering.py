"""Every clustering policy under the conformance kit, the kit under planted bugs, and uniformity of random clusters.

Statistical checks have fixed seeds and a false-positive rate below 1e-6 each, after Bonferroni over their parts.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.population import Population
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check
from protocols.testing import clusterings as kit
from protocols.types import Clustering, balanced_sizes

EXAMPLES = kit.example_specs()
ALPHA = 1e-6


@pytest.mark.parametrize(
    ("spec", "check"),
    [(spec, check) for spec in EXAMPLES for check in kit.conformance_checks(spec)],
    ids=lambda given: str(given) if isinstance(given, Spec) else given.__name__,
)
def test_every_policy_conforms(spec: Spec, check: Check) -> None:
    check(spec)


def test_every_registered_policy_is_tried_with_its_defaults() -> None:
    assert {spec.name for spec in EXAMPLES} == set(clusterings.entries())
    assert {str(spec) for spec in EXAMPLES} >= {"random(every=0)", "random(every=1)"}


def test_every_policy_of_the_design_is_there_in_a_file_of_25_to_120_lines() -> None:
    names = {"singletons", "single", "round_robin", "random", "stratified", "segregated", "similarity", "reputation"}
    assert names | {"locality", "sticky", "overlapping", "hierarchical"} <= set(clusterings.entries())
    for entry in clusterings.entries().values():
        assert entry.file.stem == entry.name
        assert 25 <= len(entry.file.read_text().splitlines()) <= 120


def formed(
    name: str, n: int, cluster_size: int, *, seed: int = 0, round_index: int = 0, **parameters: Any
) -> Clustering:
    policy = clusterings.make(clusterings.resolve({"name": name, **parameters}))
    return policy(population=Population(n=n), cluster_size=cluster_size, seed=seed, round_index=round_index)


@st.composite
def fitting_sizes(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 200))
    return n, draw(st.integers(1, n))


class TestTheKitSeesPlantedBugs:
    def plant(self, monkeypatch: pytest.MonkeyPatch, name: str, **methods: Callable[..., Any]) -> Spec:
        for method, planted in methods.items():
            monkeypatch.setattr(clusterings.entry(name).factory, method, planted)
        return clusterings.resolve(name)

    @pytest.mark.parametrize(
        ("bug", "planted", "check"),
        [
            (
                "a small last cluster after clusters of the size asked for",
                lambda n: [tuple(range(start, min(start + 3, n))) for start in range(0, n, 3)],
                kit.forms_clusters_whose_sizes_differ_by_at_most_one,
            ),
            (
                "a generator without a seed",
                lambda n: [tuple(np.random.default_rng().permutation(n).tolist())],
                kit.forms_the_same_clusters_from_the_same_arguments,
            ),
            (
                "other sizes than planned",
                lambda n: [tuple(range(n))],
                kit.states_the_sizes_that_it_forms,
            ),
            (
                "the last process is left out",
                lambda n: [tuple(range(n - 1))] if n > 1 else [(0,)],
                kit.puts_every_process_into_exactly_one_cluster,
            ),
            (
                "a small last cluster",
                lambda n: [tuple(range(max(1, n - 2)))] + ([tuple(range(max(1, n - 2), n))] if n > 1 else []),
                kit.forms_clusters_whose_sizes_differ_by_at_most_one,
            ),
            (
                "clusters smaller than stated",
                lambda n: [(process,) for process in range(n)],
                kit.forms_clusters_whose_sizes_differ_by_at_most_one,
            ),
            (
                "global randomness",
                lambda n: [tuple(np.random.permutation(n).tolist())],  # noqa: NPY002
                kit.forms_the_same_clusters_from_the_same_arguments,
            ),
            (
                "any size fits",
                lambda n: [tuple(range(n))],
                kit.refuses_a_cluster_size_that_does_not_fit,
            ),
        ],
        ids=lambda given: given if isinstance(given, str) else "",
    )
    def test_in_the_clusters(
        self, monkeypatch: pytest.MonkeyPatch, bug: str, planted: Callable[[int], list[tuple[int, ...]]], check: Check
    ) -> None:
        spec = self.plant(
            monkeypatch,
            "round_robin",
            __call__=lambda self, *, population, **given: Clustering(clusters=tuple(planted(population.n))),
        )
        with pytest.raises(AssertionError):
            check(spec)

    def test_in_the_stated_smallest_cluster(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for wrong in (0, 1):
            spec = self.plant(monkeypatch, "random", smallest_cluster=lambda self, size, wrong=wrong: wrong)
            with pytest.raises(AssertionError, match="states the smallest clusters"):
                kit.states_the_smallest_cluster_that_it_forms(spec)

    def test_in_a_state_that_is_kept_from_call_to_call(self, monkeypatch: pytest.MonkeyPatch) -> None:
        calls = itertools.count()

        def planted(self: object, *, population: Population, **given: int) -> Clustering:
            n = population.n
            turn = next(calls) % n
            return Clustering(clusters=(tuple((process + turn) % n for process in range(n)),))

        with pytest.raises(AssertionError, match="from the same seed and round"):
            kit.forms_the_same_clusters_from_the_same_arguments(
                self.plant(monkeypatch, "round_robin", __call__=planted)
            )

    def test_in_a_need_that_it_does_not_have(self, monkeypatch: pytest.MonkeyPatch) -> None:
        spec = self.plant(monkeypatch, "segregated", needs=property(lambda self: ("trust", "domains")))
        with pytest.raises(AssertionError, match="says that it needs domains, and does without"):
            kit.needs_exactly_the_facts_that_it_states(spec)

    def test_in_a_fact_that_it_uses_without_saying_so(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def planted(self: object, *, population: Population, **given: int) -> Clustering:
            order = range(population.n) if population.trust is None else reversed(range(population.n))
            return Clustering(clusters=(tuple(order),))

        spec = self.plant(monkeypatch, "round_robin", __call__=planted)
        with pytest.raises(AssertionError, match="uses facts that are not among its needs"):
            kit.needs_exactly_the_facts_that_it_states(spec)

    def test_in_an_error_that_does_not_name_the_missing_fact(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = clusterings.entry("segregated").factory.__call__

        def planted(self: object, *, population: Population, **given: int) -> Clustering:
            if population.trust is None:
                raise CloisterError("something is missing")
            return original(self, population=population, **given)

        with pytest.raises(AssertionError, match="allowed: what is missing"):
            kit.needs_exactly_the_facts_that_it_states(self.plant(monkeypatch, "segregated", __call__=planted))

    def test_in_what_it_says_of_the_seed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        entries = clusterings.entries()
        for name, facts, reason in (
            ("random", {}, "depends on the seed"),
            ("round_robin", {"drawn": True}, "the same"),
        ):
            changed = type(entries[name])(**{**entries[name].__dict__, "facts": facts})
            monkeypatch.setitem(clusterings._entries, name, changed)
            with pytest.raises(AssertionError, match=reason):
                kit.depends_on_the_seed_exactly_if_it_says_so(clusterings.resolve(name))

    @pytest.mark.parametrize(
        ("every", "wrong", "reason"),
        [
            (3, lambda round_index, every: round_index, "within a period"),
            (3, lambda round_index, every: 0, "in the next period"),
            (0, lambda round_index, every: round_index // 9, "every = 0 forbids"),
        ],
    )
    def test_in_its_periods(
        self, monkeypatch: pytest.MonkeyPatch, every: int, wrong: Callable[[int, int], int], reason: str
    ) -> None:
        monkeypatch.setattr("protocols.clustering.hierarchical.period_of", wrong)
        with pytest.raises(AssertionError, match=reason):
            kit.keeps_its_clusters_for_a_period(clusterings.resolve({"name": "hierarchical", "every": every}))

    def test_in_a_policy_that_can_be_changed_or_says_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        entry = clusterings.entry("random")
        monkeypatch.setitem(clusterings._entries, "random", type(entry)(**{**entry.__dict__, "factory": Mutable}))
        with pytest.raises(AssertionError, match="not frozen"):
            kit.is_a_documented_frozen_dataclass(Spec(name="random"))
        monkeypatch.setitem(clusterings._entries, "random", type(entry)(**{**entry.__dict__, "source": ""}))
        with pytest.raises(AssertionError, match="no source"):
            kit.is_a_documented_frozen_dataclass(Spec(name="random"))


@dataclass
class Mutable:
    """A policy that can be changed after it was made."""

    every: int = 0


class TestNoClusters:
    @given(sizes=fitting_sizes())
    def test_there_are_n_clusters_of_one_process_whatever_the_cluster_size_asked_for(
        self, sizes: tuple[int, int]
    ) -> None:
        n, cluster_size = sizes
        assert sorted(formed("singletons", n, cluster_size).clusters) == [(process,) for process in range(n)]


class TestRoundRobin:
    @given(sizes=fitting_sizes())
    def test_two_processes_whose_numbers_differ_by_less_than_the_number_of_clusters_are_in_different_clusters(
        self, sizes: tuple[int, int]
    ) -> None:
        assert_neighbours_are_apart(formed("round_robin", *sizes))

    def test_neighbours_in_one_cluster_are_seen(self) -> None:
        with pytest.raises(AssertionError, match="share a cluster"):
            assert_neighbours_are_apart(Clustering(clusters=((0, 1), (2, 3))))

    @given(sizes=fitting_sizes(), seed=st.integers(0, 2**32), round_index=st.integers(0, 100))
    def test_neither_the_seed_nor_the_round_matters(self, sizes: tuple[int, int], seed: int, round_index: int) -> None:
        assert formed("round_robin", *sizes) == formed("round_robin", *sizes, seed=seed, round_index=round_index)


def assert_neighbours_are_apart(clustering: Clustering) -> None:
    m = len(clustering.clusters)
    for cluster in clustering.clusters:
        for a, b in itertools.pairwise(sorted(cluster)):
            assert b - a >= m, f"{a} and {b} of {m} clusters share a cluster"


@dataclass(frozen=True)
class Biased:
    """A stream whose shuffle swaps every place with any place: n^n paths, which n! orders cannot share evenly."""

    rng: np.random.Generator

    def permutation(self, n: int) -> list[int]:
        order = list(range(n))
        for place, other in enumerate(self.rng.integers(n, size=n)):
            order[place], order[other] = order[other], order[place]
        return order


@dataclass(frozen=True)
class Rotated:
    """A stream that only turns the order: every process is in every place equally often, with the same neighbours."""

    rng: np.random.Generator

    def permutation(self, n: int) -> np.ndarray:
        return np.roll(np.arange(n), int(self.rng.integers(n)))


def planted(stream: type) -> Any:
    def public(seed: int, *names: object) -> object:
        return stream(public_stream(seed, *names))

    return mock.patch("protocols.clustering.random.public_stream", public)


def uninformative(n: int) -> Population:
    """All processes alike in every fact: what is drawn is then drawn from all partitions."""
    return Population(n=n, domains=np.zeros(n, dtype=np.int64), trust=np.full(n, 0.5), reports=())


def draws(n: int, cluster_size: int, count: int, config: object = "random") -> Iterator[Clustering]:
    policy, population = clusterings.make(clusterings.resolve(config)), uninformative(n)
    for seed in range(count):
        yield policy(population=population, cluster_size=cluster_size, seed=seed, round_index=0)


def places(clustering: Clustering) -> list[int]:
    return [process for cluster in clustering.clusters for process in cluster]


def assert_assignments_are_equally_likely() -> None:
    """Chi-square over all 24 assignments of 4 processes to places, 4800 draws, 23 degrees of freedom.

    Critical value at ALPHA: 71. The naive shuffle has probabilities of 8 to 15 in 256 instead of 1 in 24, a
    noncentrality of 143, and is missed with probability 2e-6; a mean relative bias of 20 % has noncentrality 192
    and is missed with probability below 1e-9.
    """
    counts = Counter(tuple(places(clustering)) for clustering in draws(4, 2, 4800))
    found = [counts[order] for order in itertools.permutations(range(4))]
    assert stats.chisquare(found).pvalue > ALPHA, "not every assignment of processes to places is equally likely"


def assert_every_process_is_everywhere_equally_often() -> None:
    """Process x place counts O of N = 4000 draws of 12: (n-1) / N sum (O - N/n)^2 is chi-square, (n-1)^2 = 121.

    (The covariance of a uniform permutation matrix is (I - J/n) x (I - J/n) / (n-1), so the sum of squares of the
    centred counts over its only eigenvalue N / (n-1) is chi-square with (n-1)^2 degrees of freedom.) Critical
    value at ALPHA: 210; a mean relative bias of 15 % has noncentrality 11 x 12 x 0.15^2 x 4000 / 12 = 990 and is
    missed with probability below 1e-6.
    """
    n, count = 12, 4000
    table = np.zeros((n, n))
    for clustering in draws(n, 4, count):
        table[places(clustering), np.arange(n)] += 1
    statistic = (n - 1) / count * float(np.square(table - count / n).sum())
    assert stats.chi2.sf(statistic, (n - 1) ** 2) > ALPHA, "some process prefers some place"


def assert_every_pair_shares_a_cluster_equally_often() -> None:
    """Of 4000 draws of 12 in clusters of 4, each of 66 pairs shares one with probability 3 / 11: exact binomial.

    At ALPHA / 66 each, two-sided, 935 to 1252 times are accepted; a pair that shares one in 20 % of the draws
    instead of 27 % is missed with probability 1e-7.
    """
    n, count = 12, 4000
    together = np.zeros((n, n), dtype=int)
    for clustering in draws(n, 4, count):
        for cluster in clustering.clusters:
            together[np.ix_(cluster, cluster)] += 1
    for a, b in itertools.combinations(range(n), 2):
        p = stats.binomtest(int(together[a, b]), count, 3 / 11).pvalue
        assert p > ALPHA / 66, f"processes {a} and {b} share a cluster {together[a, b]} times of {count}"


def assert_rounds_are_independent() -> None:
    """Chi-square over the 36 pairs of assignments of 3 processes in two rounds, 3600 draws, 35 degrees of freedom.

    Critical value at ALPHA: 90; a relative bias of 30 % in every pair has noncentrality 324 and is missed with
    probability below 1e-6.
    """
    policy = clusterings.make(clusterings.resolve({"name": "random", "every": 1}))
    counts: Counter[tuple[int, ...]] = Counter()
    for seed in range(3600):
        rounds = [places(policy(population=Population(n=3), cluster_size=1, seed=seed, round_index=r)) for r in (4, 5)]
        counts[tuple(rounds[0] + rounds[1])] += 1
    orders = list(itertools.permutations(range(3)))
    assert stats.chisquare([counts[a + b] for a in orders for b in orders]).pvalue > ALPHA, "rounds are not independent"


UNIFORMITY = [
    assert_assignments_are_equally_likely,
    assert_every_process_is_everywhere_equally_often,
    assert_every_pair_shares_a_cluster_equally_often,
]


PARTITIONS_OF_FOUR = [{frozenset({0, other}), frozenset({1, 2, 3} - {other})} for other in (1, 2, 3)]
DRAWN = [
    "random",
    "segregated",
    "reputation",
    "hierarchical",
    {"name": "stratified", "by": "domain"},
    {"name": "stratified", "by": "trust"},
    {"name": "reputation", "pack": True},
    {"name": "sticky", "batch": 1},
    {"name": "overlapping", "times": 1},
]


def assert_every_partition_is_equally_likely(config: object) -> None:
    """Chi-square over the 3 partitions of 4 processes into pairs, 3000 draws, 2 degrees of freedom.

    Critical value at ALPHA / 9: 32, so that the nine policies together raise a false alarm in at most 1e-6 of runs. A
    partition that is drawn half as often again as another (relative bias 20 %) has noncentrality 80 or more and is
    missed with probability below 1e-3; one that is never drawn has noncentrality 1500, missed below 1e-200.
    """
    found = [0, 0, 0]
    for clustering in draws(4, 2, 3000, config):
        found[PARTITIONS_OF_FOUR.index(set(map(frozenset, clustering.clusters)))] += 1
    assert stats.chisquare(found).pvalue > ALPHA / len(DRAWN), f"partitions are drawn {found} times"


class TestEveryDrawnPolicy:
    def test_is_tried(self) -> None:
        drawn = {name for name, entry in clusterings.entries().items() if entry.facts.get("drawn")}
        assert drawn == {clusterings.resolve(config).name for config in DRAWN}

    @pytest.mark.parametrize("config", DRAWN, ids=str)
    def test_draws_every_partition_equally_often_where_all_processes_are_alike(self, config: object) -> None:
        assert_every_partition_is_equally_likely(config)

    def test_a_partition_that_is_drawn_less_often_is_seen(self) -> None:
        """Where ties are broken by number and not by lot, 0 and 1 are of one stratum and never meet."""
        planted = mock.patch(
            "protocols.clustering.stratified.spread_by", lambda score, c, rng: dealt_by_number(score, rng)
        )
        with planted, pytest.raises(AssertionError, match="partitions are drawn"):
            assert_every_partition_is_equally_likely({"name": "stratified", "by": "trust"})


def dealt_by_number(score: np.ndarray, rng: np.random.Generator) -> Clustering:
    order = np.argsort(score, kind="stable")
    second = rng.permutation(2)
    return Clustering(clusters=((int(order[0]), int(order[2 + second[0]])), (int(order[1]), int(order[2 + second[1]]))))


class TestRandom:
    @pytest.mark.parametrize("check", UNIFORMITY, ids=lambda check: check.__name__)
    def test_every_assignment_of_processes_to_places_is_equally_likely(self, check: Callable[[], None]) -> None:
        check()

    @pytest.mark.parametrize("check", UNIFORMITY[:2], ids=lambda check: check.__name__)
    def test_a_biased_shuffle_is_seen(self, check: Callable[[], None]) -> None:
        with planted(Biased), pytest.raises(AssertionError):
            check()

    def test_a_shuffle_that_keeps_neighbours_together_is_seen_by_its_pairs_alone(self) -> None:
        with planted(Rotated):
            assert_every_process_is_everywhere_equally_often_or_rotated()
            with pytest.raises(AssertionError, match="share a cluster"):
                assert_every_pair_shares_a_cluster_equally_often()

    def test_clusters_of_different_rounds_are_independent(self) -> None:
        assert_rounds_are_independent()

    def test_clusters_that_stay_from_round_to_round_are_seen(self) -> None:
        with (
            mock.patch("protocols.clustering.random.public_stream", lambda seed, *names: public_stream(seed)),
            pytest.raises(AssertionError, match="not independent"),
        ):
            assert_rounds_are_independent()

    @given(every=st.integers(1, 9), period=st.integers(0, 20), seed=st.integers(0, 2**32))
    def test_within_one_period_the_clusters_stay_the_same(self, every: int, period: int, seed: int) -> None:
        assert_periods(every, period, seed)

    def test_clusters_that_change_within_a_period_are_seen(self) -> None:
        ones = itertools.count()
        with (
            mock.patch(
                "protocols.clustering.random.public_stream", lambda seed, *names: public_stream(seed, next(ones))
            ),
            pytest.raises(AssertionError, match="within a period"),
        ):
            assert_periods(3, 1, 0)

    @given(round_index=st.integers(0, 10**6), seed=st.integers(0, 2**32))
    def test_drawn_once_they_stay_the_same_in_every_round(self, round_index: int, seed: int) -> None:
        first = formed("random", 20, 3, seed=seed)
        assert formed("random", 20, 3, seed=seed, round_index=round_index) == first

    @given(sizes=fitting_sizes())
    def test_sizes_are_the_balanced_ones(self, sizes: tuple[int, int]) -> None:
        assert formed("random", *sizes).sizes == balanced_sizes(*sizes)

    @pytest.mark.parametrize("every", [-1, True, 1.0, "1"])
    def test_a_period_that_makes_no_sense_is_refused(self, every: object) -> None:
        with pytest.raises(CloisterError, match=f"every = {every!r}"):
            clusterings.resolve({"name": "random", "every": every})


def assert_periods(every: int, period: int, seed: int) -> None:
    rounds = [
        formed("random", 20, 3, seed=seed, round_index=r, every=every)
        for r in range(period * every, (period + 2) * every)
    ]
    assert rounds[:every] == [rounds[0]] * every, "the clusters change within a period"
    assert rounds[every:] == [rounds[every]] * every, "the clusters change within a period"
    # 20! orders: two periods have the same one by chance with probability below 1e-18.
    assert rounds[0] != rounds[every], "the clusters stay the same in the next period"


def assert_every_process_is_everywhere_equally_often_or_rotated() -> None:
    """A turned order puts each process everywhere equally often: 12 turns of 4000 draws, chi-square with 11."""
    counts = Counter(clustering.clusters[0][0] for clustering in draws(12, 4, 4000))
    assert stats.chisquare([counts[process] for process in range(12)]).pvalue > ALPHA
