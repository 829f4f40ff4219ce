"""What each clustering policy promises beyond the kit: one test a sentence of its docstring, each with a twin."""

import itertools
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.clustering import overlapping as overlapping_module
from protocols.clustering._halving import halved
from protocols.clustering.hierarchical import Hierarchical
from protocols.clustering.locality import Locality
from protocols.clustering.overlapping import Overlapping
from protocols.clustering.reputation import Reputation
from protocols.clustering.sticky import Sticky
from protocols.population import Population, Report
from protocols.tolerance.spans import least_support
from protocols.types import Clustering, Cover, Hierarchy, balanced_sizes


def formed(
    config: object, population: Population, cluster_size: int, *, seed: int = 0, round_index: int = 0
) -> Clustering:
    policy = clusterings.make(clusterings.resolve(config))
    return policy(population=population, cluster_size=cluster_size, seed=seed, round_index=round_index)


@st.composite
def fitting_sizes(draw: st.DrawFn, most: int = 80) -> tuple[int, int]:
    n = draw(st.integers(1, most))
    return n, draw(st.integers(1, n))


def random_clusters(n: int, cluster_size: int, seed: int = 0) -> Clustering:
    """What a policy forms that looks at nothing: the twin of every promise that uses a fact."""
    return formed("random", Population(n=n), cluster_size, seed=seed)


@given(sizes=fitting_sizes())
def test_single_forms_one_cluster_of_all_whatever_the_cluster_size_asked_for(sizes: tuple[int, int]) -> None:
    n, cluster_size = sizes
    assert formed("single", Population(n=n), cluster_size).clusters == (tuple(range(n)),)


def assert_domains_are_spread(clustering: Clustering, domains: np.ndarray) -> None:
    m = len(clustering.clusters)
    for domain in np.unique(domains):
        most = -(-int((domains == domain).sum()) // m)
        counts = clustering.faulty_counts(domains == domain)
        assert int(counts.max()) <= most, f"domain {domain} puts {counts.max()} members in a cluster, not {most}"


def assert_one_of_each_stratum(clustering: Clustering, scores: np.ndarray) -> None:
    """Each cluster has at most one of the m lowest, and so on: its k-th lowest is at least the (k m)-th of all."""
    m, ordered = len(clustering.clusters), np.sort(scores)
    for cluster in clustering.clusters:
        for k, score in enumerate(np.sort(scores[list(cluster)])):
            stratum = ordered[k * m : (k + 1) * m]
            assert stratum[0] <= score <= stratum[-1], f"cluster {cluster} has two of one stratum of {m}"


def assert_packed(clustering: Clustering, scores: np.ndarray) -> None:
    for before, after in itertools.pairwise(clustering.clusters):
        assert scores[list(before)].max() <= scores[list(after)].min(), f"{before} and {after} are not packed by score"


class TestStratified:
    @given(sizes=fitting_sizes(), count=st.integers(1, 9), seed=st.integers(0, 2**32))
    def test_a_domain_of_s_puts_at_most_ceil_s_over_m_into_each_cluster(
        self, sizes: tuple[int, int], count: int, seed: int
    ) -> None:
        n, cluster_size = sizes
        domains = np.random.default_rng(seed).integers(-3, count, size=n)
        population = Population(n=n, domains=domains)
        assert_domains_are_spread(formed("stratified", population, cluster_size, seed=seed), domains)

    def test_domains_that_are_not_spread_are_seen(self) -> None:
        with pytest.raises(AssertionError, match="puts"):
            assert_domains_are_spread(random_clusters(40, 4), np.arange(40) // 10)

    @given(sizes=fitting_sizes(), levels=st.integers(1, 100), seed=st.integers(0, 2**32))
    def test_by_trust_each_cluster_has_one_of_each_stratum(
        self, sizes: tuple[int, int], levels: int, seed: int
    ) -> None:
        n, cluster_size = sizes
        trust = np.random.default_rng(seed).integers(levels, size=n) / levels
        formed_clusters = formed(
            {"name": "stratified", "by": "trust"}, Population(n=n, trust=trust), cluster_size, seed=seed
        )
        assert_one_of_each_stratum(formed_clusters, trust)

    def test_two_of_one_stratum_are_seen(self) -> None:
        with pytest.raises(AssertionError, match="two of one stratum"):
            assert_one_of_each_stratum(random_clusters(40, 4), np.linspace(0, 1, 40))


class TestSegregated:
    @given(sizes=fitting_sizes(), levels=st.integers(1, 100), seed=st.integers(0, 2**32))
    def test_no_process_is_trusted_more_than_one_of_a_later_cluster(
        self, sizes: tuple[int, int], levels: int, seed: int
    ) -> None:
        n, cluster_size = sizes
        trust = np.random.default_rng(seed).integers(levels, size=n) / levels
        assert_packed(formed("segregated", Population(n=n, trust=trust), cluster_size, seed=seed), trust)

    def test_clusters_that_are_not_packed_are_seen(self) -> None:
        with pytest.raises(AssertionError, match="not packed"):
            assert_packed(random_clusters(40, 4), np.linspace(0, 1, 40))


def on_a_line(values: np.ndarray, k: int = 3) -> np.ndarray:
    return values[:, None] * np.linspace(1.0, 2.0, k) + np.linspace(-5.0, 5.0, k)


def assert_runs(clustering: Clustering, values: np.ndarray) -> None:
    """Sorted by where they lie, no cluster reaches into another one: up to direction."""
    ends = sorted((values[list(cluster)].min(), values[list(cluster)].max()) for cluster in clustering.clusters)
    assert all(a[1] <= b[0] for a, b in itertools.pairwise(ends)), f"{clustering.clusters} are no runs"


class TestSimilarity:
    @given(sizes=fitting_sizes(), levels=st.integers(1, 1000), seed=st.integers(0, 2**32))
    def test_features_on_a_line_are_cut_into_consecutive_runs(
        self, sizes: tuple[int, int], levels: int, seed: int
    ) -> None:
        n, cluster_size = sizes
        values = np.random.default_rng(seed).integers(levels, size=n).astype(np.float64)
        clusters = formed("similarity", Population(n=n, features=on_a_line(values)), cluster_size)
        assert clusters.sizes == balanced_sizes(n, cluster_size)
        assert_runs(clusters, values)

    def test_clusters_that_are_no_runs_are_seen(self) -> None:
        with pytest.raises(AssertionError, match="are no runs"):
            assert_runs(random_clusters(40, 4), np.arange(40.0))

    @given(seed=st.integers(0, 2**32))
    def test_moving_or_scaling_all_features_alike_changes_nothing(self, seed: int) -> None:
        """Halves and integers below 2^20: scaling by powers of two and moving by integers round nothing."""
        features = np.random.default_rng(seed).integers(2**20, size=(30, 4)) / 2
        clusters = [
            formed("similarity", Population(n=30, features=each), 4)
            for each in (features, features * 8.0, features + 1024.0)
        ]
        assert clusters[0] == clusters[1] == clusters[2]

    def test_groups_far_from_each_other_are_told_apart(self) -> None:
        rng = np.random.default_rng(0)
        group = np.repeat(np.arange(5), 4)
        rng.shuffle(group)
        centres = np.array([[0.0, 0.0], [10.0, 1.0], [25.0, 3.0], [47.0, 2.0], [90.0, 7.0]])
        features = centres[group] + rng.uniform(-0.1, 0.1, size=(20, 2))
        clusters = formed("similarity", Population(n=20, features=features), 4).clusters
        assert all(len(set(group[list(cluster)])) == 1 for cluster in clusters)

    def test_equal_points_stay_in_the_order_of_their_numbers(self) -> None:
        groups = halved(np.ones((7, 2)), [3, 2, 2])
        assert [group.tolist() for group in groups] == [[0, 1, 2], [3, 4], [5, 6]]


class TestLocality:
    @given(sizes=fitting_sizes(), striped=st.booleans(), region=st.integers(1, 5), seed=st.integers(0, 2**32))
    def test_positions_on_a_line_are_cut_into_runs_regions_where_striped(
        self, sizes: tuple[int, int], striped: bool, region: int, seed: int
    ) -> None:
        n, cluster_size = sizes
        rng = np.random.default_rng(seed)
        values = rng.permutation(n).astype(np.float64)
        population = Population(n=n, positions=on_a_line(values, 2), domains=rng.integers(3, size=n))
        policy = Locality(striped=striped, region=region)
        regions = [tuple(members.tolist()) for members, _ in policy.regions(population, cluster_size)]
        assert_runs(Clustering(clusters=tuple(regions)), values)
        clusters = policy(population=population, cluster_size=cluster_size, seed=0, round_index=0).clusters
        whole = [set(members) for members in regions]
        assert all(any(set(cluster) <= members for members in whole) for cluster in clusters)

    @given(n=st.integers(8, 80), region=st.integers(1, 5), seed=st.integers(0, 2**32))
    def test_striped_a_domain_is_spread_over_the_clusters_of_its_region(self, n: int, region: int, seed: int) -> None:
        assert_striped(Locality(striped=True, region=region), n, seed)

    def test_domains_that_are_not_spread_are_seen(self) -> None:
        """Not striped, whole runs of positions go to a cluster, and with them whole domains."""
        with (
            mock.patch.object(Locality, "__call__", lambda self, **given: random_clusters(given["population"].n, 4)),
            pytest.raises(AssertionError, match="of domain"),
        ):
            assert_striped(Locality(striped=True, region=4), 64, 0)


def assert_striped(policy: Locality, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    population = Population(n=n, positions=rng.normal(size=(n, 2)), domains=rng.integers(4, size=n))
    clusters = policy(population=population, cluster_size=4, seed=0, round_index=0).clusters
    assert population.domains is not None
    for members, k in policy.regions(population, 4):
        for domain in range(4):
            own = {int(process) for process in members if population.domains[process] == domain}
            most = -(-len(own) // k)
            largest = max(len(own & set(cluster)) for cluster in clusters)
            assert largest <= most, f"{largest} of domain {domain} in one cluster; promised: {most}"


def report(round_index: int, clusters: tuple[tuple[int, ...], ...], **flags: set[int]) -> Report:
    return Report(round_index=round_index, clusters=clusters, **{key: frozenset(value) for key, value in flags.items()})


class TestReputation:
    REPORTS = (
        report(0, ((0, 1), (2, 3), (4, 5)), suspected={0}),
        report(1, ((0, 2), (1, 3), (4, 5)), failed={0}, excluded={1}),
        report(2, ((0, 3), (1, 2)), suspected={0, 1}),
    )

    def test_the_score_counts_clean_and_flagged_rounds(self) -> None:
        """By hand: process 0 was flagged in all three rounds, 2 in two of three, 4 in none of its two."""
        scores = Reputation().scores(Population(n=6, reports=self.REPORTS), 3)
        assert scores.tolist() == [1 / 5, 1 / 5, 2 / 5, 2 / 5, 3 / 4, 3 / 4]

    def test_a_report_counts_less_the_older_it_is(self) -> None:
        scores = Reputation(memory=0.5).scores(Population(n=6, reports=self.REPORTS), 3)
        flagged, clean = 0.5 + 1.0, 0.25
        assert scores[2] == (1 + clean) / (2 + clean + flagged)

    @given(seed=st.integers(0, 2**32), memory=st.sampled_from([1.0, 0.5]))
    def test_flagged_more_often_and_clean_less_often_is_a_lower_score(self, seed: int, memory: float) -> None:
        rng = np.random.default_rng(seed)
        reports = tuple(
            report(
                t, tuple(map(tuple, rng.permutation(12).reshape(4, 3).tolist())), suspected=set(rng.integers(4, size=2))
            )
            for t in range(5)
        )
        assert_scores_rank(Reputation(memory=memory), reports)

    def test_scores_that_rank_wrongly_are_seen(self) -> None:
        with (
            mock.patch("protocols.clustering.reputation._flagged", lambda report: list(report.clusters[-1])),
            pytest.raises(AssertionError),
        ):
            assert_scores_rank(Reputation(), self.REPORTS)

    @given(sizes=fitting_sizes(30), seed=st.integers(0, 2**32), pack=st.booleans())
    def test_packed_and_spread_by_the_score(self, sizes: tuple[int, int], seed: int, pack: bool) -> None:
        n, cluster_size = sizes
        rng = np.random.default_rng(seed)
        reports = tuple(report(t, ((*rng.permutation(n).tolist(),),), suspected=set()) for t in range(2))
        halves = tuple(report(t, (tuple(rng.permutation(n)[: n // 2].tolist()),), suspected={0}) for t in range(2, 5))
        population = Population(n=n, reports=reports + halves)
        policy = Reputation(pack=pack)
        clusters = policy(population=population, cluster_size=cluster_size, seed=seed, round_index=5)
        (assert_packed if pack else assert_one_of_each_stratum)(clusters, policy.scores(population, 5))

    def test_what_is_learnt_within_a_period_does_not_change_its_clusters(self) -> None:
        policy = Reputation(every=3)
        known = Population(n=6, reports=self.REPORTS)
        nothing = Population(n=6, reports=())
        for round_index in (0, 1, 2):
            given: dict[str, Any] = {"cluster_size": 2, "seed": 4, "round_index": round_index}
            assert policy(population=known, **given) == policy(population=nothing, **given)
        assert policy.scores(known, 3).tolist() != policy.scores(nothing, 3).tolist()

    @pytest.mark.parametrize("memory", [0.0, -1.0, 1.5])
    def test_a_memory_that_makes_no_sense_is_refused(self, memory: float) -> None:
        with pytest.raises(CloisterError, match=f"memory = {memory} is not allowed"):
            Reputation(memory=memory)


def assert_scores_rank(policy: Reputation, reports: tuple[Report, ...]) -> None:
    """Compare every two processes by their weighted counts, written out again."""
    n = 1 + max(member for each in reports for cluster in each.clusters for member in cluster)
    last = reports[-1].round_index
    counts = np.zeros((n, 2))
    for each in reports:
        for j, cluster in enumerate(each.clusters):
            for member in cluster:
                counts[member, int(j in each.flagged)] += policy.memory ** (last - each.round_index)
    scores = policy.scores(Population(n=n, reports=reports), last + 1)
    for a, b in itertools.permutations(range(n), 2):
        if counts[a, 1] > counts[b, 1] and counts[a, 0] <= counts[b, 0]:
            assert scores[a] < scores[b]


class TestSticky:
    @given(sizes=fitting_sizes(), batch=st.integers(1, 5), seed=st.integers(0, 2**32))
    def test_batches_stay_together_in_every_round_and_none_is_small(
        self, sizes: tuple[int, int], batch: int, seed: int
    ) -> None:
        n, cluster_size = sizes
        if max(batch, cluster_size) <= n:
            assert_batches_stay_together(Sticky(batch=batch), n, cluster_size, seed)

    def test_batches_that_are_drawn_again_are_seen(self) -> None:
        seeds = itertools.count()
        original = Sticky.batches

        def planted(self: Sticky, *, n: int, cluster_size: int, seed: int) -> list[np.ndarray]:
            return original(self, n=n, cluster_size=cluster_size, seed=next(seeds))

        with mock.patch.object(Sticky, "batches", planted), pytest.raises(AssertionError, match="comes apart"):
            assert_batches_stay_together(Sticky(), 24, 4, 0)

    def test_opened_sums_of_many_rounds_never_have_a_higher_rank_than_there_are_batches(self) -> None:
        """What they are for; clusters that are drawn from the processes themselves reach full rank."""
        ranks = []
        for config in ({"name": "sticky", "batch": 2}, {"name": "random", "every": 1}):
            partitions = tuple(formed(config, Population(n=24), 4, seed=3, round_index=t) for t in range(30))
            ranks.append(int(np.linalg.matrix_rank(Cover(partitions=partitions).membership)))
        assert ranks[0] <= 12 < ranks[1] == 24

    def test_a_batch_that_does_not_fit_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="batch = 5 does not fit n = 4"):
            Sticky(batch=5).sizes(n=4, cluster_size=1)


def assert_batches_stay_together(policy: Sticky, n: int, cluster_size: int, seed: int) -> None:
    first = policy.batches(n=n, cluster_size=cluster_size, seed=seed)
    sizes = [len(batch) for batch in first]
    assert min(sizes) >= policy.batch
    assert max(sizes) - min(sizes) <= 1
    for round_index in range(4):
        given: dict[str, Any] = {"cluster_size": cluster_size, "seed": seed, "round_index": round_index}
        clusters = [set(cluster) for cluster in policy(population=Population(n=n), **given).clusters]
        for batch in first:
            assert any(set(batch.tolist()) <= cluster for cluster in clusters), f"batch {batch} comes apart"


def rational_rank(rows: list[list[int]]) -> int:
    """Gaussian elimination over the rationals."""
    table, rank = [[Fraction(value) for value in row] for row in rows], 0
    for column in range(len(rows[0]) if rows else 0):
        pivot = next((i for i in range(rank, len(table)) if table[i][column]), None)
        if pivot is None:
            continue
        table[rank], table[pivot] = table[pivot], table[rank]
        for i in range(rank + 1, len(table)):
            factor = table[i][column] / table[rank][column]
            table[i] = [a - factor * b for a, b in zip(table[i], table[rank], strict=True)]
        rank += 1
    return rank


def exact_least_support(membership: np.ndarray, most: int) -> int:
    """A vector of the row span vanishes off a set exactly if the columns off the set have a smaller rank."""
    n, whole = membership.shape[1], rational_rank(membership.tolist())
    for size in range(1, most + 1):
        for chosen in itertools.combinations(range(n), size):
            off = [column for column in range(n) if column not in chosen]
            if rational_rank(membership[:, off].tolist()) < whole:
                return size
    return most + 1


class TestOverlapping:
    @given(n=st.integers(2, 7), sums=st.integers(1, 5), seed=st.integers(0, 2**32))
    def test_the_least_support_equals_trying_every_set_with_exact_rationals(self, n: int, sums: int, seed: int) -> None:
        membership = np.random.default_rng(seed).integers(2, size=(sums, n))
        membership[0, 0] = 1  # an empty row span has no vector to look for
        assert least_support(membership, 3) == exact_least_support(membership, 3)

    def test_a_process_that_two_sums_differ_by_is_seen(self) -> None:
        membership = np.array([[1, 1, 1, 0], [0, 1, 1, 1], [0, 1, 1, 0]])
        assert least_support(membership, 3) == 1
        assert least_support(membership[:2], 3) == 2
        assert least_support(membership[:1], 2) == 3

    def test_too_many_sets_are_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"support = 4 of n = 100 processes is too many sets"):
            least_support(np.ones((1, 100), dtype=np.int64), 4)

    def test_too_many_processes_are_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"n = 5001 processes are too many to check"):
            least_support(np.ones((1, 5001), dtype=np.int64), 1)

    @pytest.mark.parametrize(
        "policy", [Overlapping(), Overlapping(times=3), Overlapping(support=2, colluders=1)], ids=str
    )
    @given(seed=st.integers(0, 2**32))
    def test_every_combination_of_the_sums_depends_on_enough_processes(self, policy: Overlapping, seed: int) -> None:
        assert_safe_cover(policy, seed)

    def test_a_cover_that_is_not_checked_is_seen(self) -> None:
        policy = Overlapping(support=3)
        seeds = [seed for seed in range(40) if policy.cover(n=12, cluster_size=4, seed=seed) != unchecked(policy, seed)]
        assert seeds, "no cover was ever rejected"
        with (
            mock.patch.object(overlapping_module, "least_support", lambda membership, most: most + 1),
            pytest.raises(AssertionError, match="depends on"),
        ):
            assert_safe_cover(policy, seeds[0])

    def test_rounds_open_one_partition_after_the_other(self) -> None:
        policy = Overlapping(times=3)
        cover = policy.cover(n=30, cluster_size=6, seed=1)
        for round_index in range(7):
            opened = policy(population=Population(n=30), cluster_size=6, seed=1, round_index=round_index)
            assert opened == cover.partitions[round_index % 3]
        assert len(set(cover.partitions)) == 3

    def test_a_new_cover_is_drawn_when_the_old_one_has_lasted(self) -> None:
        covers = [Overlapping(renew=4).cover(n=20, cluster_size=5, seed=1, round_index=t) for t in (0, 3, 4, 7)]
        assert covers[0] == covers[1] != covers[2] == covers[3]

    @pytest.mark.parametrize(("n", "cluster_size", "times"), [(16, 2, 3), (12, 2, 6), (1, 1, 2)])
    def test_more_sums_than_any_cover_of_this_support_can_open_are_refused(
        self, n: int, cluster_size: int, times: int
    ) -> None:
        with pytest.raises(CloisterError, match=f"times = {times} partitions of n = {n} .* allowed: larger clusters"):
            Overlapping(times=times).sizes(n=n, cluster_size=cluster_size)

    def test_when_no_cover_drawn_will_do_the_search_ends(self) -> None:
        with (
            mock.patch.object(overlapping_module, "least_support", return_value=1),
            pytest.raises(CloisterError, match="none of 2000 covers drawn"),
        ):
            Overlapping().cover(n=20, cluster_size=5, seed=0)


def unchecked(policy: Overlapping, seed: int) -> Cover:
    with mock.patch.object(overlapping_module, "least_support", lambda membership, most: most + 1):
        return policy.cover(n=12, cluster_size=4, seed=seed)


def assert_safe_cover(policy: Overlapping, seed: int) -> None:
    n, cluster_size = 12, 4
    cover = policy.cover(n=n, cluster_size=cluster_size, seed=seed)
    assert cover.membership.sum(axis=0).tolist() == [policy.times] * n
    assert all(partition.sizes == balanced_sizes(n, cluster_size) for partition in cover.partitions)
    least = policy.support + policy.colluders
    found = exact_least_support(cover.membership, least - 1)
    assert found >= least, f"a combination of the sums depends on {found} processes, promised: {least}"


class TestHierarchical:
    @given(
        sizes=fitting_sizes(),
        groups=st.lists(st.integers(1, 4), min_size=1, max_size=3),
        seed=st.integers(0, 2**32),
    )
    def test_on_every_level_sizes_are_balanced_and_no_group_is_smaller_than_asked_for(
        self, sizes: tuple[int, int], groups: list[int], seed: int
    ) -> None:
        n, cluster_size = sizes
        policy = Hierarchical(groups=tuple(groups))
        tree = policy.hierarchy(n=n, cluster_size=cluster_size, seed=seed, round_index=0)
        assert_balanced_levels(tree, (cluster_size, *groups))
        assert tree.leaves == policy(population=Population(n=n), cluster_size=cluster_size, seed=seed, round_index=0)
        for level in range(len(tree.levels)):
            assert tree.processes(level).n == n

    def test_every_assignment_of_processes_to_leaves_and_groups_is_equally_likely(self) -> None:
        """Chi-square over the 24 orders of 4 processes in two groups of two leaves of one, 4800 draws, as for `random`.

        Its critical value at 1e-6 is 71; a group whose two leaves are drawn in one order only has 4800, never missed.
        """
        policy, counts = Hierarchical(groups=(2,)), Counter[tuple[int, ...]]()
        for seed in range(4800):
            tree = policy.hierarchy(n=4, cluster_size=1, seed=seed, round_index=0)
            (pairs,) = tree.levels[1:]
            assert pairs.sizes == (2, 2)
            counts[tuple(process for group in tree.processes(1).clusters for process in group)] += 1
        assert stats.chisquare([counts[order] for order in itertools.permutations(range(4))]).pvalue > 1e-6

    @pytest.mark.parametrize("groups", [((0, 1, 2), (3,)), ((0,), (1,), (2, 3))])
    def test_a_small_last_group_is_seen(self, groups: tuple[tuple[int, ...], ...]) -> None:
        leaves = Clustering(clusters=((0, 1), (2, 3), (4, 5), (6, 7)))
        with pytest.raises(AssertionError):
            assert_balanced_levels(Hierarchy(levels=(leaves, Clustering(clusters=groups))), (2, 2))

    @pytest.mark.parametrize(
        ("groups", "reason"), [((), "groups = ()"), ((0,), "groups = 0"), ((2, -1), "groups = -1")]
    )
    def test_groups_that_make_no_sense_are_refused(self, groups: tuple[int, ...], reason: str) -> None:
        with pytest.raises(CloisterError, match=reason.replace("(", r"\(").replace(")", r"\)")):
            Hierarchical(groups=groups)


def assert_balanced_levels(tree: Hierarchy, asked: tuple[int, ...]) -> None:
    for level, least in zip(tree.levels, asked, strict=True):
        assert max(level.sizes) - min(level.sizes) <= 1
        assert min(level.sizes) >= min(least, level.n)


MISSING: list[tuple[object, str]] = [
    ("stratified", "domains"),
    ({"name": "stratified", "by": "trust"}, "trust"),
    ("segregated", "trust"),
    ("similarity", "features"),
    ("locality", "positions"),
    ({"name": "locality", "striped": True}, "positions"),
    ("reputation", "reports"),
]


@pytest.mark.parametrize(("config", "fact"), MISSING)
def test_a_missing_fact_is_one_clear_error_that_says_how_to_give_it(config: object, fact: str) -> None:
    spec = clusterings.resolve(config)
    with pytest.raises(CloisterError) as caught:
        formed(config, Population(n=8), 2)
    assert str(caught.value).startswith(
        f"clustering {spec.name} needs the {fact} of the processes, which are not known"
    )
    assert f"give Population({fact}=...)" in str(caught.value)


Build = Callable[[], Population]


@pytest.mark.parametrize(
    ("build", "reason"),
    [
        (lambda: Population(n=0), "n = 0"),
        (lambda: Population(n=3, domains=np.zeros(2, dtype=np.int64)), r"domains of shape \(2,\) .* do not fit n = 3"),
        (lambda: Population(n=3, domains=np.zeros(3)), "domains .* float64 .* allowed: .*int64"),
        (lambda: Population(n=3, trust=np.array([0.0, 0.5, 1.1])), "trust from 0.0 to 1.1 is not allowed"),
        (lambda: Population(n=2, trust=np.array([np.nan, 0.5])), "not finite"),
        (lambda: Population(n=2, features=np.zeros(2)), r"features of shape \(2,\)"),
        (lambda: Population(n=2, reports=(report(0, ((0, 5),)),)), "a report names a process beyond n = 2"),
        (lambda: report(0, ((0, 1),), failed={1}), "flags cluster 1"),
        (lambda: report(0, ((0, -1),)), "names a process below 0"),
    ],
)
def test_facts_that_do_not_fit_are_refused(build: Build, reason: str) -> None:
    with pytest.raises(CloisterError, match=reason):
        build()


def test_facts_about_some_processes_keep_to_these_processes() -> None:
    whole = Population(
        n=4,
        domains=np.array([7, 8, 9, 7]),
        trust=np.array([0.1, 0.2, 0.3, 0.4]),
        positions=np.arange(8.0).reshape(4, 2),
        reports=(report(0, ((0, 1), (2, 3)), failed={1}),),
    )
    some = whole.of(np.array([3, 1]))
    assert (some.n, some.features) == (2, None)
    assert some.fact("domains", reader="test").tolist() == [7, 8]
    assert some.fact("positions", reader="test").tolist() == [[6.0, 7.0], [2.0, 3.0]]
    assert some.past(reader="test") == (report(0, ((1,), (0,)), failed={1}),)
    assert whole.after(report(1, ((0,),))).past(reader="test")[1].round_index == 1
