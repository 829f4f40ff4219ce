"""Hidden sums: probabilities are shares of all placements and draws, worst cases are found by trying all."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, pairwise, product

import numpy as np
import pytest
from scipy import stats

from protocols.check import CloisterError
from protocols.hidden_sums.hidden import Hidden, group_conditions
from protocols.network import TooFewPartiesError
from protocols.tolerance import hidden_states
from protocols.tolerance.analysis import Faults
from protocols.tolerance.hidden import (
    Delegates,
    hidden_bound,
    hidden_sides,
    hidden_worst,
    private_hidden,
    sums_shown,
)
from protocols.tolerance.parts import size_groups

CONDITIONS = group_conditions()
THREE = Delegates()
SHAPES = [(6, 2, 3), (7, 2, 3), (9, 3, 3), (9, 2, 3), (10, 3, 3), (5, 1, 5), (6, 1, 3)]  # n, size, delegates


@dataclass(frozen=True, kw_only=True)
class Placed:
    """A placement and a draw: what the design notes' conditions say of it, straight from the definition."""

    clusters: list[set[int]]
    delegates: set[int]
    byzantine: set[int]
    curious: set[int]

    def exposed(self, threshold: int) -> bool:
        colluding = self.byzantine | self.curious
        alone = any(len(cluster - colluding) == 1 for cluster in self.clusters)
        return alone and len(self.delegates & colluding) > threshold

    @property
    def tainted(self) -> int:
        return sum(bool(cluster & self.byzantine) for cluster in self.clusters)


def clusters_of(n: int, size: int) -> list[set[int]]:
    """As the protocol forms groups: larger ones first."""
    sizes = sorted((s for s, count in size_groups(n, size) for _ in range(count)), reverse=True)
    ends = [sum(sizes[:j]) for j in range(len(sizes) + 1)]
    return [set(range(a, b)) for a, b in pairwise(ends)]


def all_cases(n: int, size: int, serving: int, byzantine: int, curious: int = 0) -> Iterator[tuple[float, Placed]]:
    """Every placement and draw, with its weight."""
    clusters = clusters_of(n, size)
    draws = [
        (set(chosen), 1.0 / math.prod(len(clusters[j]) for j in numbers))
        for numbers in combinations(range(len(clusters)), serving)
        for chosen in product(*(sorted(clusters[j]) for j in numbers))
    ]
    for liars in map(set, combinations(range(n), byzantine)):
        for spies in map(set, combinations(sorted(set(range(n)) - liars), curious)):
            for delegates, weight in draws:
                yield weight, Placed(clusters=clusters, delegates=delegates, byzantine=liars, curious=spies)


def shares(shape: tuple[int, int, int], threshold: int, byzantine: int, most: int) -> list[float]:
    """The shares of placements and draws that are not private, not correct, neither, and that show sums."""
    counted, whole = np.zeros(4), 0.0
    for weight, each in all_cases(*shape, byzantine):
        exposed, wrong = each.exposed(threshold), each.tainted > most
        shown = len(each.delegates & each.byzantine) > threshold
        counted += weight * np.array([exposed, wrong, exposed or wrong, shown])
        whole += weight
    return (counted / whole).tolist()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_probabilities_are_the_shares_of_all_placements_and_draws(shape: tuple[int, int, int]) -> None:
    n, size, serving = shape
    groups, delegates = size_groups(n, size), Delegates(count=serving, threshold=(serving - 1) // 2)
    for byzantine in (1, 2, 3, 4):
        for most in (0, 1):
            faults = Faults(n=n, byzantine=byzantine)
            found = hidden_sides(faults, groups, CONDITIONS, delegates, most)
            expected = shares(shape, delegates.threshold, byzantine, most)
            sides = [found.private.value, found.correct.value, found.fail.value, sums_shown(faults, delegates)]
            assert sides == pytest.approx(expected, rel=1e-9, abs=1e-15)
            assert found.fail.upper <= found.union_bound * (1 + 1e-9)
            bound = hidden_bound(faults, groups, CONDITIONS, delegates, most)
            assert bound >= found.fail.value * (1 - 1e-9)


def test_a_recursion_that_seats_delegates_in_small_clusters_only_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative twin: which clusters send one is drawn as well."""
    faults, groups, expected = Faults(n=9, byzantine=3), size_groups(9, 2), shares((9, 2, 3), 1, 3, 0)[0]
    assert private_hidden(faults, groups, THREE).value == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(hidden_states, "_draws", lambda groups, count: iter([(1.0, (count, 0))]))
    assert private_hidden(faults, groups, THREE).value != pytest.approx(expected, rel=1e-3)


def test_curious_processes_count_for_secrecy_and_not_for_correctness() -> None:
    faults = Faults(n=8, byzantine=2, curious=1)
    found = hidden_sides(faults, size_groups(8, 2), CONDITIONS, THREE, 1)
    exposed = wrong = either = whole = 0.0
    for weight, each in all_cases(8, 2, 3, 2, 1):
        exposed += weight * each.exposed(1)
        wrong += weight * (each.tainted > 1)
        either += weight * (each.exposed(1) or each.tainted > 1)
        whole += weight
    assert found.private.value == pytest.approx(exposed / whole, rel=1e-9)
    assert found.correct.value == pytest.approx(wrong / whole, rel=1e-9)
    assert found.fail.value == pytest.approx(either / whole, rel=1e-9)


@pytest.mark.parametrize("shape", [(6, 2, 3), (7, 2, 3), (9, 3, 3), (5, 1, 5)], ids=str)
def test_the_worst_case_is_that_of_trying_all(shape: tuple[int, int, int]) -> None:
    n, size, serving = shape
    groups, delegates = size_groups(n, size), Delegates(count=serving, threshold=(serving - 1) // 2)
    most = 1
    fails = {
        side: next((b for b in range(n + 1) if any(broken(each) for _, each in all_cases(n, size, serving, b))), n + 1)
        for side, broken in (
            ("private", lambda each: each.exposed(delegates.threshold)),
            ("correct", lambda each: each.tainted > most),
        )
    }
    found = hidden_worst(Faults(n=n, byzantine=0), groups, CONDITIONS, delegates, most)
    assert (found.private, found.correct, found.live) == (fails["private"] - 1, fails["correct"] - 1, n)


def test_members_who_deviate_are_tolerated_nowhere_and_one_delegate_shows_what_is_alone() -> None:
    delegates = Delegates(deviating=True)
    faults, groups = Faults(n=9, byzantine=2), size_groups(9, 3)
    found = hidden_sides(faults, groups, CONDITIONS, delegates, 1)
    assert (found.correct.value, found.live.value, found.fail.value) == (1.0, 1.0, 1.0)
    assert found.private.value == pytest.approx(shares((9, 3, 3), 0, 2, 0)[0], rel=1e-9)
    assert hidden_worst(faults, groups, CONDITIONS, delegates, 1).all == 0
    calm = hidden_sides(Faults(n=9, byzantine=0), groups, CONDITIONS, delegates, 1)
    assert calm.fail.value == 0.0


@pytest.mark.parametrize(("n", "size", "byzantine"), [(12, 2, 2), (8, 2, 2), (12, 2, 3), (12, 4, 1)])
def test_a_wrong_result_needs_a_liar_in_each_of_two_committees(n: int, size: int, byzantine: int) -> None:
    """All placements, for two draws: with clusters of one size all draws have the same law."""
    protocol, groups = Hidden(group_size=size, committees=2), size_groups(n, size)
    delegates = Delegates(deviating=True, committees=2)
    found = hidden_sides(Faults(n=n, byzantine=byzantine), groups, CONDITIONS, delegates, protocol.breakdown(n))
    wrong = exposed = total = 0
    for use in (1, 2):
        seats = protocol.seats(parties=n, present=frozenset(range(n)), use=use)
        for liars in map(frozenset, combinations(range(n), byzantine)):
            said = protocol.outcome(n, liars, frozenset(), frozenset(), use=use, deviating=liars)
            known = not liars.isdisjoint(seats.delegates + seats.second)
            exposed += known and any(len(set(group) - liars) == 1 for group in seats.groups)
            wrong, total = wrong + (not said.correct), total + 1
    assert found.correct.value == pytest.approx(wrong / total, rel=1e-9)
    assert found.live.value == 1.0
    assert found.private.value == pytest.approx(exposed / total, rel=1e-9)
    assert hidden_worst(Faults(n=n, byzantine=0), groups, CONDITIONS, delegates, 2).correct == 1


CRASHED = [
    (8, 1, 2, 2),
    (9, 1, 2, 1),
    (8, 1, 3, 1),
    (8, 1, 1, 3),
    (10, 2, 2, 1),
    (10, 2, 2, 2),
    (10, 2, 2, 3),
    (8, 2, 2, 3),
]


@pytest.mark.parametrize(("n", "size", "byzantine", "crashed"), CRASHED)
@pytest.mark.parametrize("most", [1, 20])
def test_liars_are_drawn_among_those_who_have_not_crashed(
    n: int, size: int, byzantine: int, crashed: int, most: int
) -> None:
    """All placements, with a draw of each use for whoever is there: all draws have the same law, given the crashed."""
    protocol, groups = Hidden(group_size=size, committees=2), size_groups(n, size)
    delegates, faults = Delegates(deviating=True, committees=2), Faults(n=n, byzantine=byzantine, crashed=crashed)
    wrong = shown = served = total = 0
    for use, gone in enumerate(map(frozenset, combinations(range(n), crashed))):
        there = frozenset(range(n)) - gone
        committees = drawn_committees(protocol, n, there, use)
        for liars in map(frozenset, combinations(sorted(there), byzantine)):
            failed = sum(not (liars | gone).isdisjoint(cluster) for cluster in clusters_of(n, size))
            lying = bool(committees) and all(not liars.isdisjoint(each) for each in committees)
            wrong += failed > most or lying or not committees
            total, served = total + 1, served + bool(committees)
            shown += any(not liars.isdisjoint(each) for each in committees)
    found = hidden_sides(faults, groups, CONDITIONS, delegates, most).correct
    assert found.engine != "bounds"
    assert found.value == pytest.approx(wrong / total, rel=1e-9)
    assert sums_shown(faults, delegates) == pytest.approx(shown / served if served else 0.0, rel=1e-9)


def drawn_committees(protocol: Hidden, n: int, there: frozenset[int], use: int) -> tuple[tuple[int, ...], ...]:
    """Those whom the protocol draws; none where there are too few."""
    try:
        seats = protocol.seats(parties=n, present=there, use=use)
    except TooFewPartiesError:
        return ()
    return seats.delegates, seats.second


@pytest.mark.parametrize("crashed", [1, 2])
def test_two_committees_need_twice_as_many_clusters_of_one(crashed: int) -> None:
    """Of seven members all but one must be there; `Hidden.outcome` is asked about every placement."""
    protocol, delegates, n = Hidden(group_size=1, committees=2), Delegates(deviating=True, committees=2), 7
    groups, faults = size_groups(n, 1), Faults(n=n, byzantine=0, crashed=crashed)
    none = frozenset[int]()
    lives = [protocol.outcome(n, none, frozenset(gone), none).live for gone in combinations(range(n), crashed)]
    assert hidden_sides(faults, groups, CONDITIONS, delegates, 3).live.value == 1 - sum(lives) / len(lives)
    assert (hidden_worst(faults, groups, CONDITIONS, delegates, 3).live >= 0) is all(lives)
    assert (hidden_bound(faults, groups, CONDITIONS, delegates, 3) < 1) is all(lives)


def test_committees_of_members_who_follow_the_protocol_compare_nothing() -> None:
    with pytest.raises(CloisterError, match="committees = 2 is not allowed; allowed: 1, or 2 where members deviate"):
        Delegates(committees=2)
    with pytest.raises(CloisterError, match="allowed: 6 clusters or more"):
        Delegates(deviating=True, committees=2).check(size_groups(5, 1))


def test_crashes_lose_clusters_of_which_too_few_may_be_left_to_serve() -> None:
    """Who serves is drawn among complete clusters; what is learned then is in test_tolerance_checked.py."""
    protocol, n = Hidden(group_size=2), 8
    faults = Faults(n=n, byzantine=2, crashed=2)
    found = hidden_sides(faults, size_groups(n, 2), CONDITIONS, THREE, 2)
    live = total = 0
    for crashed in combinations(range(n), 2):
        for liars in combinations(sorted(set(range(n)) - set(crashed)), 2):
            said = protocol.outcome(n, frozenset(liars), frozenset(crashed), frozenset(), use=total % 50)
            live, total = live + said.live, total + 1
    assert found.live.value == pytest.approx(1 - live / total, rel=1e-9)
    assert hidden_worst(Faults(n=n, byzantine=0, crashed=2), size_groups(n, 2), CONDITIONS, THREE, 2).live < 0


@pytest.mark.parametrize(("n", "size"), [(9, 3), (7, 2), (6, 1)])
def test_what_is_counted_is_what_the_protocol_says_of_itself(n: int, size: int) -> None:
    """Secrecy and taint of Hidden.outcome, for all placements, with delegates of its own stream."""
    protocol = Hidden(group_size=size)
    clusters = clusters_of(n, size)
    assert [set(group) for group in protocol.groups_of(parties=n)] == clusters
    for byzantine, curious in ((2, 0), (3, 0), (2, 2)):
        for use, liars in enumerate(map(frozenset, combinations(range(n), byzantine))):
            spies = frozenset(sorted(set(range(n)) - liars)[:curious])
            seats = protocol.seats(parties=n, present=frozenset(range(n)), use=use)
            placed = Placed(clusters=clusters, delegates=set(seats.delegates), byzantine=set(liars), curious=set(spies))
            said = protocol.outcome(n, liars, frozenset(), spies, use=use)
            assert said.private is not placed.exposed(seats.access.threshold)
            assert said.correct is (placed.tainted <= protocol.withstands(groups=len(clusters)))


def test_the_protocols_own_draws_break_as_often_as_is_computed() -> None:
    """800 batches at n = 24: an exact binomial test, false alarms at most 1e-6; 12 points off are seen with 98 %."""
    protocol, n, colluding, batches = Hidden(group_size=2, delegates=5), 24, 8, 800
    rng = np.random.default_rng(5)
    broken = sum(
        not protocol.outcome(
            n, frozenset(rng.choice(n, colluding, replace=False).tolist()), frozenset(), frozenset(), use=use
        ).private
        for use in range(batches)
    )
    found = private_hidden(Faults(n=n, byzantine=colluding), size_groups(n, 2), Delegates(count=5, threshold=2))
    assert 0.1 < found.value < 0.9
    assert stats.binomtest(broken, batches, found.value).pvalue > 1e-6


def test_whoever_is_drawn_is_what_the_verdict_of_a_run_says() -> None:
    protocol, n, f = Hidden(group_size=2), 10, 3
    clusters = clusters_of(n, 2)
    exposed = [protocol.exposes(clusters, set(chosen)) for chosen in combinations(range(n), f)]
    found = private_hidden(Faults(n=n, byzantine=f), size_groups(n, 2), THREE, whoever=True)
    assert found.value == pytest.approx(sum(exposed) / len(exposed), rel=1e-9)
    assert found.value > private_hidden(Faults(n=n, byzantine=f), size_groups(n, 2), THREE).value


def test_the_last_one_that_a_mean_tells_to_all_others_is_known_anyway() -> None:
    faults, groups = Faults(n=9, byzantine=8), size_groups(9, 3)
    assert private_hidden(faults, groups, THREE).value == pytest.approx(1.0, rel=1e-12)
    assert private_hidden(Faults(n=9, byzantine=9), groups, THREE).value == 0.0
    mean, median = Hidden(group_size=2, outer="mean"), Hidden(group_size=2)
    for crashed in (frozenset[int](), frozenset({0}), frozenset({2, 3})):
        for last in sorted(frozenset(range(8)) - crashed):
            curious = frozenset(range(8)) - crashed - {last}
            said = [each.outcome(8, frozenset(), crashed, curious, use=last).private for each in (mean, median)]
            assert said[0] is said[1]


def test_large_federations_have_bounds_that_say_so() -> None:
    faults, groups = Faults(n=100_000, byzantine=10_000), size_groups(100_000, 10)
    found = private_hidden(faults, groups, THREE)
    assert found.engine == "bounds"
    assert 0 < found.upper < sums_shown(faults, THREE)
    small = private_hidden(Faults(n=1000, byzantine=100), size_groups(1000, 10), THREE)
    assert small.engine == "recursion"
    assert 0 < small.value <= sums_shown(Faults(n=1000, byzantine=100), THREE)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Delegates(count=2), "delegates = 2"),
        (lambda: Delegates(count=5, threshold=3), "threshold = 3 of 5 delegates is not allowed; allowed: 1 to 2"),
        (lambda: Delegates(count=5, threshold=0), "threshold = 0 of 5 delegates"),
        (lambda: private_hidden(Faults(n=6, byzantine=1), size_groups(6, 3), THREE), "delegates = 3 of 2 clusters"),
    ],
)
def test_mistakes_are_named(build: object, message: str) -> None:
    with pytest.raises(CloisterError, match=message):
        build()  # type: ignore[operator]
