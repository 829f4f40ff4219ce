"""Engines against published values, exact rationals, one another, and Monte Carlo; planted bugs are seen."""

import math
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from scipy import stats

from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.tolerance import saddle
from protocols.tolerance._angles import Axis
from protocols.tolerance.binomial import log_binomial, log_hypergeometric
from protocols.tolerance.cauchy import cauchy_any_bad
from protocols.tolerance.design import smallest_committee
from protocols.tolerance.exact import exact_any_bad, exact_distribution, exact_tail
from protocols.tolerance.kdist import distribution
from protocols.tolerance.pair import pair_any_bad
from protocols.tolerance.parts import BadSet, Mask, NotExactError, Part, check_counts, parts_of, size_groups
from protocols.tolerance.rounds import iid_any_bad, iid_tail, over_rounds, poisson_binomial_tail
from protocols.tolerance.saddle import saddle_tail
from protocols.tolerance.solve import tail
from protocols.tolerance.union import any_bad_bounds, bad_shares, bracket, tail_bounds
from protocols.types import balanced_sizes


def above(threshold: str) -> BadSet:
    rules = {"c/2": lambda c: (c - 1) // 2, "c/3": lambda c: (c - 1) // 3, "0": lambda c: 0}
    return lambda c: np.arange(c + 1) > rules[threshold](c)


def expose(c: int) -> Mask:
    return np.arange(c + 1) == c - 1


def relative(found: float, expected: float | Fraction) -> float:
    return abs(float(Fraction(found) / Fraction(expected) - 1)) if expected else abs(found)


@pytest.mark.parametrize(
    ("n", "f", "c", "bad", "printed"),
    [
        (10**4, 2000, 50, above("c/2"), ("3.9122720762e-4", "3.9129e-4")),
        # The design notes print ...4955; U - S2 in 40 digits, the third term being below 1e-23, is 2.08080749526e-8.
        (10**5, 20000, 100, above("c/2"), ("2.0808074953e-8", "2.0808e-8")),
        (10**6, 10**5, 50, above("c/3"), ("7.3186019e-2", "7.5997e-2")),
        (10**6, 5 * 10**4, 8, expose, ("7.4162172e-4", "7.4190e-4")),
    ],
)
def test_the_values_to_check_against(n: int, f: int, c: int, bad: BadSet, printed: tuple[str, str]) -> None:
    fail, bound = printed
    parts = parts_of(size_groups(n, c), bad)
    # The last printed digit is rounded: half a unit of it, and the digits in the text are counted.
    slack = 0.51 * 10.0 ** -(len(fail.split("e", maxsplit=1)[0]) - 2)
    mantissa = 10.0 ** int(fail.split("e")[1])
    assert abs(cauchy_any_bad(parts, n, f) / mantissa - float(fail.split("e", maxsplit=1)[0])) < slack
    assert any_bad_bounds(parts, n, (f,)).upper == pytest.approx(float(bound), rel=2e-5)


def test_gearbox_committees_and_omniledger() -> None:
    def third(c: int) -> int:
        return (c - 1) // 3

    assert smallest_committee(10**4, 3000, third, 2.0**-60) == 5908
    assert smallest_committee(10**4, 3000, lambda c: c - 1, 2.0**-60) == 35
    # OmniLedger samples with replacement: 100 validators at 25 %.
    members = np.arange(third(100) + 1, 101.0)
    assert np.exp(log_binomial(members, np.array(100.0), 0.25)).sum() == pytest.approx(0.0276, abs=5e-5)


def test_of_a_hundred_placements_in_tens_three_quarters_are_tolerated() -> None:
    parts = parts_of(size_groups(100, 10), above("c/2"))
    assert 1 - exact_any_bad(parts, 100, 20) == pytest.approx(0.756, abs=5e-4)


def configurations(count: int) -> list[tuple[int, int, tuple[Part, ...], int]]:
    """(n, f, parts, most): thresholds, holes and arbitrary sets in all sorts of sizes."""
    draw = public_stream(4, "tolerance configurations")
    found = []
    for index in range(count):
        n = int(draw.integers(4, 70))
        c, f = int(draw.integers(1, n // 2 + 1)), int(draw.integers(0, n + 1))
        threshold = int(draw.integers(0, c + 1))
        tables = {size: draw.random(size + 1) < 0.4 for size, _ in size_groups(n, c)}
        rules: list[BadSet] = [lambda s, t=threshold: np.arange(s + 1) > t, expose, lambda s, by=tables: by[s]]
        parts = parts_of(size_groups(n, c), rules[index % 3])
        found.append((n, f, parts, int(draw.integers(0, sum(part.count for part in parts)))))
    return found


CONFIGURATIONS = configurations(330)


def test_the_engines_agree_with_exact_rationals_on_330_configurations() -> None:
    # Every engine claims 1e-10 or better; 1e-9 is what is promised.
    refusals = {"cauchy": 0, "saddle": 0}
    for n, f, parts, most in CONFIGURATIONS:
        law = exact_distribution(parts, n, (f,))
        assert exact_any_bad(parts, n, f) == 1 - law[0]
        assert relative(pair_any_bad(parts, n, f), 1 - law[0]) < 1e-9
        assert relative(tail(parts, n, (f,), 0).value, 1 - law[0]) < 1e-9
        assert relative(tail(parts, n, (f,), most).value, exact_tail(parts, n, (f,), most)) < 1e-9
        for found, expected in zip(distribution(parts, n, (f,)), law, strict=True):
            assert relative(float(found), expected) < 1e-9
        try:
            assert relative(cauchy_any_bad(parts, n, f), 1 - law[0]) < 1e-9, (n, f, parts)
        except NotExactError:
            refusals["cauchy"] += 1
        if f:
            try:
                assert relative(saddle_tail(parts, n, (f,), most), sum(law[most + 1 :])) < 1e-9, (n, f, parts)
            except NotExactError:
                refusals["saddle"] += 1
    # A refusal is honest, but an engine that always refuses would pass.
    assert refusals["cauchy"] < 100
    assert refusals["saddle"] < 20


def test_the_exact_law_adds_up_to_one_and_its_mean_is_the_sum_of_shares() -> None:
    for n, f, parts, _ in CONFIGURATIONS[:120]:
        law = exact_distribution(parts, n, (f,))
        assert sum(law) == 1
        mean = float(sum(k * p for k, p in enumerate(law)))
        assert any_bad_bounds(parts, n, (f,)).upper == pytest.approx(mean, rel=1e-10, abs=1e-300)
        # m + 1 rounding errors of values that add up to 1.
        assert distribution(parts, n, (f,)).sum() == pytest.approx(1, rel=1e-11)


def test_the_sandwich_and_the_bounds_hold() -> None:
    for n, f, parts, most in CONFIGURATIONS:
        fail = float(exact_any_bad(parts, n, f))
        bounds = any_bad_bounds(parts, n, (f,))
        # Both sides meet P where there is one cluster: a rounding error of room.
        assert bounds.lower * (1 - 1e-10) <= fail <= bounds.upper * (1 + 1e-10)
        above_most = tail_bounds(parts, n, (f,), most)
        found = float(exact_tail(parts, n, (f,), most))
        assert above_most.lower * (1 - 1e-10) - 1e-12 <= found <= above_most.upper * (1 + 1e-10)
        # What holds whatever the joint law is no better, and holds as well.
        shares, many = bad_shares(parts, n, (f,)), [part.count for part in parts]
        loose = bracket(shares, many, most, associated=False)
        assert loose.lower * (1 - 1e-10) - 1e-12 <= found <= loose.upper * (1 + 1e-10)
        mean, m = float(np.dot(shares, many)), sum(many)
        if 0 <= most < m:  # Markov's on the bad clusters, and on the others
            assert loose.upper <= mean / (most + 1) * (1 + 1e-12)
            assert loose.lower >= min((mean - most) / (m - most), loose.upper) - 1e-12


@pytest.mark.parametrize("m", [2, 3, 5])
def test_bounds_whatever_the_joint_law_are_markovs_own(m: int) -> None:
    """Of m - 1 that are surely bad it is known which side is right; of a mean of m / 2 the formulas are."""
    for most in range(m):
        sure = bracket([1.0, 0.0], [m - 1, 1], most, associated=False)
        assert sure.lower <= (most < m - 1) <= sure.upper
        half = bracket([0.5], [m], most, associated=False)
        assert half.lower == pytest.approx(max(0.0, 0.5 if most == 0 else (m / 2 - most) / (m - most)), rel=1e-12)
        assert half.upper == pytest.approx(m / 2 / (most + 1), rel=1e-12)


def test_failure_grows_with_the_number_of_faults() -> None:
    for n, c, rule in ((60, 7, above("c/2")), (48, 5, above("0")), (1000, 20, above("c/3"))):
        parts = parts_of(size_groups(n, c), rule)
        for most in (0, 2):
            found = [tail(parts, n, (f,), most).value for f in range(0, n // 2, max(1, n // 40))]
            assert all(a <= b * (1 + 1e-9) for a, b in pairwise(found))


@pytest.mark.parametrize(("n", "f", "c"), [(1000, 250, 100), (900, 100, 90), (1000, 60, 50)])
def test_rare_tails_keep_their_digits(n: int, f: int, c: int) -> None:
    parts = parts_of(size_groups(n, c), above("c/2"))
    expected = exact_any_bad(parts, n, f)
    assert relative(pair_any_bad(parts, n, f), expected) < 1e-9
    assert relative(saddle_tail(parts, n, (f,), 0), expected) < 1e-9
    assert float(expected) < 1e-3


def test_a_tail_of_1e_minus_250_keeps_its_digits() -> None:
    parts = parts_of(size_groups(400, 40), above("c/2"))
    expected = exact_tail(parts, 400, (190,), 8)
    assert expected > 0
    assert relative(saddle_tail(parts, 400, (190,), 8), expected) < 1e-9
    assert relative(float(distribution(parts, 400, (190,))[9:].sum()), expected) < 1e-9
    tiny = parts_of(size_groups(800, 400), lambda c: np.arange(c + 1) >= 390)
    expected = exact_any_bad(tiny, 800, 395)
    assert 1e-300 < expected < 1e-200
    assert relative(pair_any_bad(tiny, 800, 395), expected) < 1e-9


@pytest.mark.parametrize(("n", "f", "most"), [(247, 83, 52), (129, 68, 14)])
def test_tied_parities_do_not_fool_the_saddle_point(n: int, f: int, most: int) -> None:
    """Planted bug: in pairs, K and f have the same parity, so the integrand comes back at pi, beyond a short window."""
    parts = parts_of(size_groups(n, 2), expose)
    expected = float(distribution(parts, n, (f,))[most + 1 :].sum())
    assert relative(saddle_tail(parts, n, (f,), most), expected) < 1e-9


def test_large_clusters_do_not_fool_the_contour_integral() -> None:
    """Planted bugs: a share of a vanishing whole loses its digits; an alias looks like a tiny probability."""
    large = parts_of(size_groups(293, 60), lambda s: np.arange(s + 1) > 40)
    assert relative(cauchy_any_bad(large, 293, 135), exact_any_bad(large, 293, 135)) < 1e-9
    impossible = parts_of(size_groups(376, 111), expose)
    assert pair_any_bad(impossible, 376, 3) == 0.0
    with pytest.raises(NotExactError, match="aliases"):
        cauchy_any_bad(impossible, 376, 3)


def test_several_kinds_of_fault_agree_with_exact_rationals() -> None:
    draw = public_stream(4, "tolerance kinds")
    for index in range(40):
        kinds = 2 + index % 2
        n = int(draw.integers(kinds + 2, 13))
        counts = tuple(int(draw.integers(1, max(2, n // kinds))) for _ in range(kinds))
        groups = size_groups(n, int(draw.integers(1, n // 2 + 1)))
        tables = {size: draw.random((2, *(size + 1,) * kinds)) < 0.3 for size, _ in groups}
        barred = (lambda s, by=tables: by[s][1]) if index % 4 == 0 else None
        parts = parts_of(groups, lambda s, by=tables: by[s][0], barred)
        most = int(draw.integers(0, sum(part.count for part in parts)))
        law = exact_distribution(parts, n, counts)
        assert relative(tail(parts, n, counts, most).value, sum(law[most + 1 :])) < 1e-9
        assert all(relative(float(a), b) < 1e-9 for a, b in zip(distribution(parts, n, counts), law, strict=True))


def two_and_a_bystander(c: int) -> Mask:
    """Bad by two kinds of fault alone; a third one takes up room."""
    b, k, p = np.meshgrid(*[np.arange(c + 1)] * 3, indexing="ij", sparse=True)
    return (2 * b + k > c // 2) | (p < 0)


def of_two(c: int) -> Mask:
    return two_and_a_bystander(c)[:, :, 0]


def exposed_by_three(c: int) -> Mask:
    b, k, p = np.meshgrid(*[np.arange(c + 1)] * 3, indexing="ij", sparse=True)
    return (b + p > c // 2) & (k >= 0)


THREE = [
    # n, c, counts, most
    (1000, 10, (50, 40, 60), 14),
    (400, 20, (40, 30, 50), 6),
]


@pytest.mark.parametrize(("n", "c", "counts", "most"), THREE)
def test_a_third_kind_that_does_not_matter_changes_nothing(
    n: int, c: int, counts: tuple[int, int, int], most: int
) -> None:
    groups = size_groups(n, c)
    three = saddle_tail(parts_of(groups, two_and_a_bystander), n, counts, most)
    two = saddle_tail(parts_of(groups, of_two), n, counts[:2], most)
    assert 0 < two < 1e-6
    assert relative(three, two) < 1e-9


def agrees_with_additions_of_three(monkeypatch: pytest.MonkeyPatch) -> float:
    """The largest relative error of the integral whose angles are looked at closely, beside additions."""
    monkeypatch.setattr(saddle, "_FEW_POINTS", 0)
    worst = 0.0
    for n, c, counts, most in ((90, 10, (14, 9, 12), 3), (150, 10, (12, 14, 20), 1)):
        parts = parts_of(size_groups(n, c), two_and_a_bystander, exposed_by_three)
        expected = float(distribution(parts, n, counts)[most + 1 :].sum())
        worst = max(worst, relative(saddle_tail(parts, n, counts, most), expected))
    return worst


@pytest.mark.parametrize("faded", [0.5, 5.0, 50.0])
def test_angles_are_left_out_exactly_where_the_integrand_is_below_what_may_fade(
    faded: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 20 clusters that are bad with 1/2 each |phi| is |cos(angle / 2)|^20."""
    monkeypatch.setattr(saddle, "_table", lambda *_: (np.array([0.5, 0.5]), [0]))
    axis, law = Axis(steps=np.arange(-20, 21), points=41), cast(Any, SimpleNamespace(count=20))
    (kept,) = saddle._damped([axis], [law], np.zeros(1), 0, faded)
    expected = [step for step in range(-20, 21) if 20 * math.log(abs(math.cos(math.pi * step / 41))) > -faded]
    assert kept.steps.tolist() == expected
    assert 0 < len(expected) < 41


def test_the_angles_that_are_left_out_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    assert agrees_with_additions_of_three(monkeypatch) < 1e-9


def test_leaving_out_more_angles_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    damped = saddle._damped

    def eager(axes: Any, laws: Any, tilt: Any, slope: int, faded: float) -> list[Any]:
        return damped(axes, laws, tilt, slope, faded / 4)

    monkeypatch.setattr(saddle, "_damped", eager)
    assert agrees_with_additions_of_three(monkeypatch) > 1e-9


def test_three_kinds_in_many_clusters_fall_inside_the_interval_of_monte_carlo() -> None:
    """False alarms: 1e-7 (Hoeffding, both sides); an error above 0.04 is seen as surely."""
    n, c, counts, most, draws = 300, 10, (20, 60, 40), 2, 12_000
    parts = parts_of(size_groups(n, c), two_and_a_bystander, exposed_by_three)
    found = tail(parts, n, counts, most)
    assert found.engine == "saddle point"
    kinds = np.repeat(np.arange(4), [*counts, n - sum(counts)])
    generator = public_stream(5, "tolerance three kinds")
    seen = 0
    for _ in range(draws // 2000):
        seats = generator.permuted(np.tile(kinds, (2000, 1)), axis=1).reshape(2000, n // c, c)
        b, k, p = ((seats == kind).sum(axis=2) for kind in range(3))
        fine = ~exposed_by_three(c)[b, np.minimum(k, 0), p].any(axis=1)
        seen += int((fine & (two_and_a_bystander(c)[b, k, np.minimum(p, 0)].sum(axis=1) > most)).sum())
    assert 0.1 < found.value < 0.9
    assert abs(seen / draws - found.value) < math.sqrt(math.log(2e7) / (2 * draws))


def test_large_tails_agree_with_the_contour_integral_and_stay_inside_the_sandwich() -> None:
    for n, f, c, bad in ((10**5, 20000, 100, above("c/2")), (10**6, 10**5, 50, above("c/3")), (10**6, 500, 8, expose)):
        parts = parts_of(size_groups(n, c), bad)
        # The saddle point raises one factor to the power m <= 2e4: 2e4 rounding errors are 5e-12.
        assert relative(saddle_tail(parts, n, (f,), 0), cauchy_any_bad(parts, n, f)) < 1e-9


def test_monte_carlo_falls_inside_its_interval() -> None:
    n, f, c, most, draws = 60, 15, 6, 2, 40_000
    parts = parts_of(size_groups(n, c), lambda s: np.arange(s + 1) > 2)
    rng = public_stream(4, "tolerance monte carlo")
    faulty = rng.permuted(np.tile(np.arange(n) < f, (draws, 1)), axis=1)
    k = (faulty.reshape(draws, n // c, c).sum(axis=2) > 2).sum(axis=1)
    for threshold in (0, most):
        hits = int((k > threshold).sum())
        # Clopper-Pearson at 1 - 5e-7, twice: a false alarm in at most one of 1e6 seeds; the seed is fixed.
        low, high = stats.beta.ppf([2.5e-7, 1 - 2.5e-7], [hits, hits + 1], [draws - hits + 1, draws - hits])
        found = tail(parts, n, (f,), threshold).value
        assert low <= found <= high
        # Power: an error of a tenth would be seen.
        assert not low <= found * 1.1 <= high


def test_the_log_probabilities_are_those_of_scipy() -> None:
    x = np.arange(0, 61.0)
    assert np.allclose(log_binomial(x, np.array(60.0), 0.3), stats.binom.logpmf(x, 60, 0.3), rtol=1e-12)
    found = log_hypergeometric([x], 500, (120,), 60)
    assert np.allclose(found, stats.hypergeom.logpmf(x, 500, 120, 60), rtol=1e-9)
    # At a million, log-gamma differences are wrong in the ninth digit; scipy's binomial is not.
    assert (
        relative(
            math.exp(log_binomial(np.array(1e5), np.array(1e6), 0.1)), float(stats.binom.pmf(100_000, 1_000_000, 0.1))
        )
        < 1e-11
    )


@pytest.mark.parametrize(
    ("count", "x"), [(20, 0), (20, 3), (1000, 125), (1000, 200), (10**5, 12_550), (10**6, 1000), (10**6, 15_700)]
)
def test_the_error_of_a_binomial_probability_is_below_its_bound_up_to_a_million(count: int, x: int) -> None:
    """Beside the product of its factors in 40 digits, of which ten thousand factors lose 4."""
    p = 2.0 ** round(math.log2(max(x, 1) / count))
    with localcontext(Context(prec=40)):
        exact = Decimal(1 - p) ** (count - x)
        for i in range(x):
            exact *= Decimal(count - i) * Decimal(p) / (i + 1)
        found = Decimal(float(log_binomial(np.array(float(x)), np.array(float(count)), p))).exp()
        assert abs(found / exact - 1) < Decimal("1e-12")


def test_the_groups_hold_the_sizes_of_balanced_sizes() -> None:
    for n in range(1, 40):
        for c in range(1, n + 1):
            listed = [size for size, count in size_groups(n, c) for _ in range(count)]
            assert sorted(balanced_sizes(n, c)) == listed


def test_a_small_last_cluster_would_be_seen() -> None:
    """Planted bug: cutting 1000 into tens of 24 leaves a last cluster of 16, which fails far more often."""
    n, f, c = 1000, 100, 24
    cut = [(16, 1), (24, 41)]
    small_last = parts_of(tuple(cut), lambda s: np.arange(s + 1) >= s - 1)
    balanced = parts_of(size_groups(n, c), lambda s: np.arange(s + 1) >= s - 1)
    assert pair_any_bad(small_last, n, f) > 1e4 * pair_any_bad(balanced, n, f)


def test_confusing_tolerated_clusters_with_faulty_processes_would_be_seen() -> None:
    """Planted bug: the slack F counts clusters; taking f processes for it calls a broken design safe."""
    parts = parts_of(size_groups(100, 10), above("0"))
    assert tail(parts, 100, (20,), 4).value > 0.99
    assert tail(parts, 100, (20,), 20).value == 0.0


def test_certain_cases_are_exact() -> None:
    alone = parts_of(size_groups(9, 1), lambda c: np.arange(c + 1) > 0)
    assert tail(alone, 9, (4,), 3).value == 1.0
    assert tail(alone, 9, (4,), 4).value == 0.0
    assert tail(parts_of(size_groups(9, 3), above("c/2")), 9, (0,), 0).value == 0.0
    assert tail(parts_of(size_groups(9, 3), above("c/2")), 9, (9,), 2).value == 1.0


@pytest.mark.parametrize("counts", [(3,), (4,), (2, 3), (1, 1)])
def test_one_cluster_of_all_has_every_fault(counts: tuple[int, ...]) -> None:
    """No integral and no draw: of nine more than four are too many, and of a second kind one alone is forbidden."""
    shape = (10,) * len(counts)
    total = np.indices(shape).sum(axis=0)
    forbidden = np.indices(shape)[-1] == 1 if len(counts) == 2 else np.zeros(shape, dtype=bool)
    parts = parts_of(((9, 1),), lambda _: total > 4, lambda _: forbidden)
    found = tail(parts, 9, counts, 0)
    assert found.engine == "certain"
    assert found.value == float(sum(counts) > 4 and not forbidden[counts])
    assert tail(parts, 9, counts, 1).value == 0.0


def test_engines_refuse_what_they_cannot_vouch_for() -> None:
    with pytest.raises(NotExactError):
        distribution(parts_of(size_groups(10**6, 50), above("c/2")), 10**6, (10**5,))
    with pytest.raises(NotExactError):
        exact_distribution(parts_of(size_groups(5000, 50), above("c/2")), 5000, (100,))
    halves = parts_of(size_groups(10**6, 5 * 10**5), expose)
    with pytest.raises(NotExactError):
        cauchy_any_bad(halves, 10**6, 3 * 10**5)


def test_counts_that_do_not_fit_are_refused() -> None:
    parts = parts_of(size_groups(10, 5), above("c/2"))
    with pytest.raises(CloisterError, match="more than n = 10"):
        pair_any_bad(parts, 10, 11)
    with pytest.raises(CloisterError, match="hold 10 processes"):
        check_counts(parts, 11, (1,))
    with pytest.raises(CloisterError, match="does not fit n = 10"):
        size_groups(10, 11)


def test_over_rounds_keeps_small_probabilities() -> None:
    assert over_rounds(1e-18, 1000) == pytest.approx(1e-15, rel=1e-12)
    assert over_rounds(0.5, 2) == 0.75
    assert over_rounds(1.0, 3) == 1.0
    with pytest.raises(CloisterError, match="probability"):
        over_rounds(1.5, 2)


def test_independent_faults_are_the_closed_form() -> None:
    parts = parts_of(size_groups(50, 6), above("c/2"))
    shares = [stats.binom.sf((part.size - 1) // 2, part.size, 0.2) for part in parts for _ in range(part.count)]
    assert iid_any_bad(parts, 0.2) == pytest.approx(1 - math.prod(1 - h for h in shares), rel=1e-11)
    assert iid_tail(parts, 0.2, 0) == pytest.approx(iid_any_bad(parts, 0.2), rel=1e-11)
    assert poisson_binomial_tail(np.full(9, 0.3), 4) == pytest.approx(stats.binom.sf(4, 9, 0.3), rel=1e-11)
    assert iid_any_bad(parts, 0.0) == 0.0
    assert iid_any_bad(parts, 1.0) == 1.0
