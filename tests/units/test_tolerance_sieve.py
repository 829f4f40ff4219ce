"""Inclusion and exclusion over strata: against all orders, the histogram, and what is known without it."""

import math
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest

from protocols.tolerance import sieve, strata
from protocols.tolerance.kinds import MarkedEvent
from protocols.tolerance.laws import Event, poisson_binomial
from protocols.tolerance.sieve import sieved
from protocols.tolerance.strata import Strata


def by_orders(risks: list[list[float]], m: int, bad: list[np.ndarray], most: int) -> float:
    """Every order of every stratum, and every set of faulty members (m clusters; the last stratum may be smaller)."""
    total = 0.0
    orders = [list(permutations(range(m), len(row))) for row in risks]
    for chosen in product(*orders):
        laws = [[risks[s][order.index(j)] for s, order in enumerate(chosen) if j in order] for j in range(m)]
        rows = np.zeros(m + 1)
        rows[0] = 1.0
        for law in laws:
            sort = bad[0] if len(law) == len(risks) else bad[-1]
            h = float(np.array(poisson_binomial(law)) @ sort)
            rows[1:], rows[0] = rows[1:] * (1 - h) + rows[:-1] * h, rows[0] * (1 - h)
        total += float(rows[most + 1 :].sum())
    return total / math.prod(len(each) for each in orders)


@pytest.mark.parametrize("most", [0, 1])
@pytest.mark.parametrize("last", [0, 2])
@pytest.mark.parametrize("hole", [False, True])
def test_it_is_the_mean_over_all_orders(most: int, last: int, hole: bool) -> None:
    risks = [[0.05, 0.2, 0.1], [0.3, 0.02, 0.15], [0.4, 0.1, 0.2][: last or 3]]
    sizes = (3, 2) if last else (3,)
    bad = [np.array([float(x == c - 1 if hole else x >= 2) for x in range(c + 1)]) for c in sizes]
    expected = by_orders(risks, 3, bad, most)
    lower, upper = sieved([poisson_binomial(row) for row in risks], 3, last, bad, most)
    assert lower == pytest.approx(expected, rel=1e-9)
    assert upper == pytest.approx(expected, rel=1e-9)


def spread_of(n: int, m: int, mean: float) -> Strata:
    risks = np.sort(mean * 2 * (np.arange(n) + 0.5) / n)
    laws = tuple(poisson_binomial(risks[start : start + m].tolist()) for start in range(0, n, m))
    return Strata(clusters=m, strata=laws, last=n % m)


def rising(tau: int, most: int = 0) -> Event:
    return Event(bad=lambda c: np.arange(c + 1) > tau, most=most)


@pytest.mark.parametrize("n", [24, 26])
def test_it_agrees_with_the_histogram(n: int, monkeypatch: pytest.MonkeyPatch) -> None:
    law = spread_of(n, 8, 0.1)
    both = MarkedEvent(kinds=(2, 1), bad=lambda c: np.add.outer(np.arange(c + 1), np.arange(c + 1)) > 2, most=0)
    exact = [law.probability(rising(2)).value, law.marked(both).value]
    monkeypatch.setattr(strata, "_MOST_SPLITS", 0)
    found = [law.probability(rising(2)), law.marked(both)]
    assert [each.engine for each in found] == ["inclusion and exclusion"] * 2
    assert [each.value for each in found] == pytest.approx(exact, rel=1e-9)


def test_large_federations_are_exact_where_the_sandwich_was_percents_apart() -> None:
    """1,000 processes in clusters of 10: between the product of independent clusters and the union bound."""
    law = spread_of(1000, 100, 0.05)
    found = law.probability(rising(3))
    share = 1 - sum(law._marginal(with_last=False)[:4])
    assert found.engine == "inclusion and exclusion"
    assert 1 - (1 - share) ** 100 < found.value < 100 * share
    assert 0.01 < found.value < 0.2


def test_a_series_that_is_cut_off_has_the_probability_between_its_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    law = spread_of(40, 10, 0.2)
    exact = law.probability(rising(1)).value
    bad = [(np.arange(5) > 1).astype(np.float64)]
    for terms in (1, 2, 3, 4):
        monkeypatch.setattr(sieve, "_MOST_TERMS", terms)
        lower, upper = sieved(law.strata, 10, 0, bad, 0)
        assert lower * (1 - 1e-9) <= exact <= upper * (1 + 1e-9)
        assert terms > 1 or upper == 1.0 or lower == 0.0


def test_what_fails_without_being_exposed_is_what_is_left_of_both() -> None:
    law = spread_of(26, 8, 0.1)
    event = Event(bad=lambda c: np.arange(c + 1) == 1, most=0, forbidden=lambda c: np.arange(c + 1) > 2)
    exact = law.probability(event).value
    masks = [event.masks(size) for size, _ in law._sizes]
    soft = [(safe * 1.0, bad * 1.0) for safe, bad in masks]
    found = law._sieved(soft, event, law._sandwich(event, masks))
    assert found.lower * (1 - 1e-9) <= exact <= found.upper * (1 + 1e-9)


@pytest.mark.parametrize("reached", [1, 5, 26])
def test_the_chance_of_few_among_hundreds_is_that_of_the_binomial_coefficients(reached: int) -> None:
    width, law = 400, poisson_binomial([0.05] * 400)
    for j in range(reached + 1):
        exact = sum(
            Fraction(weight) * Fraction(math.comb(width - reached, k - j), math.comb(width, k))
            for k, weight in enumerate(law)
            if 0 <= k - j <= width - reached
        )
        assert sieve._chance(law, width, reached, j) == pytest.approx(float(exact), rel=1e-13)


@pytest.mark.parametrize("least", [0, 1, 9])
def test_clusters_by_the_thousand_leave_a_long_series_to_other_bounds(least: int) -> None:
    """Powers of that many clusters are no floating-point numbers, and tables of them no tables."""
    law = spread_of(25_000, 2500, 0.02)
    bad = (np.arange(11) >= least).astype(np.float64)
    assert sieved(law.strata, 2500, 0, [bad], 1249) == (0.0, 1.0)
    assert law.probability(rising(1, most=1249)).upper < 1e-9
