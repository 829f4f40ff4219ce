"""`bench simulate`: fast paths equal to what they replace, observed frequencies beside exact ones, and mistakes."""

import csv
import json
import math
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from bench import tolerance
from bench.simulation import Outcome, Request, RoundLog, request, simulate
from bench.simulation import epoch as epoch_module
from bench.simulation.counting import BYZANTINE, CRASHED, CURIOUS, Occupancy, occupancy, verdict_of_counts
from bench.simulation.disclosing import revealed
from bench.simulation.epoch import run_epoch
from bench.simulation.forecast import SIDES, interval
from bench.simulation.screening import Screening
from bench.simulation.screening import tested_clusters as clusters_with_a_test
from bench.simulation.seats import Seats
from bench.simulation.standing import Standing
from bench.simulation.world import World, owners_of
from bench.tolerance.answer import judge
from protocols.aggregators import majority_breakdown
from protocols.check import CloisterError
from protocols.clustering.churn import join, leave
from protocols.clustering.hierarchical import Hierarchical
from protocols.clustering.random import Random
from protocols.clustering.reputation import Reputation
from protocols.clustering.sticky import Sticky
from protocols.population import Population, Report
from protocols.tolerance import analysis
from protocols.tolerance.analysis import Faults, analyse
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.tolerance.group_testing import GroupTests, Noise
from protocols.tolerance.parts import clusters_of
from protocols.tolerance.schemes import SCHEMES
from protocols.tolerance.verdict import FaultyProcesses, verdict
from protocols.types import Clustering
from tests.command import run_bench

ALPHA = 1e-6
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 9)).filter(lambda given: given[1] <= given[0])


def asked(**changed: Any) -> Request:
    """A request of 60 processes in clusters of 6, 1 in 10 Byzantine, unless told otherwise."""
    words: dict[str, Any] = {
        **{"n": 60, "faulty": "0.1", "crash": "0", "curious": "0", "cluster_size": 6, "policy": "random"},
        **{"aggregator": "median", "placement": None, "domains": None, "moves": 0, "rounds": 50, "every": None},
        **{"batch": None, "joins": 0.0, "leaves": 0.0, "identify": False, "test_error": 0.0, "seed": 0},
    }
    protocol, threshold = changed.pop("protocol", "shamir"), changed.pop("threshold", None)
    return request(**words | changed, conditions=conditions_of(protocol, threshold=threshold))


class TestTheArrayPath:
    @given(sizes=SIZES, every=st.integers(0, 3), seed=st.integers(0, 5), round_index=st.integers(0, 7))
    def test_assigns_each_process_to_the_cluster_that_the_policy_puts_it_into(
        self, sizes: tuple[int, int], every: int, seed: int, round_index: int
    ) -> None:
        n, size = sizes
        where: dict[str, Any] = {"cluster_size": size, "seed": seed, "round_index": round_index}
        for policy in (Random(every=every), Sticky(batch=1, every=every), Hierarchical(every=every)):
            assert_same_clusters(policy, n, **where)
        if n >= 3:
            assert_same_clusters(Sticky(batch=3, every=every), n, **where)

    def test_a_fast_path_that_leaves_a_small_last_cluster_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Random, "assign", small_last_cluster)
        with pytest.raises(AssertionError, match="another cluster"):
            assert_same_clusters(Random(every=1), 23, cluster_size=5, seed=0, round_index=0)

    @given(pack=st.booleans(), memory=st.sampled_from([1.0, 0.5]), every=st.integers(1, 3), seed=st.integers(0, 9))
    def test_learns_the_score_that_reputation_has_from_its_reports(
        self, pack: bool, memory: float, every: int, seed: int
    ) -> None:
        assert_learns_alike(Reputation(pack=pack, memory=memory, every=every), Standing(17, memory), seed)

    def test_a_standing_that_never_forgets_is_seen(self) -> None:
        with pytest.raises(AssertionError, match="score"):
            assert_learns_alike(Reputation(memory=0.5), Standing(17, 1.0), 0)


def assert_same_clusters(policy: Any, n: int, **where: Any) -> None:
    clustering = policy(population=Population(n=n), **where)
    assert np.array_equal(policy.assign(n=n, **where), owners_of(clustering)), "a process in another cluster"


def small_last_cluster(self: Random, *, n: int, cluster_size: int, seed: int, round_index: int) -> NDArray[np.int64]:
    """What a policy must never do: full clusters, and one of what is left."""
    order = np.random.default_rng([seed, round_index if self.every else 0]).permutation(n)
    owner = np.empty(n, dtype=np.int64)
    owner[order] = np.arange(n) // cluster_size
    return owner


def assert_learns_alike(policy: Reputation, standing: Standing, seed: int) -> None:
    rng = np.random.default_rng(seed)
    population = Population(n=17, reports=())
    for t in range(5):
        if t % policy.every == 0:
            assert np.allclose(standing.score, policy.scores(population, t), rtol=1e-12), "another score"
            where: dict[str, Any] = {"cluster_size": 4, "seed": seed, "round_index": t}
            clusters = policy(population=population, **where)
            assert np.array_equal(policy.assign_by(policy.scores(population, t), **where), owners_of(clusters))
        flagged = rng.random(len(clusters.clusters)) < 0.4
        population = population.after(
            Report(round_index=t, clusters=clusters.clusters, suspected=frozenset(np.flatnonzero(flagged).tolist()))
        )
        standing.add(owners_of(clusters), flagged)


Judge = Callable[[Occupancy, Conditions, int], Any]


def assert_judges_like_verdict(judge: Judge, rng: np.random.Generator, times: int = 1) -> None:
    """Random clusterings of up to 23 processes under every protocol and mode, against the verdict on processes."""
    every = [(protocol, mode) for protocol, modes in SCHEMES.items() for mode in modes]
    for _ in range(times):
        for protocol, mode in every:
            conditions = conditions_of(protocol, mode=mode, revealed=bool(rng.random() < 0.8))
            size = int(rng.integers(3, 8))
            n = size * int(rng.integers(1, 4)) + int(rng.integers(3))
            clustering = Random()(
                population=Population(n=n), cluster_size=size, seed=int(rng.integers(99)), round_index=0
            )
            kinds = rng.choice(4, size=n, p=[0.5, 0.2, 0.15, 0.15]).astype(np.int8)
            who = [frozenset(np.flatnonzero(kinds == kind).tolist()) for kind in (BYZANTINE, CRASHED, CURIOUS)]
            faulty = FaultyProcesses(n=n, byzantine=who[0], crashed=who[1], curious=who[2])
            breakdown = int(rng.integers(-1, 3))
            want = verdict(clustering, faulty, conditions, breakdown)
            got = judge(occupancy(owners_of(clustering), kinds, len(clustering.clusters)), conditions, breakdown)
            for name in ("exposed", "tainted", "lost"):
                assert tuple(np.flatnonzero(getattr(got, name)).tolist()) == getattr(want, name), f"{protocol} {name}"
            assert (got.private, got.correct, got.live) == (want.private, want.correct, want.live), protocol


class TestTheVerdictOfCounts:
    @given(seed=st.integers(0, 10_000))
    def test_is_the_verdict_on_the_processes(self, seed: int) -> None:
        assert_judges_like_verdict(verdict_of_counts, np.random.default_rng(seed))

    @pytest.mark.parametrize("forgotten", ["byzantine", "crashed", "curious"])
    def test_counts_that_forget_a_kind_of_fault_are_seen(self, forgotten: str) -> None:
        def forgetful(counts: Occupancy, conditions: Conditions, breakdown: int) -> Any:
            kinds = {name: getattr(counts, name) for name in ("byzantine", "crashed", "curious")}
            kinds[forgotten] = np.zeros_like(counts.size)
            return verdict_of_counts(Occupancy(size=counts.size, **kinds), conditions, breakdown)

        rng = np.random.default_rng(0)
        with pytest.raises(AssertionError):
            assert_judges_like_verdict(forgetful, rng, times=20)

    def test_an_empty_cluster_and_owners_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(CloisterError, match="cluster 1 of 3 is empty"):
            occupancy(np.array([0, 2, 2]), np.zeros(3, dtype=np.int8), 3)
        with pytest.raises(CloisterError, match="do not fit"):
            occupancy(np.array([0, 1]), np.zeros(3, dtype=np.int8), 2)


def seated(n: int, cluster_size: int, seed: int = 0, swaps: int = 2) -> Seats:
    owner = Random().assign(n=n, cluster_size=cluster_size, seed=seed, round_index=0)
    return Seats(owner, cluster_size=cluster_size, rng=np.random.default_rng(seed), swaps=swaps)


def assert_stays_balanced(seats: Seats, history: list[bool], cluster_size: int) -> None:
    """Joins (True) and leaves, each followed by a look at who sits where."""
    there = set(range(seats.n))
    for event, joins in enumerate(history):
        if joins:
            seats.join(len(seats.home))
            there.add(len(seats.home) - 1)
        elif seats.n > cluster_size:
            leaver = sorted(there)[event * 7 % len(there)]
            seats.leave(leaver)
            there.remove(leaver)
        owner = seats.home[seats.home >= 0]
        assert set(np.flatnonzero(seats.home >= 0).tolist()) == there
        sizes = sorted(np.bincount(owner).tolist())
        assert sizes[0] >= cluster_size, f"sizes {sizes} after event {event}"
        assert sizes[-1] - sizes[0] <= 1, f"sizes {sizes} after event {event}"
        assert np.array_equal(np.bincount(owner), seats.sizes)


def assert_any_process_can_leave() -> None:
    """Of clusters of 7 and 6: also one of the smaller."""
    for process in range(13):
        seats = seated(13, 5)
        seats.leave(process)
        assert sorted(seats.sizes.tolist()) == [6, 6], f"sizes {seats.sizes} when {process} has left"


class TestSeats:
    @given(history=st.lists(st.booleans(), max_size=30), cluster_size=st.integers(1, 6), swaps=st.integers(0, 3))
    def test_stay_balanced_through_any_history(self, history: list[bool], cluster_size: int, swaps: int) -> None:
        assert_stays_balanced(seated(5 * cluster_size // 2 + 1, cluster_size, swaps=swaps), history, cluster_size)

    def test_form_and_dissolve_clusters(self) -> None:
        seats = seated(10, 4)
        assert_stays_balanced(seats, [True] * 40, 4)
        assert_stays_balanced(seats, [False] * 46, 4)
        assert len(seats.sizes) == 1

    def test_are_as_many_clusters_as_by_the_rule_on_lists(self) -> None:
        """Formed and dissolved by the same events, whatever is drawn."""
        seats = seated(14, 4)
        listed = Clustering(clusters=tuple(tuple(np.flatnonzero(seats.home == j).tolist()) for j in range(3)))
        for event in range(40):
            if event % 20 < 10:
                seats.join(seats.n)
                listed = join(listed, cluster_size=4, seed=0, event=event)
            else:
                seats.leave(0)
                seats.renumber()
                listed = leave(listed, 0, cluster_size=4, seed=0, event=event)
            assert sorted(seats.sizes.tolist()) == sorted(listed.sizes)

    def test_that_are_not_filled_up_after_a_leave_are_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert_any_process_can_leave()
        monkeypatch.setattr(Seats, "_move", lambda *_: None)
        with pytest.raises(AssertionError, match="sizes"):
            assert_any_process_can_leave()

    def test_give_company_to_one_that_joins_by_the_law_of_the_rule_on_lists(self) -> None:
        """7 processes in two clusters: whom the eighth meets. False positives 1e-6; a fixed place has power 1."""
        assert chance_of_equal_laws(lambda seats: seats.join(7)) > ALPHA

    def test_that_seat_one_that_joins_at_a_fixed_place_are_seen(self) -> None:
        def fixed(seats: Seats) -> None:
            seats._swap = lambda a, b: None  # type: ignore[method-assign]
            seats.join(7)

        assert chance_of_equal_laws(fixed) < ALPHA

    def test_move_few_others_for_a_join_and_a_leave(self) -> None:
        seats = seated(100, 7)
        for process in range(20):
            before = seats.moved
            seats.join(100)
            assert seats.moved - before <= 5
            before = seats.moved
            seats.leave(process)
            assert seats.moved - before <= 6
            seats.rename(100, process)
            seats.renumber()

    def test_close_the_gaps_in_numbers(self) -> None:
        seats = seated(20, 4)
        homes = seats.home.copy()
        seats._swaps = 0
        seats.leave(3)
        former = seats.renumber()
        assert former.tolist() == [0, 1, 2, *range(4, 20)]
        assert np.count_nonzero(seats.home != homes[former]) <= 19
        assert_stays_balanced(seats, [True, False, True], 4)

    def test_refuse_who_is_not_there_and_clusters_that_are_not_balanced(self) -> None:
        with pytest.raises(CloisterError, match="process = 9 of n = 9 cannot leave"):
            seated(9, 4).leave(9)
        with pytest.raises(CloisterError, match="there already"):
            seated(9, 4).join(8)
        with pytest.raises(CloisterError, match="is taken"):
            seated(9, 4).rename(3, 4)
        with pytest.raises(CloisterError, match="not balanced"):
            Seats(np.array([0, 0, 0, 0, 1]), cluster_size=2, rng=np.random.default_rng(0))


def chance_of_equal_laws(joins: Callable[[Seats], None], draws: int = 1500) -> float:
    """The p-value that the company of process 7 has the law of protocols.clustering.churn: 14 rates, union bound."""
    start = Clustering(clusters=((0, 1, 2, 3), (4, 5, 6)))
    table = np.zeros((2, 2, 7), dtype=np.int64)
    for draw in range(draws):
        seats = Seats(owners_of(start), cluster_size=3, rng=np.random.default_rng(draw))
        joins(seats)
        listed = owners_of(join(start, cluster_size=3, seed=draw, event=0))
        for row, owner in enumerate((seats.home, listed)):
            table[row, 0] += owner[:7] == owner[7]
            table[row, 1] += owner[:7] == owner[0]
    flat = table.reshape(2, -1)
    rates = flat / draws
    spread = np.sqrt((rates * (1 - rates)).sum(axis=0) / draws) + 1e-9
    worst = np.abs(rates[0] - rates[1]) / spread
    return float(min(1.0, 14 * 2 * stats.norm.sf(worst.max())))


class TestTheInterval:
    def test_is_clopper_and_pearsons(self) -> None:
        for count, trials in ((0, 1), (1, 1), (0, 30), (3, 40), (40, 40), (500, 1000)):
            want = stats.binomtest(count, trials).proportion_ci(0.99, method="exact")
            assert interval(count, trials, 0.99) == pytest.approx((want.low, want.high), rel=1e-9)

    @pytest.mark.parametrize("p", [0.003, 0.2, 0.5])
    def test_holds_the_probability_with_its_confidence(self, p: float) -> None:
        """Summed over all outcomes, not sampled."""
        counts = np.arange(61)
        held = np.array([low <= p <= high for low, high in (interval(int(k), 60) for k in counts)])
        assert stats.binom.pmf(counts[held], 60, p).sum() >= 0.95
        wald = np.abs(counts / 60 - p) <= 1.96 * np.sqrt(counts / 60 * (1 - counts / 60) / 60)
        if p < 0.1:
            assert stats.binom.pmf(counts[wald], 60, p).sum() < 0.95, "the usual interval would have done"

    def test_of_more_than_all_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="count = 3 is more than trials = 2"):
            interval(3, 2)


def assert_agrees(found: Outcome) -> None:
    """Each side within its interval, K within 6 errors; 5 statements at 2e-7: false positives up to 1e-6."""
    assert found.forecast.independent
    for side, (low, high) in found.forecast.sides.items():
        least, most = interval(found.tally.failed_drawings[side], found.tally.counted, 1 - 2e-7)
        assert max(least, low) <= min(most, high), f"{side}: {least} to {most}, predicted {low} to {high}"
    mean, error = found.mean_broken
    assert found.forecast.mean_broken is not None
    assert abs(mean - found.forecast.mean_broken) <= 6 * error + 1e-9, f"mean {mean}"


MIXED: dict[str, Any] = {"crash": "0.1", "curious": "0.15", "rounds": 700, "threshold": "c/2"}


class TestAnEpoch:
    @pytest.mark.parametrize(
        "design",
        [
            {"rounds": 700, "faulty": "0.2"},
            MIXED,
            MIXED | {"n": 62, "joins": 0.02, "leaves": 0.02},
            MIXED | {"every": 3, "joins": 0.02, "leaves": 0.02},
            {"protocol": "additive", "rounds": 700, "crash": "2", "cluster_size": 3, "placement": "uniform"},
            {"placement": "iid", "rounds": 600},
            {"placement": "packed", "rounds": 600},
            {"policy": "hierarchical", "rounds": 600},
        ],
    )
    def test_fails_as_often_as_predicted(self, design: dict[str, Any]) -> None:
        found = simulate(asked(**design))
        assert_agrees(found)
        assert found.tally.largest - found.tally.smallest <= 1

    @pytest.mark.parametrize("placement", [None, "uniform", "packed", "spread", "worst", "by_domain"])
    def test_of_a_policy_that_draws_afresh_is_forecast_by_the_analysis_whatever_placed_its_faults(
        self, placement: str | None
    ) -> None:
        given = asked(n=63, placement=placement, crash="5", curious="7", faulty="6", every=1, domains=9)
        found = simulate(given).forecast
        ((groups, byzantine, crashed, curious),) = simulate(given).tally.compositions
        faults = Faults(n=63, byzantine=byzantine, crashed=crashed, curious=curious)
        expected = analyse(faults, groups, given.question.conditions, majority_breakdown(clusters_of(groups)))
        for side, each in zip(SIDES, (expected.private, expected.correct, expected.live, expected.fail), strict=True):
            assert found.sides[side] == pytest.approx((each.lower, each.upper), rel=1e-12)

    def test_of_a_policy_that_leaves_a_small_last_cluster_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One of 2 where all should have 6 or 7: 700 drawings see it with power 1."""
        law = simulate(asked(n=62, rounds=1, curious="0.1")).forecast
        monkeypatch.setattr(Random, "assign", small_last_cluster)
        found = simulate(asked(n=62, rounds=700, curious="0.1"))
        assert found.tally.smallest == 2
        with pytest.raises(AssertionError, match=r"predicted|mean"):
            assert_agrees(Outcome(**{**vars(found), "forecast": law}))

    def test_in_which_crashes_are_forgotten_does_not(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def forgetful(counts: Occupancy, conditions: Conditions, breakdown: int) -> Any:
            none = np.zeros_like(counts.size)
            held = Occupancy(size=counts.size, byzantine=counts.byzantine, crashed=none, curious=counts.curious)
            return verdict_of_counts(held, conditions, breakdown)

        monkeypatch.setattr(epoch_module, "verdict_of_counts", forgetful)
        with pytest.raises(AssertionError, match=r"predicted|mean"):
            assert_agrees(simulate(asked(rounds=300, crash="6", protocol="additive")))

    @pytest.mark.parametrize("policy", ["random", "sticky", "round_robin", "single", "singletons"])
    def test_keeps_its_faults_and_its_sizes_through_churn(self, policy: str) -> None:
        every = {"every": 0} if policy in {"random", "sticky"} else {}
        found = simulate(asked(n=63, policy=policy, crash="5", curious="7", joins=0.05, leaves=0.05, **every))
        assert len(found.tally.compositions) == 1
        assert found.tally.churn.joined == found.tally.churn.left > 50
        assert found.tally.largest - found.tally.smallest <= 1

    @pytest.mark.parametrize(("joins", "leaves"), [(0.1, 0.02), (0.02, 0.1), (0.1, 0.0), (0.0, 0.1)])
    def test_stays_balanced_while_the_processes_become_more_or_fewer(self, joins: float, leaves: float) -> None:
        world = World(asked(n=60, joins=joins, leaves=leaves, every=7, rounds=20))
        for _ in range(20):
            former = world.advance()
            counts = world.counts
            assert len(former) == world.n == len(world.kinds) == counts.size.sum()
            assert counts.size.min() >= 6
            assert counts.size.max() - counts.size.min() <= 1
        assert (world.n > 60) == (joins > leaves)

    def test_is_the_same_again_and_another_with_another_seed(self) -> None:
        one, again, other = (simulate(asked(seed=s, joins=0.1, leaves=0.1, every=4)).as_json() for s in (1, 1, 2))
        assert one.pop("seconds") > 0 < again.pop("seconds")
        assert one == again
        assert one["broken_clusters"]["counts"] != other["broken_clusters"]["counts"]

    def test_needs_no_more_memory_for_more_rounds(self) -> None:
        def peak(rounds: int) -> int:
            given = asked(n=2000, cluster_size=20, rounds=rounds, joins=0.002, leaves=0.002, every=10)
            tracemalloc.start()
            run_epoch(given, None, lambda: None)
            most = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            return most

        peak(5)
        assert peak(60) < peak(20) + 100_000  # one clustering more a round would be 0.6 MB

    def test_a_placement_that_aims_each_round_moves_its_faults(self) -> None:
        world = World(asked(placement="targeted", moves=2, faulty="12"))
        world.advance()
        before = world.kinds.copy()
        world.advance()
        assert np.count_nonzero(world.kinds == BYZANTINE) == 12
        assert 1 <= np.count_nonzero((world.kinds == BYZANTINE) & (before != BYZANTINE)) <= 2


def every_kinds(n: int, counts: dict[int, int]) -> Iterator[NDArray[np.int8]]:
    """The kinds of all processes (n,), for every placement of so many faults of each kind."""

    def placed(kinds: NDArray[np.int8], left: list[tuple[int, int]]) -> Iterator[NDArray[np.int8]]:
        if not left:
            yield kinds
            return
        (kind, count), *rest = left
        for chosen in combinations(np.flatnonzero(kinds == 0).tolist(), count):
            some = kinds.copy()
            some[list(chosen)] = kind
            yield from placed(some, rest)

    return placed(np.zeros(n, dtype=np.int8), list(counts.items()))


class TestPrivacyWhileMembersCrash:
    """Crashes can leave one input alone in a sum: what `bench tolerance` and `bench simulate` say is the count."""

    # name, threshold, cluster size, (Byzantine, crashed, curious) of 8
    DESIGNS = (("masked", "2", 4, (0, 2, 1)), ("shamir", "1", 4, (0, 2, 1)), ("shamir", "1", 4, (1, 2, 1)))

    @pytest.mark.parametrize(("protocol", "threshold", "size", "counts"), DESIGNS)
    def test_all_placements_rounds_and_the_law_agree(
        self, protocol: str, threshold: str, size: int, counts: tuple[int, int, int]
    ) -> None:
        exposed = self.share_exposed(protocol, threshold, size, counts)
        assert exposed > self.share_exposed(protocol, threshold, size, (counts[0], 0, counts[2]))
        given = self.given_(protocol, threshold, size, counts)
        (said,) = tolerance.answers(given.question)
        assert said.as_json()["p_private_fail"] == pytest.approx(exposed, rel=1e-9)
        found = simulate(given)
        assert found.forecast.sides["private"] == pytest.approx((exposed, exposed), rel=1e-9)
        assert_agrees(found)

    def test_a_law_that_takes_secrecy_for_a_matter_of_colluders_alone_is_seen(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(analysis, "_same_sets", lambda groups, one, other: True)
        with pytest.raises(AssertionError, match="comparison failed"):
            self.test_all_placements_rounds_and_the_law_agree(*self.DESIGNS[0])

    @staticmethod
    def given_(protocol: str, threshold: str, size: int, counts: tuple[int, int, int]) -> Request:
        faults = dict(zip(("faulty", "crash", "curious"), map(str, counts), strict=True))
        return asked(n=8, cluster_size=size, protocol=protocol, threshold=threshold, rounds=300, **faults)

    def share_exposed(self, protocol: str, threshold: str, size: int, counts: tuple[int, int, int]) -> float:
        """Process by process, by `verdict`: neither the arrays of the rounds nor the engines."""
        question = self.given_(protocol, threshold, size, counts).question
        clustering = Random()(population=Population(n=8), cluster_size=size, seed=0, round_index=0)
        found: list[bool] = []
        for kinds in every_kinds(8, dict(zip((BYZANTINE, CRASHED, CURIOUS), counts, strict=True))):
            who = [frozenset(np.flatnonzero(kinds == kind).tolist()) for kind in (BYZANTINE, CRASHED, CURIOUS)]
            faulty = FaultyProcesses(n=8, byzantine=who[0], crashed=who[1], curious=who[2])
            found.append(not verdict(clustering, faulty, question.conditions, 0).private)
        return sum(found) / len(found)


@pytest.mark.parametrize("placement", ["uniform", "packed", "spread", "iid"])
def test_the_first_round_of_many_seeds_fails_as_often_as_the_law_says(placement: str) -> None:
    """Each side within six standard deviations of 250 trials (2e-9), for all kinds of faults, in fixed clusters."""
    trials = 250
    given = {"n": 22, "faulty": "2", "crash": "2", "curious": "1", "cluster_size": 5, "policy": "round_robin"}
    first = asked(**given, placement=placement, threshold="1")
    groups = first.question.groups(5)
    law, most = judge(first.question, groups), first.question.tolerate(groups)
    failed = np.zeros(3)
    for seed in range(trials):
        world = World(replace(first, seed=seed))
        world.advance()
        found = verdict_of_counts(world.counts, first.question.conditions, most)
        failed += (not found.private, not found.correct, not found.live)
    for count, side in zip(failed.tolist(), (law.private, law.correct, law.live), strict=True):
        assert side.engine != "bounds"
        assert abs(count / trials - side.value) <= 6 * math.sqrt(side.value * (1 - side.value) / trials) + 1e-12


def test_what_comes_before_the_rule_is_in_the_forecast_and_in_what_is_seen() -> None:
    """Ten clusters, of which a median withstands four, and two after buckets of two: three faults are too many then.

    Within six standard deviations of 300 drawings (2e-9); the median alone withstands all of them.
    """
    given: dict[str, Any] = {"faulty": "3", "rounds": 300, "protocol": "additive"}
    plain, bucketed = (simulate(asked(pre=pre, **given)).as_json() for pre in ("none", "bucketing"))
    assert (plain["sides"]["correct"]["observed"], plain["sides"]["correct"]["predicted"]) == (0.0, 0.0)
    found = bucketed["sides"]["correct"]
    # P(three faults in three clusters of six) by hand: the second misses 5 of 59, the third 10 of 58.
    expected = 54 / 59 * 48 / 58
    assert found["predicted"] == pytest.approx(expected, rel=1e-9)
    assert abs(found["observed"] - expected) <= 6 * math.sqrt(expected * (1 - expected) / 300)


def test_who_moves_keeps_its_kind_of_fault_among_the_faulty() -> None:
    world = World(asked(placement="targeted", moves=2, faulty="6", crash="3", curious="3"))
    world.advance()
    for _ in range(4):
        before = world.composition
        world.advance()
        assert world.composition == before


def screened(rounds: int, noise: Noise, *, drop: bool = False) -> tuple[Screening, GroupTests, NDArray[np.bool_]]:
    """The same tests to both: 30 processes, 3 of them Byzantine, clusters of 5; `drop`: the arrays miss some."""
    rng = np.random.default_rng(4)
    byzantine = np.arange(30) < 3
    screening, tests = Screening(30, share=0.1, noise=noise), GroupTests(n=30)
    for t in range(rounds):
        clustering = Random(every=1)(population=Population(n=30), cluster_size=5, seed=3, round_index=t)
        owner = owners_of(clustering)
        tainted = (np.bincount(owner[byzantine], minlength=6) > 0) ^ (rng.random(6) < noise.miss)
        tests.add(clustering, tainted.tolist())
        size = np.bincount(owner)
        screening.add(owner, size, np.full(6, not drop), tainted)
        screening.compare(byzantine)
    return screening, tests, byzantine


class TestScreening:
    @pytest.mark.parametrize("rounds", [1, 3, 6, 12])
    def test_suspects_whom_comp_suspects_and_convicts_some_of_those_whom_dd_convicts(self, rounds: int) -> None:
        screening, tests, byzantine = screened(rounds, Noise())
        assert frozenset(np.flatnonzero(screening.suspects).tolist()) == tests.suspects()
        assert frozenset(np.flatnonzero(screening.convicted).tolist()) <= tests.convicted()
        assert screening.suspects[byzantine].all()

    def test_has_the_posterior_of_the_noisy_decoder(self) -> None:
        noise = Noise(false_alarm=0.1, miss=0.1)
        screening, tests, byzantine = screened(40, noise)
        assert screening.posterior == pytest.approx(tests.posterior(0.1, noise), rel=1e-9)
        assert np.array_equal(screening.suspects, byzantine)

    def test_that_drops_tests_is_seen(self) -> None:
        screening, tests, _ = screened(6, Noise(), drop=True)
        assert frozenset(np.flatnonzero(screening.suspects).tolist()) != tests.suspects()

    def test_says_nothing_about_a_cluster_that_crashes_stop(self) -> None:
        counts = Occupancy(
            size=np.array([6, 6, 6]),
            byzantine=np.array([0, 1, 1]),
            crashed=np.array([1, 0, 1]),
            curious=np.array([0, 0, 0]),
        )
        assert clusters_with_a_test(counts, conditions_of("additive")).tolist() == [False, True, False]
        assert clusters_with_a_test(counts, conditions_of("shamir")).tolist() == [True, True, True]

    def test_identifies_before_static_updates_are_disclosed_under_random_and_never_under_sticky(self) -> None:
        found = simulate(asked(n=120, faulty="3", identify=True, rounds=40)).as_json()["identify"]
        assert found["rounds_until_identified"] <= found["rounds_until_identified_predicted"]
        assert found["rounds_until_identified"] < found["rounds_until_disclosed_predicted"] == 7
        random, sticky = found["disclosure"]
        assert (random["rank"], random["complete_after"]) == (117, 7)
        assert sticky["rank"] <= sticky["limit"] == 60
        assert sticky["complete_after"] is None
        stuck = simulate(asked(n=120, faulty="3", identify=True, rounds=40, policy="sticky")).as_json()["identify"]
        assert stuck["rounds_until_identified"] is None
        assert 1 <= stuck["honest_suspects"] <= 3  # who shares a batch with a Byzantine process

    def test_batches_that_are_drawn_again_would_be_disclosed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given = asked(n=60, faulty="3", identify=True, policy="sticky")
        kinds = (np.arange(60) < 3).astype(np.int8)
        kept = revealed(given, kinds, "sticky", most_drawings=20)
        assert (kept.rank or 99) <= (kept.limit or 0) < kept.honest
        steady, calls = Sticky.batches, iter(range(10_000))

        def drawn_again(self: Sticky, *, n: int, cluster_size: int, seed: int) -> list[NDArray[np.int64]]:
            return steady(self, n=n, cluster_size=cluster_size, seed=seed + next(calls))

        monkeypatch.setattr(Sticky, "batches", drawn_again)
        broken = revealed(given, kinds, "sticky", most_drawings=20)
        assert (broken.rank or 0) > (broken.limit or 99)

    def test_feeds_reputation_which_then_keeps_suspects_apart(self) -> None:
        """Spread by what was learnt, 12 of 60 Byzantine processes taint more clusters than by chance."""
        words: dict[str, Any] = {"policy": "reputation", "faulty": "12", "rounds": 30, "cluster_size": 5}
        blind, told = simulate(asked(**words)), simulate(asked(**words, identify=True))
        assert told.tally.broken.tolist() != blind.tally.broken.tolist()
        assert told.mean_broken[0] > blind.mean_broken[0]
        assert not told.forecast.independent

    def test_with_errors_identifies_too(self) -> None:
        found = simulate(asked(n=120, faulty="3", identify=True, rounds=120, test_error=0.1)).as_json()["identify"]
        assert found["rounds_until_identified"] is not None
        assert found["missed"] == found["honest_suspects"] == 0


class TestTheLog:
    def test_has_a_line_for_each_round_that_adds_up_to_the_tally(self, tmp_path: Path) -> None:
        with RoundLog(tmp_path / "a") as log:
            found = simulate(asked(rounds=30, crash="0.1"), log=log)
        with (tmp_path / "a" / "rounds.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [int(row["round"]) for row in rows] == list(range(30))
        assert sum(int(row["K"]) for row in rows) == int(
            (found.tally.broken * np.arange(len(found.tally.broken))).sum()
        )
        assert sum(row["private"] == "0" for row in rows) == found.tally.failed["private"]
        assert not (tmp_path / "a" / "rounds.csv.part").exists()

    def test_of_a_run_that_was_stopped_is_no_log(self, tmp_path: Path) -> None:
        def stop() -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt), RoundLog(tmp_path) as log:
            simulate(asked(), log=log, tick=stop)
        assert not (tmp_path / "rounds.csv").exists()

    def test_is_never_written_over(self, tmp_path: Path) -> None:
        (tmp_path / "rounds.csv").write_text("precious")
        with pytest.raises(CloisterError, match=r"holds a rounds\.csv"):
            RoundLog(tmp_path)
        with pytest.raises(CloisterError, match="is no folder"):
            RoundLog(tmp_path / "rounds.csv")


WORDS = ("--n", "100", "--faulty", "0.05", "--cluster-size", "10", "--rounds", "20")


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    return run_bench(capsys, monkeypatch, "simulate", *words)


class TestTheCommand:
    def test_answers_in_a_few_lines(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        code, out, _ = run(capsys, monkeypatch, *WORDS, "--identify")
        assert code == 0
        lines = out.splitlines()
        assert len(lines) <= 14
        assert [line.split()[0] for line in lines[1:5]] == ["private", "correct", "live", "any"]
        assert "rank" in lines[-1]

    def test_prints_one_object(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        code, out, _ = run(capsys, monkeypatch, *WORDS, "--json", "--out", str(tmp_path), "--joins", "0.01")
        found = json.loads(out)
        assert code == 0
        assert set(found["sides"]) == {"private", "correct", "live", "any"}
        assert (found["rounds"], found["churn"]["left"]) == (20, 0)
        assert found["churn"]["processes"][1] >= 100
        assert (tmp_path / "rounds.csv").read_text().count("\n") == 21

    @pytest.mark.parametrize(
        ("words", "names"),
        [
            (("--rounds", "0"), "rounds = 0"),
            (("--faulty", "1.5"), "faulty = '1.5'"),
            (("--faulty", "100"), "faulty + crash + curious = 100 leaves nobody honest"),
            (("--cluster-size", "101"), "cluster_size = '101'"),
            (("--joins", "0.7"), "joins = 0.7"),
            (("--leaves", "-1"), "leaves = -1.0"),
            (("--test-error", "0.1"), "means nothing without tests"),
            (("--identify", "--test-error", "0.5"), "test_error = 0.5"),
            (("--policy", "round_robin", "--every", "2"), "every = 2 means nothing"),
            (("--batch", "2"), "batch = 2 means nothing"),
            (("--policy", "randon"), "did you mean 'random'"),
            (("--placement", "worst", "--joins", "0.1"), "do not go with placement 'worst'"),
            (("--threshold", "import os"), "threshold = 'import os'"),
            (("--moves", "2", "--placement", "uniform"), "moves = 2 means nothing"),
            (("--seed", "-1"), "seed = -1"),
            (("--policy", "sticky", "--batch", "200"), "batch = 200 does not fit"),
        ],
    )
    def test_says_a_mistake_in_one_line(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], names: str
    ) -> None:
        code, out, err = run(capsys, monkeypatch, *WORDS, *words)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1, err
        assert names in err
