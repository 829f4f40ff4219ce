"""Group testing: what COMP and DD guarantee without errors, and the stated error with them."""

import dataclasses

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.tolerance import group_testing
from protocols.tolerance.group_testing import GroupTests, Noise, accusation, rounds_until_identified
from protocols.types import Clustering


def dealt(order: list[int], m: int) -> Clustering:
    return Clustering(clusters=tuple(tuple(order[j::m]) for j in range(m)))


@st.composite
def histories(draw: st.DrawFn) -> tuple[int, frozenset[int], list[Clustering]]:
    n = draw(st.integers(1, 12))
    faulty = draw(st.frozensets(st.integers(0, n - 1), max_size=n))
    rounds = [dealt(draw(st.permutations(range(n))), draw(st.integers(1, n))) for _ in range(draw(st.integers(1, 6)))]
    return n, faulty, rounds


def flags(clustering: Clustering, faulty: frozenset[int]) -> list[bool]:
    return [bool(faulty & set(cluster)) for cluster in clustering.clusters]


@example((2, frozenset({0}), [dealt([0, 1], 1)]))  # one of two, and nobody knows which
@given(histories())
def test_without_errors_nobody_guilty_is_cleared_and_nobody_innocent_convicted(history: tuple) -> None:
    n, faulty, rounds = history
    tests = GroupTests(n=n)
    suspects, convicted = frozenset(range(n)), frozenset()
    for clustering in rounds:
        tests.add(clustering, flags(clustering, faulty))
        assert faulty <= tests.suspects() <= suspects
        assert convicted <= tests.convicted() <= faulty
        assert not tests.contradicted()
        if tests.identified():
            assert tests.convicted() == faulty
        suspects, convicted = tests.suspects(), tests.convicted()


@given(histories())
def test_suspects_are_exactly_those_in_no_clean_test(history: tuple) -> None:
    n, faulty, rounds = history
    tests = GroupTests(n=n)
    for clustering in rounds:
        tests.add(clustering, flags(clustering, faulty))
    clean = {i for clustering in rounds for c in clustering.clusters if not faulty & set(c) for i in c}
    assert tests.suspects() == frozenset(range(n)) - clean


def test_a_missed_test_clears_the_guilty_and_is_contradicted_by_the_next() -> None:
    """Twin: with a miss the guarantee is void, and it shows."""
    tests = GroupTests(n=4)
    tests.add(dealt([0, 1, 2, 3], 2), [False, False])
    tests.add(dealt([0, 1, 2, 3], 4), [True, False, False, False])
    assert 0 not in tests.suspects()
    assert tests.contradicted()
    assert not tests.identified()


def test_singletons_identify_in_one_round_and_one_cluster_never_does() -> None:
    alone, together = GroupTests(n=5), GroupTests(n=5)
    alone.add(dealt(list(range(5)), 5), [False, True, False, False, True])
    assert alone.identified()
    assert alone.convicted() == {1, 4}
    for _ in range(9):
        together.add(dealt(list(range(5)), 1), [True])
    assert not together.identified()


def played(n: int, faulty: frozenset[int], m: int, rounds: int, noise: Noise, *names: object) -> GroupTests:
    tests = GroupTests(n=n)
    rng = public_stream(9, "group testing", *names)
    for _ in range(rounds):
        clustering = dealt(rng.permutation(n).tolist(), m)
        truth = np.array(flags(clustering, faulty))
        errs = rng.random(m) < np.where(truth, noise.miss, noise.false_alarm)
        tests.add(clustering, (truth ^ errs).tolist())
    return tests


def test_the_noisy_rule_keeps_its_stated_error() -> None:
    n, faulty, m, noise = 24, frozenset({3, 11}), 6, Noise(false_alarm=0.1, miss=0.1)
    rule = accusation(n=n, faulty=2, cluster_size=4, rounds=14, noise=noise)
    assert 0.01 < rule.error < 0.5
    games = 300
    wrong = sum(played(n, faulty, m, 14, noise, game).accused(rule) != faulty for game in range(games))
    # The seed is fixed; over seeds more than this happens in at most one of 1e6.
    assert wrong <= stats.binom.ppf(1 - 1e-6, games, rule.error)
    # Power: a rule that accuses two rounds too early errs far more often than stated.
    hasty = dataclasses.replace(rule, least=rule.least - 4)
    assert sum(played(n, faulty, m, 14, noise, game).accused(hasty) != faulty for game in range(40)) > 40 * rule.error


def test_the_fewest_rounds_meet_the_error_and_one_less_does_not() -> None:
    noise = Noise(false_alarm=0.05, miss=0.02)
    found = rounds_until_identified(n=60, faulty=3, cluster_size=6, noise=noise, error=1e-4)
    assert found is not None
    assert found.error <= 1e-4
    assert accusation(n=60, faulty=3, cluster_size=6, rounds=found.rounds - 1, noise=noise).error > 1e-4
    assert played(60, frozenset({0, 1, 2}), 10, found.rounds, noise, "fewest").accused(found) == {0, 1, 2}


def test_rates_are_those_of_the_hypergeometric_law() -> None:
    guilty, innocent = group_testing._rates(50, 5, 10, Noise(false_alarm=0.2, miss=0.1))
    none = stats.hypergeom.pmf(0, 49, 5, 9)
    assert guilty == pytest.approx(0.9)
    assert innocent == pytest.approx((1 - none) * 0.9 + none * 0.2, rel=1e-10)


def test_the_posterior_of_one_process_is_bayes() -> None:
    share, noise = 0.2, Noise(false_alarm=0.1, miss=0.05)
    tests = GroupTests(n=4)
    tests.add(dealt([0, 1, 2, 3], 2), [True, False])
    clean, tainted = 1 - (1 - (1 - share)), 1 - (1 - share)
    hit = tainted * 0.95 + clean * 0.1
    expected = share * 0.95 / (share * 0.95 + (1 - share) * hit)
    assert tests.posterior(share, noise)[0] == pytest.approx(expected, rel=1e-12)
    assert tests.posterior(share, noise)[1] < share < tests.posterior(share, noise)[0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GroupTests(n=2).add(dealt([0, 1], 2), [True]), "1 flags for 2 clusters"),
        (lambda: GroupTests(n=1).add(dealt([0, 1], 2), [True, True]), "beyond n = 1"),
        (lambda: Noise(false_alarm=0.5, miss=0.5), "below 1"),
        (lambda: accusation(n=5, faulty=5, cluster_size=2, rounds=1, noise=Noise()), "no honest process"),
        (lambda: accusation(n=5, faulty=1, cluster_size=6, rounds=1, noise=Noise()), "does not fit n = 5"),
        (lambda: rounds_until_identified(n=5, faulty=1, cluster_size=2, noise=Noise(), error=0), "error = 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make, message: str) -> None:
    with pytest.raises(CloisterError, match=message):
        make()


@pytest.mark.parametrize("rounds", [1, 2, 7, 40])
@pytest.mark.parametrize(("n", "faulty", "size"), [(50, 5, 10), (12, 1, 3), (1000, 200, 4), (9, 0, 3)])
def test_without_misses_the_best_rule_is_found_without_trying_all(n: int, faulty: int, size: int, rounds: int) -> None:
    """The closed form is the least of the bounds over all thresholds, by scipy's binomial tails."""
    innocent = 1 - stats.hypergeom.pmf(0, n - 1, faulty, size - 1)
    thresholds = range(rounds + 1)
    missed = [faulty * stats.binom.cdf(least - 1, rounds, 1.0) for least in thresholds]
    alarms = [(n - faulty) * stats.binom.sf(least - 1, rounds, innocent) for least in thresholds]
    found = accusation(n=n, faulty=faulty, cluster_size=size, rounds=rounds, noise=Noise())
    # A power of up to 40 factors against scipy's incomplete beta function: some dozens of roundings.
    assert found.error == pytest.approx(min(1.0, *np.add(missed, alarms)), rel=1e-9, abs=1e-15)
    if faulty:
        assert found.least == rounds
