"""Rules against slow implementations of their definitions, in rational numbers or in float64."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.aggregators import Aggregator, Given, Selecting, _filtering, aggregators
from protocols.check import CloisterError
from protocols.randomness import public_stream

ULP = 2.0**-52


def rule_of(name: str, **parameters: float) -> Aggregator:
    return aggregators.make(aggregators.resolve({"name": name, **parameters}))


def ones(count: int) -> torch.Tensor:
    return torch.ones(count, dtype=torch.int64)


def excluded(rule: Aggregator, means: torch.Tensor, tolerate: int) -> list[bool]:
    assert isinstance(rule, Selecting)
    return rule.excluded(means, ones(len(means)), tolerate).tolist()


@st.composite
def tied_points(draw: st.DrawFn, least: int = 1) -> list[list[int]]:
    """Rows of small integers, which make ties and whose squares floats hold exactly."""
    m, d = draw(st.integers(least, 9)), draw(st.integers(1, 3))
    flat = draw(st.lists(st.integers(-3, 3), min_size=m * d, max_size=m * d))
    return [flat[d * i : d * (i + 1)] for i in range(m)]


def slow_meamed(rows: list[list[int]], tolerate: int) -> list[Fraction]:
    """In each coordinate the mean of the m - F nearest to the median, of two as near the smaller."""
    found: list[Fraction] = []
    for column in zip(*rows, strict=True):
        line = sorted(Fraction(x) for x in column)
        middle = (line[(len(line) - 1) // 2] + line[len(line) // 2]) / 2
        kept = sorted(line, key=lambda x, middle=middle: abs(x - middle))[: len(line) - tolerate]
        found.append(sum(kept, Fraction(0)) / len(kept))
    return found


def slow_multi_krum(rows: list[list[int]], tolerate: int, selected: int) -> list[int]:
    """The numbers of the rows with the smallest scores."""
    m, scores = len(rows), []
    for i in range(m):
        squared = sorted(sum((a - b) ** 2 for a, b in zip(rows[i], rows[j], strict=True)) for j in range(m) if j != i)
        scores.append(sum(squared[: m - tolerate - 2]))
    return sorted(range(m), key=lambda i: scores[i])[:selected]


class TestMeamed:
    @given(rows=tied_points(), data=st.data())
    def test_is_the_mean_of_the_nearest_rational_numbers(self, rows: list[list[int]], data: st.DataObject) -> None:
        tolerate = data.draw(st.integers(0, (len(rows) - 1) // 2))
        found = rule_of("meamed")(torch.tensor(rows, dtype=torch.float64), ones(len(rows)), tolerate).tolist()
        for a, b in zip(found, slow_meamed(rows, tolerate), strict=True):
            assert abs(Fraction(a) - b) <= Fraction(10 * 3 * ULP)  # ten roundings of numbers up to 3

    def test_every_number_that_counts_is_as_near_to_the_median_as_some_honest_one(self) -> None:
        """Far ones are as far as they like, and none counts: the result is the mean of the honest ones."""
        rows = torch.tensor([[0.0], [1.0], [2.0], [1e9], [-1e30]], dtype=torch.float64)
        assert float(rule_of("meamed")(rows, ones(5), 2)) == 1.0

    def test_the_nearest_to_the_mean_instead_is_seen(self) -> None:
        rows = np.array([0.0, 0.0, 0.0, 4.0, 4.0])
        around_mean = rows[np.argsort(np.abs(rows - 2.5), kind="stable")[:3]].mean()
        assert around_mean > 2.0
        assert float(rule_of("meamed")(torch.from_numpy(rows)[:, None], ones(5), 2)) == 0.0


class TestMultiKrum:
    @given(rows=tied_points(least=3), data=st.data())
    def test_the_result_is_the_average_of_selected_cluster_means_and_ties_go_to_lower_cluster_numbers(
        self, rows: list[list[int]], data: st.DataObject
    ) -> None:
        m = len(rows)
        tolerate = data.draw(st.integers(0, (m - 3) // 2))
        selected = data.draw(st.none() | st.integers(1, m + 2))
        rule = rule_of("multi_krum", **({} if selected is None else {"selected": selected}))
        chosen = slow_multi_krum(rows, tolerate, min(selected or m, m - tolerate))
        means = torch.tensor(rows, dtype=torch.float64)
        expected = means[chosen].mean(dim=0)
        assert float((rule(means, ones(m), tolerate) - expected).abs().max()) <= 20 * 3 * ULP
        assert excluded(rule, means, tolerate) == [j not in chosen for j in range(m)]

    def test_of_one_is_krum(self) -> None:
        for seed in range(20):
            means = torch.from_numpy(public_stream(seed, "one").normal(size=(9, 3)))
            one, krum = rule_of("multi_krum", selected=1), rule_of("krum")
            assert torch.equal(one(means, ones(9), 2), krum(means, ones(9), 2))
            assert excluded(one, means, 2) == excluded(krum, means, 2)

    def test_none_selected_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="selected = 0 is not allowed"):
            rule_of("multi_krum", selected=0)


def slow_caf(rows: np.ndarray, tolerate: int) -> np.ndarray:
    """The published loop with d x d covariance matrices, and the largest deviation of those that have weight."""
    m = len(rows)
    weights, best, smallest = np.ones(m), rows.mean(axis=0), math.inf
    while weights.sum() > m - 2 * tolerate:
        centre = weights @ rows / weights.sum()
        deviations = rows - centre
        covariance = (weights[:, None] * deviations).T @ deviations / weights.sum()
        values, vectors = np.linalg.eigh(covariance)
        if values[-1] < smallest:
            smallest, best = values[-1], centre
        along = np.square(deviations @ vectors[:, -1])
        weights = weights * (1 - np.minimum(1.0, along / along[weights > 0].max()))
    return best


class TestCaf:
    @pytest.mark.parametrize(("m", "tolerate"), [(3, 1), (5, 2), (8, 1), (8, 3), (11, 5), (6, 0)])
    @pytest.mark.parametrize("taint", ["none", "far", "near"])
    def test_is_the_published_loop(self, m: int, tolerate: int, taint: str) -> None:
        for seed in range(5):
            rows = public_stream(seed, "caf", m).normal(size=(m, 4)) * np.array([3.0, 1.0, 1.0, 0.5])
            rows[:tolerate] += {"none": 0.0, "far": 1e4, "near": 3.0}[taint]
            found = rule_of("caf")(torch.from_numpy(rows), ones(m), tolerate).numpy()
            # Both are exact but for rounding: a gap between eigenvalues of a percent times 1e-15 of numbers up to 1e4.
            assert np.abs(found - slow_caf(rows, tolerate)).max() <= 1e-8

    def test_the_result_is_a_convex_combination_and_without_tainted_clusters_the_average(self) -> None:
        means = torch.from_numpy(public_stream(0, "hull").normal(size=(7, 1)))
        rule = rule_of("caf")
        assert math.isclose(float(rule(means, ones(7), 0)), float(means.mean()), rel_tol=1e-12)
        assert float(means.min()) <= float(rule(means, ones(7), 3)) <= float(means.max())

    def test_one_far_decoy_does_not_shield_the_others(self) -> None:
        """With the largest deviation of all, taken out or not, the other outliers would never lose their weight."""
        rows = public_stream(0, "decoy").normal(size=(11, 3))
        rows[0], rows[1:3] = 1e12, 50.0
        means = torch.from_numpy(rows)
        assert excluded(rule_of("caf"), means, 3)[:3] == [True] * 3
        assert float(rule_of("caf")(means, ones(11), 3).abs().max()) < 2.0

    def test_the_loop_ends_after_at_most_2_f_turns(self, monkeypatch: pytest.MonkeyPatch) -> None:
        turns: list[int] = []
        found = _filtering._principal
        monkeypatch.setattr(_filtering, "_principal", lambda *given: turns.append(1) or found(*given))
        for seed in range(10):
            turns.clear()
            rows = public_stream(seed, "turns").normal(size=(21, 5))
            rows[:10] *= 10.0 ** np.arange(10)[:, None]  # each outlier hides the next one
            rule_of("caf")(torch.from_numpy(rows), ones(21), 10)
            assert 1 <= len(turns) <= 20

    def test_filterl2_is_the_same_rule(self) -> None:
        for seed in range(10):
            rows = torch.from_numpy(public_stream(seed, "same").normal(size=(9, 4)))
            rows[:3] *= 10.0 ** (seed - 2)
            found, other = (rule_of(name)(rows, ones(9), 3) for name in ("caf", "filterl2"))
            assert torch.equal(found, other)
            assert excluded(rule_of("caf"), rows, 3) == excluded(rule_of("filterl2"), rows, 3)
            assert not torch.equal(found, rule_of("no_regret")(rows, ones(9), 3))

    @pytest.mark.parametrize(("variance", "stops", "as_caf"), [(0.5, 0, 10), (2.0, 9, 6), (5.0, 10, 3), (1e9, 10, 0)])
    def test_filterl2_stops_at_its_variance_as_the_source_does(self, variance: float, stops: int, as_caf: int) -> None:
        """Of ten draws it stops in so many; it is caf where it does not, or stops where no later step is better."""
        stopped = same = 0
        for seed in range(10):
            rows = public_stream(seed, "variance").normal(size=(12, 4))
            rows[:4] += 4.0 * np.arange(1, 5)[:, None]
            weights, on_the_way, narrowest = np.ones(12), [], np.inf
            while weights.sum() > 12 - 8 and not narrowest <= variance:
                shares = weights / weights.sum()
                centred = rows - shares @ rows
                values, vectors = np.linalg.eigh(centred.T @ (shares[:, None] * centred))
                on_the_way.append((values[-1], shares @ rows))
                narrowest = min(narrowest, values[-1])
                deviations = np.square(centred @ vectors[:, -1]) * (weights > 0)
                weights = weights * (1 - deviations / deviations.max())
            stopped += narrowest <= variance
            expected = min(on_the_way, key=lambda each: each[0])[1]
            found = rule_of("filterl2", variance=variance)(torch.from_numpy(rows), ones(12), 4).numpy()
            assert np.abs(found - expected).max() <= 1e-9
            same += np.array_equal(found, rule_of("caf")(torch.from_numpy(rows), ones(12), 4).numpy())
            assert bool(np.abs(found - rows.mean(axis=0)).max() <= 1e-9) == (variance == 1e9)  # nothing is taken away
        assert (stopped, same) == (stops, as_caf)

    def test_far_outliers_are_excluded_and_a_filter_that_stops_at_once_is_seen(self) -> None:
        rows = public_stream(0, "far").normal(size=(9, 4))
        rows[:3] += 1e6
        means = torch.from_numpy(rows)
        assert excluded(rule_of("caf"), means, 3)[:3] == [True] * 3
        assert np.abs(rows.mean(axis=0) - slow_caf(rows, 3)).max() > 1e5


def slow_clipping(rows: np.ndarray, before: np.ndarray, radius: float, iterations: int) -> np.ndarray:
    centre = before
    for _ in range(iterations):
        steps = [row - centre for row in rows]
        centre = centre + np.mean(
            [step * min(1.0, radius / max(1e-300, np.linalg.norm(step))) for step in steps], axis=0
        )
    return centre


class TestCenteredClipping:
    @pytest.mark.parametrize(("radius", "iterations"), [(0.5, 1), (2.0, 3), (100.0, 2)])
    @pytest.mark.parametrize("memory", [False, True])
    def test_is_the_published_step(self, radius: float, iterations: int, memory: bool) -> None:
        rows = public_stream(0, "clipping").normal(size=(7, 4))
        rows[0] = 1e12
        before = np.full(4, 0.25) if memory else np.zeros(4)
        given = Given(previous=torch.from_numpy(before)) if memory else Given()
        rule = rule_of("centered_clipping", radius=radius, iterations=iterations)
        found = rule(torch.from_numpy(rows), ones(7), 1, given).numpy()
        assert (
            np.abs(found - slow_clipping(rows, before, radius, iterations)).max() <= 1e-10
        )  # 1e12 loses 1e-4 of 1e-12

    def test_the_result_is_within_iterations_times_radius_of_the_result_of_the_round_before(self) -> None:
        rows = torch.full((5, 3), 1e30, dtype=torch.float64)
        for iterations in (1, 4):
            rule = rule_of("centered_clipping", radius=0.5, iterations=iterations)
            before = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
            moved = float((rule(rows, ones(5), 0, Given(previous=before)) - before).norm())
            assert math.isclose(moved, 0.5 * iterations, rel_tol=1e-9)

    def test_forgetting_the_round_before_is_seen(self) -> None:
        rows = torch.from_numpy(public_stream(0, "memory").normal(size=(7, 4)))
        rule = rule_of("centered_clipping", radius=0.5)
        previous = Given(previous=torch.full((4,), 3.0, dtype=torch.float64))
        assert not torch.allclose(rule(rows, ones(7), 1, previous), rule(rows, ones(7), 1))

    @pytest.mark.parametrize(("parameter", "value"), [("radius", 0.0), ("iterations", 0)])
    def test_parameters_that_make_no_sense_are_refused(self, parameter: str, value: float) -> None:
        with pytest.raises(CloisterError, match=f"{parameter} = {value!r} is not allowed"):
            rule_of("centered_clipping", **{parameter: value})


def coefficient_of(name: str, m: int, tolerate: int) -> float:
    return rule_of(name).coefficient(ones(m), tolerate)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("krum", lambda m, f: 6 * (m - f) / (m - 2 * f - 1)),
        ("multi_krum", lambda m, f: 6 * (m - f) / (m - 2 * f - 1)),
        ("meamed", lambda m, f: 4 * f / (m - f) * (1 + 4 * ((m - f) / (m - 2 * f)) ** 2)),
    ],
)
def test_coefficients_are_those_of_the_proofs(name: str, expected: Callable[[int, int], float]) -> None:
    for m in (3, 5, 8, 21):
        for tolerate in range(rule_of(name).breakdown(m) + 1):
            assert math.isclose(coefficient_of(name, m, tolerate), expected(m, tolerate), rel_tol=1e-12)


def test_taking_hostile_rows_out_never_weakens_a_coefficient() -> None:
    """(m - b, F - b) in place of (m, F), for the b largest and the b smallest clusters."""
    sizes = torch.tensor([5, 5, 4, 4, 4, 3, 3, 3, 3])
    for name in aggregators.entries():
        rule = rule_of(name)
        for tolerate in range(1, rule.breakdown(9) + 1):
            for taken in range(1, tolerate + 1):
                for left in (sizes[taken:], sizes[:-taken]):
                    bound = rule.coefficient(sizes, tolerate)
                    assert rule.coefficient(left, tolerate - taken) <= bound * (1 + 1e-12), name
