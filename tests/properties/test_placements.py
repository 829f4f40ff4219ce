"""Every fault placement: what all promise, what each promises, and the adversary's best against brute force."""

import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from protocols.check import CloisterError
from protocols.placements import FaultPlacement, PlacementView, knowledge, placements
from protocols.placements import worst as worst_module
from protocols.placements._counting import filled_up, most_broken
from protocols.placements._sides import Side
from protocols.placements.heterogeneous import Heterogeneous
from protocols.placements.targeted import Targeted
from protocols.placements.uniform import Uniform
from protocols.placements.worst import Worst
from protocols.population import Population
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check
from protocols.testing import fault_placements as kit
from protocols.testing.clusterings import example_population
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.tolerance.schemes import SCHEMES
from protocols.tolerance.worst import worst_case
from protocols.types import Clustering, balanced_sizes

EXAMPLES = kit.example_specs()
ALPHA = 1e-6
ADDITIVE = conditions_of("additive")


def clusters_of(n: int, cluster_size: int, seed: int = 0) -> Clustering:
    order = np.random.default_rng(seed).permutation(n)
    ends = np.cumsum(balanced_sizes(n, cluster_size))[:-1]
    return Clustering(clusters=tuple(tuple(part.tolist()) for part in np.split(order, ends)))


def view_of(n: int, f: int, cluster_size: int = 3, *, seed: int = 0, **changed: Any) -> PlacementView:
    view = PlacementView(
        population=example_population(n),
        f=f,
        conditions=ADDITIVE,
        tolerate=1,
        seed=seed,
        clustering=clusters_of(n, cluster_size, seed),
    )
    return replace(view, **changed)


@st.composite
def views(draw: st.DrawFn) -> PlacementView:
    n = draw(st.integers(2, 40))
    f, cluster_size = draw(st.integers(0, n // 3)), draw(st.integers(1, n))
    return view_of(n, f, cluster_size, seed=draw(st.integers(0, 2**32)))


def test_every_placement_of_the_design_is_there_and_says_what_it_knows() -> None:
    known = {name: knowledge(entry) for name, entry in placements.entries().items()}
    assert (
        known.items()
        >= {
            **dict.fromkeys(("uniform", "iid", "by_domain", "heterogeneous"), "nothing"),
            **dict.fromkeys(("packed", "spread", "worst"), "first"),
            "targeted": "each",
        }.items()
    )
    assert all("know" in (entry.factory.__doc__ or "") for entry in placements.entries().values())


def test_a_placement_that_does_not_say_what_it_knows_is_refused() -> None:
    with pytest.raises(CloisterError, match=r"'uniform' is registered with knows = None; allowed: .*nothing, first"):
        knowledge(replace(placements.entry("uniform"), facts={}))


@pytest.mark.parametrize(
    ("spec", "check"),
    [(spec, check) for spec in EXAMPLES for check in kit.conformance_checks(spec)],
    ids=lambda given: str(given) if isinstance(given, Spec) else given.__name__,
)
def test_every_placement_conforms(spec: Spec, check: Check) -> None:
    check(spec)


def test_every_registered_placement_is_tried() -> None:
    assert {spec.name for spec in EXAMPLES} == set(placements.entries())


@dataclass(frozen=True)
class Planted:
    """A wrong placement."""

    draw: Callable[[PlacementView], np.ndarray]
    needs: ClassVar[tuple[str, ...]] = ()

    def __call__(self, view: PlacementView) -> np.ndarray:
        return self.draw(view)


def first_f(view: PlacementView) -> np.ndarray:
    return np.arange(view.population.n) < view.f


def by_trust_if_known(view: PlacementView) -> np.ndarray:
    trust = view.population.trust
    return first_f(view) if trust is None else np.argsort(np.argsort(trust, kind="stable")) < view.f


@pytest.mark.parametrize(
    ("draw", "check", "reason"),
    [
        (lambda view: np.arange(view.population.n) < view.f + 1, kit.makes_f_processes_faulty, "with 1 faulty, n = 2"),
        (lambda view: np.arange(view.f) < view.f, kit.makes_f_processes_faulty, r"shape \(0,\)"),
        (lambda view: first_f(view).astype(np.int64), kit.makes_f_processes_faulty, "of int64"),
        (
            lambda view: np.random.default_rng().permutation(60) < view.f,
            kit.gives_the_same_mask_for_the_same_view,
            "other faults in the same view",
        ),
        (first_f, kit.places_them_elsewhere_for_another_seed, "the same faults for every seed"),
        (by_trust_if_known, kit.needs_exactly_the_facts_that_it_states, "not among its needs"),
        (
            lambda view: np.zeros(view.clusters(reader="it").n, dtype=bool),
            kit.looks_at_the_clusters_exactly_if_it_says_so,
            "blind, it says",
        ),
    ],
)
def test_a_planted_bug_is_seen(
    monkeypatch: pytest.MonkeyPatch, draw: Callable[[PlacementView], np.ndarray], check: Check, reason: str
) -> None:
    monkeypatch.setattr(Uniform, "__call__", lambda self, view: draw(view))
    with pytest.raises(AssertionError, match=reason):
        check(placements.resolve("uniform"))


def test_a_need_that_it_does_not_have_and_knowledge_that_it_does_not_use_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec, entry = placements.resolve("uniform"), placements.entry("uniform")
    monkeypatch.setitem(placements._entries, "uniform", replace(entry, facts={"knows": "first"}))
    with pytest.raises(AssertionError, match="blind, it says None"):
        kit.looks_at_the_clusters_exactly_if_it_says_so(spec)
    monkeypatch.setitem(placements._entries, "uniform", replace(entry, facts={}))
    with pytest.raises(AssertionError, match="registered with knows = None"):
        kit.is_a_documented_frozen_dataclass_that_says_what_it_knows(spec)
    monkeypatch.setattr(Uniform, "needs", ("trust",))
    with pytest.raises(AssertionError, match="says that it needs trust, and does without"):
        kit.needs_exactly_the_facts_that_it_states(spec)


def assert_every_set_is_equally_likely(placement: FaultPlacement) -> None:
    """Chi-square over the 10 pairs of 5 processes, 4000 draws, 9 degrees of freedom; critical value at ALPHA: 45.

    A pair that is drawn in 15 % of the draws instead of 10 % (and the others in 9.4 %) has noncentrality 110 and is
    missed with probability below 1e-4.
    """
    counts = Counter(tuple(np.flatnonzero(placement(view_of(5, 2, 5, seed=seed)))) for seed in range(4000))
    found = [counts[pair] for pair in itertools.combinations(range(5), 2)]
    assert sum(found) == 4000
    assert stats.chisquare(found).pvalue > ALPHA, "not every set is equally likely"


class TestUniform:
    def test_every_set_of_f_processes_is_equally_likely(self) -> None:
        assert_every_set_is_equally_likely(Uniform())

    def test_neighbours_that_fail_together_are_seen(self) -> None:
        def neighbours(view: PlacementView) -> np.ndarray:
            return np.roll(np.arange(5) < 2, int(public_stream(view.seed, "planted").integers(5)))

        with pytest.raises(AssertionError, match="not every set"):
            assert_every_set_is_equally_likely(Planted(neighbours))


def counts_of(config: object, n: int, f: int, count: int, **changed: Any) -> np.ndarray:
    """The masks (count, n) of as many seeds."""
    placement = placements.make(placements.resolve(config))
    return np.stack([placement(view_of(n, f, 3, seed=seed, **changed)) for seed in range(count)])


class TestIid:
    def test_the_number_of_faulty_processes_is_binomial(self) -> None:
        assert_binomial(counts_of("iid", 12, 4, 3000))

    def test_a_fixed_number_is_seen(self) -> None:
        with pytest.raises(AssertionError):
            assert_binomial(counts_of("uniform", 12, 4, 3000))


def assert_binomial(masks: np.ndarray) -> None:
    """Chi-square of the numbers of faulty processes, 0..8 and more, against Binomial(12, 1/3); 3000 draws.

    Critical value at ALPHA with 8 degrees of freedom: 43; a variance of half the binomial one has noncentrality
    above 300 and is missed with probability below 1e-9.
    """
    found = np.bincount(np.minimum(masks.sum(axis=1), 8), minlength=9)
    expected = stats.binom(12, 1 / 3).pmf(np.arange(8))
    expected = np.append(expected, 1 - expected.sum()) * len(masks)
    assert stats.chisquare(found, expected).pvalue > ALPHA


class TestPackedAndSpread:
    @given(view=views())
    def test_packed_taints_the_fewest_clusters_all_but_one_of_them_whole(self, view: PlacementView) -> None:
        assert_packed(placements.make(placements.resolve("packed")), view)

    @given(view=views())
    def test_spread_taints_the_most_clusters_as_evenly_as_sizes_allow(self, view: PlacementView) -> None:
        assert_spread(placements.make(placements.resolve("spread")), view)

    @pytest.mark.parametrize("check", ["packed", "spread"])
    def test_faults_that_sit_anywhere_are_seen(self, check: str) -> None:
        view = view_of(30, 9, 3, seed=2)
        with pytest.raises(AssertionError):
            (assert_packed if check == "packed" else assert_spread)(Uniform(), view)

    @given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=6), data=st.data())
    def test_counts_are_filled_up_evenly(self, sizes: list[int], data: st.DataObject) -> None:
        f = data.draw(st.integers(0, sum(sizes)))
        counts = filled_up(sizes, f)
        assert counts.sum() == f
        free = counts < np.array(sizes)
        assert not free.any() or counts.max() - counts[free].min() <= 1


def assert_packed(placement: FaultPlacement, view: PlacementView) -> None:
    clustering = view.clusters(reader="test")
    counts = clustering.faulty_counts(placement(view))
    sizes = np.array(clustering.sizes)
    fewest = int(np.searchsorted(np.cumsum(np.sort(sizes)[::-1]), view.f)) + 1 if view.f else 0
    assert (counts > 0).sum() == fewest
    assert ((counts > 0) & (counts < sizes)).sum() <= 1


def assert_spread(placement: FaultPlacement, view: PlacementView) -> None:
    clustering = view.clusters(reader="test")
    counts = clustering.faulty_counts(placement(view))
    assert (counts > 0).sum() == min(view.f, len(counts))
    free = counts < np.array(clustering.sizes)
    assert not free.any() or counts.max() - counts[free].min() <= 1


MODES = [(protocol, mode) for protocol, modes in SCHEMES.items() for mode in modes]
SIDES: tuple[Side, ...] = ("private", "correct", "live")


def broken_clusters(conditions: Conditions, sizes: tuple[int, ...], counts: tuple[int, ...], side: Side) -> int:
    """How many clusters are broken on a side, by the definitions."""
    none = np.array(0)
    rules: dict[Side, Callable[[int, np.ndarray], Any]] = {
        "private": lambda size, b: conditions.exposed(size, b, none),
        "correct": lambda size, b: conditions.tainted(size, b, none) | conditions.lost(size, b, none),
        "live": lambda size, b: conditions.lost(size, b, none),
    }
    return sum(bool(rules[side](size, np.array(b))) for size, b in zip(sizes, counts, strict=True))


def most_by_brute_force(conditions: Conditions, sizes: tuple[int, ...], f: int, side: Side) -> int:
    """Try every placement of f processes, one by one, by which clusters they are in."""
    home = [j for j, size in enumerate(sizes) for _ in range(size)]
    tried = {
        tuple(np.bincount([home[process] for process in chosen], minlength=len(sizes)).tolist())
        if chosen
        else (0,) * len(sizes)
        for chosen in itertools.combinations(range(len(home)), f)
    }
    return max(broken_clusters(conditions, sizes, counts, side) for counts in tried)


@st.composite
def designs(draw: st.DrawFn) -> tuple[Conditions, tuple[int, ...], int, int]:
    """A protocol, sizes of n <= 10 processes, f < n, and the number of clusters that the outer rule withstands."""
    n = draw(st.integers(2, 10))
    protocol, mode = draw(st.sampled_from(MODES))
    sizes = balanced_sizes(n, draw(st.integers(1 if not protocol.startswith("masked") else 2, n)))
    conditions = conditions_of(protocol, mode=mode, checked_inputs=draw(st.booleans()), revealed=draw(st.booleans()))
    return conditions, sizes, draw(st.integers(0, n - 1)), draw(st.integers(0, len(sizes) - 1))


def assert_worst(design: tuple[Conditions, tuple[int, ...], int, int]) -> None:
    conditions, sizes, f, tolerate = design
    n = sum(sizes)
    ends = np.cumsum(sizes)
    order = np.random.default_rng(0).permutation(n)
    clustering = Clustering(clusters=tuple(tuple(order[b - s : b].tolist()) for s, b in zip(sizes, ends, strict=True)))
    view = PlacementView(
        population=Population(n=n), f=f, conditions=conditions, tolerate=tolerate, seed=1, clustering=clustering
    )
    slack = {"private": 0, "correct": tolerate, "live": tolerate}
    for side in SIDES:
        mask = Worst(aim=side)(view)
        assert mask.sum() == f
        found = broken_clusters(conditions, sizes, tuple(clustering.faulty_counts(mask).tolist()), side)
        assert found == most_by_brute_force(conditions, sizes, f, side), f"{found} clusters broken on {side}"
    counts = tuple(clustering.faulty_counts(Worst()(view)).tolist())
    some = any(broken_clusters(conditions, sizes, counts, side) > slack[side] for side in SIDES)
    groups = tuple(sorted(Counter(sizes).items()))
    promised = worst_case(groups, conditions, tolerate)
    assert some == (f > promised.all), f"f = {f}, tolerated: {promised}"


class TestWorst:
    @settings(max_examples=60)
    @given(designs())
    def test_breaks_as_many_clusters_as_any_placement_and_exactly_where_f_is_not_tolerated(
        self, design: tuple[Conditions, tuple[int, ...], int, int]
    ) -> None:
        assert_worst(design)

    @pytest.mark.parametrize("mode", MODES, ids=str)
    def test_at_the_threshold_and_one_beyond(self, mode: tuple[str, str]) -> None:
        """For n = 9 in clusters of 3 and all f: each protocol tolerates what is promised, and falls to one more."""
        conditions = conditions_of(mode[0], mode=mode[1])
        for f in range(9):
            assert_worst((conditions, (3, 3, 3), f, 1))

    @pytest.mark.parametrize(
        "planted",
        [lambda sizes, broken, f: filled_up(sizes, f), lambda sizes, broken, f: np.array([3, 1, 0])],
        ids=["spread instead", "one cluster only"],
    )
    def test_an_adversary_that_is_not_the_best_is_seen(self, planted: Callable[..., np.ndarray]) -> None:
        design = (conditions_of("shamir", mode="vss", threshold="1", checked_inputs=True), (3, 3, 3), 4, 1)
        assert_worst(design)
        with mock.patch.object(worst_module, "most_broken", planted), pytest.raises(AssertionError, match="broken on"):
            assert_worst(design)

    def test_a_set_of_bad_counts_with_holes_is_broken_exactly(self) -> None:
        """Exactly c - 1 of c members expose the last one; what is left over must not fill a cluster that is exposed."""
        counts = most_broken([3, 3, 3], lambda size: np.arange(size + 1) == size - 1, 7)
        assert sorted(counts.tolist()) == [2, 2, 3]

    def test_it_takes_the_side_that_needs_fewest(self) -> None:
        """Three clusters of 4 whose inputs are checked, shamir with t = 1 corrected: 2 open a cluster, 3 lose one."""
        conditions = conditions_of("shamir", mode="vss", threshold="1", checked_inputs=True)
        view = view_of(12, 2, 4, conditions=conditions, tolerate=0)
        counts = view.clusters(reader="test").faulty_counts(Worst()(view))
        assert sorted(counts.tolist()) == [0, 0, 2]


class TestTargeted:
    @given(view=views(), moves=st.integers(1, 4), start=st.integers(0, 2**32), aim=st.sampled_from((*SIDES, "any")))
    def test_it_moves_no_more_than_it_may_and_only_to_break_something(
        self, view: PlacementView, moves: int, start: int, aim: Literal["any", "private", "correct", "live"]
    ) -> None:
        previous = Uniform()(replace(view, seed=start))
        assert_moves(Targeted(moves=moves, aim=aim), replace(view, previous=previous, round_index=3), moves)

    def test_in_round_0_it_is_uniform_with_the_same_draws(self) -> None:
        view = view_of(30, 8, seed=5)
        assert (Targeted()(view) == Uniform()(view)).all()

    def test_faults_of_which_too_many_move_or_get_lost_are_seen(self) -> None:
        view = view_of(30, 8, 5)
        view = replace(view, previous=Uniform()(view), round_index=1)
        for draw in (lambda view: view.previous & False, lambda view: Uniform()(replace(view, seed=9))):
            with pytest.raises(AssertionError):
                assert_moves(Planted(draw), view, 1)

    def test_round_after_round_a_cluster_that_stays_is_taken_but_for_one_member(self) -> None:
        view = view_of(30, 8, 5)
        mask = Uniform()(view)
        for round_index in range(1, 6):
            mask = Targeted(aim="private")(replace(view, previous=mask, round_index=round_index))
        counts = view.clusters(reader="test").faulty_counts(mask)
        assert max(counts) == 4  # which exposes the fifth; it stays
        again = Targeted(aim="private")(replace(view, previous=mask, round_index=6))
        assert (again == mask).all()

    def test_it_does_not_give_up_what_is_broken_for_something_else(self) -> None:
        """Three tainted clusters of four are one too many for the rule; an exposed one would need two of them."""
        view = view_of(12, 3, 3, conditions=conditions_of("additive"), tolerate=2)
        clustering = view.clusters(reader="test")
        previous = np.zeros(12, dtype=bool)
        previous[[members[0] for members in clustering.clusters[:3]]] = True
        mask = Targeted()(replace(view, previous=previous, round_index=1))
        assert (mask == previous).all()
        roomy = replace(view, previous=previous, round_index=1, tolerate=1)
        assert sorted(clustering.faulty_counts(Targeted()(roomy)).tolist()) == [0, 0, 1, 2]


def assert_moves(placement: FaultPlacement, view: PlacementView, moves: int) -> None:
    assert view.previous is not None
    mask = placement(view)
    assert mask.sum() == view.previous.sum()
    assert (mask & ~view.previous).sum() <= moves


class TestByDomain:
    @given(view=views())
    def test_domains_with_faults_have_failed_whole(self, view: PlacementView) -> None:
        assert_whole_domains(placements.make(placements.resolve("by_domain")), view)

    def test_faults_that_are_not_correlated_are_seen(self) -> None:
        with pytest.raises(AssertionError, match="in part"):
            assert_whole_domains(Uniform(), view_of(40, 12))

    @given(n=st.integers(4, 30), f=st.integers(0, 20), count=st.integers(1, 6), seed=st.integers(0, 2**32))
    def test_as_many_fail_as_make_up_f_or_one_more(self, n: int, f: int, count: int, seed: int) -> None:
        """Of domains of any sizes; who is asked for are f n-ths of them."""
        f, domains = min(f, n - 1), np.arange(n) % count
        mask = placements.make(placements.resolve("by_domain"))(
            view_of(n, f, population=Population(n=n, domains=domains), seed=seed)
        )
        failed = len(np.unique(domains[mask]))
        assert f * count // n <= failed <= -(-f * count // n)

    def test_every_domain_is_equally_likely_to_fail_first(self) -> None:
        """Chi-square over 4 domains of 3, 2000 draws, critical value at ALPHA with 3 degrees of freedom: 31.

        A domain that fails first in 35 % of the draws instead of 25 % has noncentrality 107: missed below 1e-6.
        """
        population = Population(n=12, domains=np.arange(12) // 3)
        masks = counts_of("by_domain", 12, 3, 2000, population=population)
        assert stats.chisquare(masks[:, ::3].sum(axis=0)).pvalue > ALPHA

    def test_a_domain_fails_with_probability_f_over_n_where_no_number_of_domains_makes_up_f(self) -> None:
        """4 of 14 processes are 1.14 of 4 domains: one fails, and a second one in a seventh of 3000 draws.

        Exact binomial at ALPHA; a share that is off by 4 points is missed with probability below 0.1, by 6 below 1e-4.
        """
        population = Population(n=14, domains=np.arange(14) % 4)
        masks = counts_of("by_domain", 14, 4, 3000, population=population)
        failed = masks[:, :4].sum(axis=1)
        assert set(failed.tolist()) == {1, 2}
        assert stats.binomtest(int((failed == 2).sum()), 3000, 1 / 7).pvalue > ALPHA
        assert stats.chisquare(masks[:, :4].sum(axis=0)).pvalue > ALPHA


def assert_whole_domains(placement: FaultPlacement, view: PlacementView) -> None:
    mask, domains = placement(view), view.population.fact("domains", reader="test")
    parts = [mask[domains == domain].mean() for domain in np.unique(domains)]
    assert not any(0 < part < 1 for part in parts), f"domains have failed in part: {parts}"


class TestHeterogeneous:
    @given(n=st.integers(2, 40), seed=st.integers(0, 2**32), data=st.data())
    def test_the_expected_number_is_f_and_the_less_trusted_fail_more(
        self, n: int, seed: int, data: st.DataObject
    ) -> None:
        trust = np.random.default_rng(seed).beta(0.3, 0.3, size=n)
        f = data.draw(st.integers(0, min(n - 1, int((trust < 1).sum()))))
        assert_probabilities(
            Heterogeneous().probabilities(view_of(n, f, n, population=Population(n=n, trust=trust))), trust, f
        )

    def test_probabilities_that_are_cut_and_not_made_up_for_are_seen(self) -> None:
        trust = np.array([0.0, 0.9, 0.9, 0.9])
        doubt = 1 - trust
        with pytest.raises(AssertionError, match="are expected"):
            assert_probabilities(np.minimum(1, doubt * 2 / doubt.sum()), trust, 2)

    def test_each_process_is_drawn_with_its_own_probability(self) -> None:
        """Exact binomial at ALPHA / 6 for each of 6 processes, 3000 draws: 5 points off is missed below 1e-3."""
        trust = np.array([0.0, 0.2, 0.5, 0.8, 0.9, 1.0])
        population = Population(n=6, trust=trust)
        expected = Heterogeneous().probabilities(view_of(6, 2, 3, population=population))
        masks = counts_of("heterogeneous", 6, 2, 3000, population=population)
        for found, p in zip(masks.sum(axis=0), expected, strict=True):
            assert stats.binomtest(int(found), 3000, float(p)).pvalue > ALPHA / 6

    def test_fewer_doubtful_processes_than_faults_are_refused(self) -> None:
        population = Population(n=4, trust=np.array([1.0, 1.0, 1.0, 0.5]))
        with pytest.raises(CloisterError, match="f = 2 of 1 processes with trust below 1 is not allowed"):
            Heterogeneous().probabilities(view_of(4, 2, 2, population=population))


def assert_probabilities(probabilities: np.ndarray, trust: np.ndarray, f: int) -> None:
    assert probabilities.sum() == pytest.approx(f, rel=1e-9, abs=1e-9), f"{probabilities.sum()} are expected"
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    assert (np.diff(probabilities[np.argsort(trust, kind="stable")]) <= 1e-12).all()


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"f": 12}, "f = 12 faulty of n = 12 processes is not allowed"),
        ({"f": -1}, "f = -1"),
        ({"clustering": clusters_of(11, 3)}, "clusters of 11 processes do not fit n = 12"),
    ],
)
def test_a_view_that_makes_no_sense_is_refused(changed: dict[str, Any], reason: str) -> None:
    with pytest.raises(CloisterError, match=reason):
        replace(view_of(12, 4), **changed)
