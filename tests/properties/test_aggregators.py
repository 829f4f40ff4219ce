"""Every aggregator under the conformance kit, the kit under planted bugs, and each rule against its definition."""

import itertools
import math
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import optimize

from protocols.aggregators import Aggregator, Given, aggregators, equivariance_of, geometric_median, majority_breakdown
from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing import Check
from protocols.testing import aggregators as kit
from protocols.testing.aggregators import _hostile
from protocols.types import balanced_sizes

EXAMPLES = kit.example_specs()
ULP = 2.0**-52
MAJORITY = ["median", "trimmed_mean", "geometric_median"]
DECLARED = sorted(
    name for name in aggregators.entries() if aggregators.make(aggregators.resolve(name)).sensitivity(torch.ones(3), 0)
)


@pytest.mark.parametrize(
    ("spec", "check"),
    [(spec, check) for spec in EXAMPLES for check in kit.conformance_checks(spec)],
    ids=lambda given: str(given) if isinstance(given, Spec) else given.__name__,
)
def test_every_rule_conforms(spec: Spec, check: Check) -> None:
    check(spec)


def test_every_registered_rule_is_tried_with_its_defaults() -> None:
    assert {spec.name for spec in EXAMPLES} == set(aggregators.entries())


def rule_of(name: str, **parameters: float) -> Aggregator:
    return aggregators.make(aggregators.resolve({"name": name, **parameters}))


def combined(name: str, rows: list[list[float]], tolerate: int = 0, sizes: list[int] | None = None) -> list[float]:
    means = torch.tensor(rows, dtype=torch.float64)
    return rule_of(name)(means, torch.tensor(sizes or [1] * len(rows)), tolerate).tolist()


def gram_krum(means: torch.Tensor, tolerate: int) -> torch.Tensor:
    """Krum with distances from a Gram matrix around the mean, which one far cluster drowns in rounding."""
    centred = means - means.mean(dim=0)
    gram = centred @ centred.T
    squared = (gram.diagonal()[:, None] + gram.diagonal()[None, :] - 2 * gram).clamp(min=0)
    squared.fill_diagonal_(torch.inf)
    return means[int(squared.sort(dim=1).values[:, : len(means) - tolerate - 2].sum(dim=1).argmin())]


def in_each_cell(planted: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """The `__call__` of a rule that does to each cell of a batch what `planted` does to one."""

    def call(self: object, means: torch.Tensor, sizes: torch.Tensor, tolerate: int, given: Given) -> torch.Tensor:
        if means.dim() != 3:
            return planted(means, sizes, tolerate)
        return torch.stack([planted(cell, sizes, tolerate) for cell in means])

    return call


def middle(means: torch.Tensor) -> torch.Tensor:
    return means.quantile(0.5, dim=0)


class TestTheKitSeesPlantedBugs:
    def plant(self, monkeypatch: pytest.MonkeyPatch, name: str, **methods: Callable[..., Any]) -> Spec:
        for method, planted in methods.items():
            monkeypatch.setattr(aggregators.entry(name).factory, method, planted)
        return aggregators.resolve(name)

    @pytest.mark.parametrize(
        ("bug", "planted", "check"),
        [
            ("a row, not a vector", lambda x, s, t: middle(x)[None], kit.returns_one_finite_number_per_coordinate),
            ("one number for all", lambda x, s, t: middle(x).mean(), kit.returns_one_finite_number_per_coordinate),
            ("float32", lambda x, s, t: middle(x).float(), kit.returns_one_finite_number_per_coordinate),
            ("NaN", lambda x, s, t: middle(x) * math.nan, kit.returns_one_finite_number_per_coordinate),
            ("a sum", lambda x, s, t: x.sum(dim=0), kit.returns_what_all_clusters_agree_on),
            ("sizes not divided out", lambda x, s, t: s.double() @ x, kit.returns_what_all_clusters_agree_on),
            ("changes its input", lambda x, s, t: x.mul_(2)[0], kit.leaves_its_inputs_alone_and_repeats_itself),
            (
                "changes the sizes",
                lambda x, s, t: x[0] + 0 * s.add_(1)[0],
                kit.leaves_its_inputs_alone_and_repeats_itself,
            ),
            ("noise", lambda x, s, t: x[0] + torch.randn(1), kit.leaves_its_inputs_alone_and_repeats_itself),
            ("the first cluster", lambda x, s, t: x[0], kit.does_not_depend_on_the_order_of_the_clusters),
            (
                "all but the last",
                lambda x, s, t: x[: max(1, len(x) - 1)].mean(0),
                kit.does_not_depend_on_the_order_of_the_clusters,
            ),
            (
                "clips at a fixed norm",
                lambda x, s, t: x.clamp(-0.1, 0.1).mean(dim=0),
                kit.moves_with_a_shift_of_all_clusters,
            ),
            (
                "clips at a fixed norm",
                lambda x, s, t: x.clamp(-0.1, 0.1).mean(dim=0),
                kit.grows_with_a_scaling_of_all_clusters,
            ),
            ("the outer mean", lambda x, s, t: x.mean(dim=0), kit.is_not_carried_away_by_tainted_clusters),
            (
                "trims one too few",
                lambda x, s, t: x.sort(dim=0).values[max(t - 1, 0) : len(x) - max(t - 1, 0)].mean(dim=0),
                kit.is_not_carried_away_by_tainted_clusters,
            ),
            (
                "rounding",
                lambda x, s, t: gram_krum(x, t),
                kit.is_not_carried_away_by_tainted_clusters_at_many_distances,
            ),
            (
                "no float32",
                lambda x, s, t: middle(x.double()) + (x.dtype == torch.float32),
                kit.computes_in_float32_what_it_does_in_float64,
            ),
            (
                "made on the processor",
                lambda x, s, t: torch.zeros(x.shape[1]) + middle(x),
                kit.works_where_its_means_are,
            ),
            (
                "brought to the processor",
                lambda x, s, t: middle(x.nan_to_num()).cpu(),
                kit.works_where_its_means_are,
            ),
            (
                "another result on an accelerator",
                lambda x, s, t: middle(x.nan_to_num()) + (x.device.type != "cpu"),
                kit.works_where_its_means_are,
            ),
            ("NaN passes", lambda x, s, t: middle(x), kit.takes_rows_out_that_cannot_be_computed_with),
            (
                "infinities count as large",
                lambda x, s, t: x.sort(dim=0).values[(len(x) - 1) // 2],
                kit.takes_rows_out_that_cannot_be_computed_with,
            ),
            (
                "any number of hostile rows",
                lambda x, s, t: x.nan_to_num(0, 0, 0).mean(dim=0),
                kit.refuses_more_such_rows_than_it_is_told_to_tolerate,
            ),
            ("the outer mean", lambda x, s, t: x.nan_to_num().mean(dim=0), kit.survives_hostile_numbers),
            ("NaN passes", lambda x, s, t: x.sort(dim=0).values[t:].mean(dim=0), kit.survives_hostile_numbers),
            (
                "numbers of one for small updates",
                lambda x, s, t: middle(x.nan_to_num()).sign(),
                kit.survives_hostile_numbers,
            ),
            ("any shape", lambda x, s, t: x.flatten()[:1], kit.refuses_what_is_no_rows_of_numbers),
            ("any tolerate", lambda x, s, t: middle(x), kit.refuses_more_tainted_clusters_than_it_withstands),
            ("sums, not means", lambda x, s, t: 3 * middle(x), kit.changes_by_no_more_than_its_sensitivity),
            ("the outer mean", lambda x, s, t: x.mean(dim=0), kit.stays_within_its_coefficient),
            ("an extreme honest point", lambda x, s, t: x.amax(dim=0), kit.stays_within_its_coefficient),
            (
                "trims one too few",
                lambda x, s, t: (
                    x.nan_to_num(1e9).sort(dim=0).values[max(t - 1, 0) : len(x) - max(t - 1, 0)].mean(dim=0)
                ),
                kit.stays_within_its_coefficient_however_it_is_searched,
            ),
            (
                "collusion is seen by equal rows",
                lambda x, s, t: middle(x.nan_to_num(1e9)) if len(x.unique(dim=0)) < len(x) else 9 * x.amax(dim=0),
                kit.stays_within_its_coefficient_however_it_is_searched,
            ),
            ("one bad row", lambda x, s, t: x.amax(dim=0) + x.amin(dim=0), kit.changes_by_no_more_than_its_sensitivity),
        ],
        ids=lambda given: given if isinstance(given, str) else getattr(given, "__name__", ""),
    )
    def test_in_the_result(
        self, monkeypatch: pytest.MonkeyPatch, bug: str, planted: Callable[..., torch.Tensor], check: Check
    ) -> None:
        name = "krum" if bug == "rounding" else "trimmed_mean" if check.__name__.startswith("changes") else "median"
        spec = self.plant(monkeypatch, name, __call__=in_each_cell(planted))
        with pytest.raises(AssertionError):
            check(spec)

    @pytest.mark.parametrize("name", ["centered_clipping", "norm_clipped_mean", "sign_majority"])
    def test_in_how_far_a_limited_rule_is_moved(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """Each reaches more than two thirds of what it says, in the cases of the kit: a bound so much tighter fails."""
        kit.survives_hostile_numbers(aggregators.resolve(name))
        factory = aggregators.entry(name).factory
        reach = factory.reach
        monkeypatch.setattr(factory, "reach", lambda self, sizes, t, d: 0.66 * reach(self, sizes, t, d))
        with pytest.raises(AssertionError, match="moves by"):
            kit.survives_hostile_numbers(aggregators.resolve(name))

    @pytest.mark.parametrize(("name", "words"), [("median", "F radius / m"), ("norm_clipped_mean", "")])
    def test_in_what_a_rule_says_that_limits_it(self, monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
        monkeypatch.setattr(_hostile, "within", lambda entry: words)
        with pytest.raises(AssertionError, match="Limited in words"):
            kit.survives_hostile_numbers(aggregators.resolve(name))

    @pytest.mark.parametrize("planted", [lambda x: x.nan_to_num().mean(dim=0), lambda x: x.mean(dim=0)])
    def test_in_a_rule_that_withstands_nothing(
        self, monkeypatch: pytest.MonkeyPatch, planted: Callable[[torch.Tensor], torch.Tensor]
    ) -> None:
        spec = self.plant(monkeypatch, "foolsgold", __call__=in_each_cell(lambda x, s, t: planted(x)))
        with pytest.raises(AssertionError):
            kit.takes_out_any_number_of_such_rows(spec)
        if planted(torch.full((2, 1), math.nan)).isnan().all():
            with pytest.raises(AssertionError, match="for one row of nan"):
                kit.survives_hostile_numbers(spec)

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("half", lambda m: m // 2),
            ("all", lambda m: m),
            ("below none", lambda m: -2),
            ("fewer of more", lambda m: max(0, 3 - m // 4) if m > 8 else 0),
            ("a fraction", lambda m: (m - 1) / 2),
        ],
    )
    def test_in_the_breakdown_point(
        self, monkeypatch: pytest.MonkeyPatch, bug: str, planted: Callable[[int], float]
    ) -> None:
        spec = self.plant(monkeypatch, "median", breakdown=lambda self, m: planted(m))
        with pytest.raises(AssertionError):
            kit.withstands_fewer_than_half_of_the_clusters(spec)

    @pytest.mark.parametrize("name", DECLARED)
    def test_in_a_sensitivity_that_is_one_percent_too_small(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        original = aggregators.entry(name).factory.sensitivity
        spec = self.plant(monkeypatch, name, sensitivity=lambda self, *given: 0.99 * original(self, *given))
        with pytest.raises(AssertionError, match="its sensitivity is"):
            kit.changes_by_no_more_than_its_sensitivity(spec)

    @pytest.mark.parametrize("name", ["centered_clipping", "norm_clipped_mean"])
    def test_in_a_sensitivity_that_forgets_the_rows_taken_out(self, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
        """The average is over fewer rows, so each counts for more."""
        original = aggregators.entry(name).factory.sensitivity
        spec = self.plant(monkeypatch, name, sensitivity=lambda self, sizes, tolerate: original(self, sizes, 0))
        with pytest.raises(AssertionError, match=r"with [1-9] hostile rows"):
            kit.changes_by_no_more_than_its_sensitivity(spec)

    def test_in_a_rule_that_can_be_changed_or_says_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        entry = aggregators.entry("mean")
        monkeypatch.setitem(aggregators._entries, "mean", type(entry)(**{**entry.__dict__, "factory": Mutable}))
        with pytest.raises(AssertionError, match="not frozen"):
            kit.is_a_documented_frozen_dataclass(Spec(name="mean"))
        monkeypatch.setitem(aggregators._entries, "mean", type(entry)(**{**entry.__dict__, "factory": Undocumented}))
        with pytest.raises(AssertionError, match="no docstring"):
            kit.is_a_documented_frozen_dataclass(Spec(name="mean"))


@dataclass
class Mutable:
    """A rule that can be changed after it was made."""


@dataclass(frozen=True)
class Undocumented:
    iterations: int = 1


# Small integers make ties, which random floats never do.
NUMBERS = st.one_of(st.integers(-3, 3).map(float), st.floats(-1e6, 1e6, allow_subnormal=False))


@st.composite
def points(draw: st.DrawFn, numbers: st.SearchStrategy[float] = NUMBERS, least: int = 1) -> list[list[float]]:
    m, d = draw(st.integers(least, 9)), draw(st.integers(1, 4))
    flat = draw(st.lists(numbers, min_size=m * d, max_size=m * d))
    return [flat[d * i : d * (i + 1)] for i in range(m)]


def exact(rows: list[list[float]]) -> list[list[Fraction]]:
    return [[Fraction(x) for x in row] for row in rows]


def slow_mean(rows: list[list[float]], sizes: list[int]) -> list[Fraction]:
    return [
        sum(s * x for s, x in zip(sizes, column, strict=True)) / sum(sizes) for column in zip(*exact(rows), strict=True)
    ]


def slow_trimmed_mean(rows: list[list[float]], tolerate: int) -> list[Fraction]:
    kept = [sorted(column)[tolerate : len(column) - tolerate] for column in zip(*exact(rows), strict=True)]
    return [sum(column) / len(column) for column in kept]


def slow_krum(rows: list[list[float]], tolerate: int) -> int:
    """The number of the cluster that Krum selects, in rational numbers."""
    plain, m = exact(rows), len(rows)
    scores = []
    for i in range(m):
        squared = sorted(sum((a - b) ** 2 for a, b in zip(plain[i], plain[j], strict=True)) for j in range(m) if j != i)
        scores.append(sum(squared[: m - tolerate - 2]))
    return scores.index(min(scores))


def cost(rows: np.ndarray, sizes: np.ndarray, centre: np.ndarray) -> float:
    return float(sizes @ np.sqrt(np.square(rows - centre).sum(axis=1)))


def slow_geometric_median(rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Weiszfeld's iteration without smoothing, from the mean, for long."""
    centre = np.average(rows, axis=0, weights=sizes)
    for _ in range(400):
        weights = sizes / np.sqrt(np.square(rows - centre).sum(axis=1))
        centre = weights @ rows / weights.sum()
    return centre


def largest(rows: list[list[float]]) -> float:
    return max(abs(x) for row in rows for x in row)


class TestMean:
    @given(rows=points(), data=st.data())
    def test_is_the_weighted_mean_of_rational_numbers(self, rows: list[list[float]], data: st.DataObject) -> None:
        sizes = data.draw(st.lists(st.integers(1, 50), min_size=len(rows), max_size=len(rows)))
        for found, expected in zip(combined("mean", rows, 0, sizes), slow_mean(rows, sizes), strict=True):
            # m products, m - 1 sums and a division are rounded, each to at most half an ulp of the largest term.
            assert abs(Fraction(found) - expected) <= Fraction(2 * (len(rows) + 1) * ULP * largest(rows))

    @given(order=st.permutations(range(12)), cuts=st.sets(st.integers(1, 11)), seed=st.integers(0, 2**16))
    def test_the_result_is_the_mean_over_all_processes_whatever_the_clusters(
        self, order: list[int], cuts: set[int], seed: int
    ) -> None:
        assert_is_mean_over_processes(rule_of("mean"), order, cuts, seed)

    def test_a_mean_that_forgets_the_sizes_is_seen(self) -> None:
        with pytest.raises(AssertionError):
            assert_is_mean_over_processes(lambda means, sizes, tolerate: means.mean(dim=0), list(range(12)), {1}, 0)


def assert_is_mean_over_processes(rule: Callable, order: list[int], cuts: set[int], seed: int) -> None:
    updates = torch.from_numpy(public_stream(seed, "updates").normal(size=(12, 3)))
    ends = [*sorted(cuts), 12]
    clusters = [order[a:b] for a, b in zip([0, *ends[:-1]], ends, strict=True)]
    means = torch.stack([updates[cluster].mean(dim=0) for cluster in clusters])
    result = rule(means, torch.tensor([len(cluster) for cluster in clusters]), 0)
    # Numbers below 5 and fewer than 40 roundings.
    assert float((result - updates.mean(dim=0)).abs().max()) <= 40 * 5 * ULP


class TestMedian:
    @given(rows=points())
    def test_is_the_median_of_each_coordinate_exactly(self, rows: list[list[float]]) -> None:
        expected = [statistics.median(column) for column in zip(*rows, strict=True)]
        assert combined("median", rows) == expected

    def test_of_an_even_number_is_the_mean_of_the_middle_two(self) -> None:
        assert combined("median", [[0.0, 5.0], [1.0, 5.0], [10.0, 5.0], [4.0, 7.0]]) == [2.5, 5.0]


class TestTrimmedMean:
    @given(rows=points(), data=st.data())
    def test_is_the_mean_of_rational_numbers_without_the_largest_and_smallest(
        self, rows: list[list[float]], data: st.DataObject
    ) -> None:
        tolerate = data.draw(st.integers(0, majority_breakdown(len(rows))))
        found = combined("trimmed_mean", rows, tolerate)
        for a, b in zip(found, slow_trimmed_mean(rows, tolerate), strict=True):
            assert abs(Fraction(a) - b) <= Fraction((len(rows) + 1) * ULP * largest(rows))  # as many roundings

    @given(rows=points())
    def test_that_withstands_nothing_is_the_mean_and_that_withstands_most_is_the_median(
        self, rows: list[list[float]]
    ) -> None:
        close = {"rel_tol": 0.0, "abs_tol": 2 * (len(rows) + 1) * ULP * largest(rows)}
        pairs = [("mean", 0), ("median", majority_breakdown(len(rows)))]
        for name, tolerate in pairs:
            trimmed = combined("trimmed_mean", rows, tolerate)
            assert all(math.isclose(a, b, **close) for a, b in zip(trimmed, combined(name, rows), strict=True))


class TestKrum:
    @pytest.mark.parametrize(("m", "tolerate"), [(3, 0), (4, 0), (6, 1), (9, 2), (10, 3), (12, 1)])
    def test_is_the_row_that_rational_numbers_select(self, m: int, tolerate: int) -> None:
        for seed in range(40):
            rows = public_stream(seed, "krum", m).normal(size=(m, 3)).tolist()
            assert combined("krum", rows, tolerate) == rows[slow_krum(rows, tolerate)]

    @given(rows=points(st.integers(-3, 3).map(float), least=3), data=st.data())
    def test_the_result_is_one_of_the_cluster_means_and_ties_go_to_the_lowest_cluster_number(
        self, rows: list[list[float]], data: st.DataObject
    ) -> None:
        """Multiples of m have a mean that floats hold exactly, so that equal scores are equal."""
        multiples = [[len(rows) * x for x in row] for row in rows]
        tolerate = data.draw(st.integers(0, (len(rows) - 3) // 2))
        assert combined("krum", multiples, tolerate) == multiples[slow_krum(multiples, tolerate)]

    def test_two_nearest_neighbours_tie_and_the_lower_number_wins(self) -> None:
        assert combined("krum", [[0.0], [3.0], [15.0]]) == [0.0]
        assert combined("krum", [[3.0], [0.0], [15.0]]) == [3.0]
        assert combined("krum", [[15.0], [3.0], [0.0]]) == [3.0]

    @pytest.mark.parametrize("m", [1, 2])
    def test_too_few_clusters_are_refused(self, m: int) -> None:
        with pytest.raises(CloisterError, match=f"of {m} is beyond this rule"):
            combined("krum", [[0.0]] * m)


class TestGeometricMedian:
    @pytest.mark.parametrize("m", [4, 5, 9])
    def test_is_the_point_with_the_smallest_sum_of_distances(self, m: int) -> None:
        """In 10 dimensions the median is far from every row, and Weiszfeld's iteration halves its error each time."""
        for seed in range(10):
            rows = public_stream(seed, "geometric", m).normal(size=(m, 10))
            sizes = np.array(balanced_sizes(3 * m + 2, 3))
            found = rule_of("geometric_median")(torch.from_numpy(rows), torch.from_numpy(sizes), 0).numpy()
            reference = slow_geometric_median(rows, sizes)
            assert np.abs(found - reference).max() <= 1e-6
            assert cost(rows, sizes, found) <= cost(rows, sizes, reference) * (1 + 1e-12)

    @given(rows=points(), data=st.data())
    def test_is_never_worse_than_its_start(self, rows: list[list[float]], data: st.DataObject) -> None:
        """Every step lowers the smoothed sum of distances, which is off by `smoothing` a row at most."""
        plain = np.array(rows)
        sizes = np.array(data.draw(st.lists(st.integers(1, 9), min_size=len(rows), max_size=len(rows))))
        rule = rule_of("geometric_median")
        found = rule(torch.from_numpy(plain), torch.from_numpy(sizes), 0).numpy()
        start = start_of(plain, sizes)
        rounding = 1000 * ULP * (1 + largest(rows)) * sizes.sum()  # 64 steps of at most 12 roundings
        assert cost(plain, sizes, found) <= cost(plain, sizes, start) + 1e-6 * sizes.sum() + rounding

    @given(rows=points(), sizes=st.lists(st.integers(1, 9), min_size=9, max_size=9), iterations=st.integers(1, 20))
    def test_the_result_is_a_convex_combination_of_the_cluster_means(
        self, rows: list[list[float]], sizes: list[int], iterations: int
    ) -> None:
        rule = rule_of("geometric_median", iterations=iterations)
        plain = torch.tensor(rows, dtype=torch.float64)
        result = rule(plain, torch.tensor(sizes[: len(rows)]), 0)
        assert_inside_hull(plain.numpy(), result.numpy())

    def test_a_point_outside_the_hull_is_seen(self) -> None:
        rows = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        assert_inside_hull(rows, np.array([0.5, 0.5]))
        with pytest.raises(AssertionError, match="outside"):
            assert_inside_hull(rows, np.array([0.5, 0.51]))

    @pytest.mark.parametrize("iterations", [1, 2, 3, 7])
    def test_the_loop_ends_after_at_most_iterations_steps(self, iterations: int) -> None:
        assert_takes_steps(rule_of("geometric_median", iterations=iterations), iterations)

    def test_one_step_more_or_less_is_seen(self) -> None:
        for iterations in (2, 4):
            with pytest.raises(AssertionError):
                assert_takes_steps(rule_of("geometric_median", iterations=iterations), 3)

    @pytest.mark.parametrize("hostile", [0.0, 1e30])
    @pytest.mark.parametrize("factor", [1e-9, 1e-6, 1e9])
    def test_means_of_any_scale_from_1e_9_to_1e9_give_the_result_of_that_scale(
        self, factor: float, hostile: float
    ) -> None:
        """Also where half of the rows agree, so that the smallest spread is zero, and where one row is far away."""
        for seed, alike in itertools.product(range(10), (1, 4)):
            rows = torch.from_numpy(public_stream(seed, "scale").normal(size=(8, 3)))
            rows[:alike] = rows[0]
            results = []
            for scale in (1.0, factor):
                points = rows * scale
                points[-1] += hostile
                results.append(rule_of("geometric_median")(points, torch.ones(8, dtype=torch.int64), 3) / scale)
            # Numbers below 5, and fewer than 1,000 roundings of 2^-53 in lengths whose roots lose half of the digits.
            assert float((results[0] - results[1]).abs().max()) <= 1e-6

    def test_an_absolute_smoothing_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(geometric_median, "_spread", lambda space: torch.ones(len(space.spreads), 1).double())
        with pytest.raises(AssertionError, match="does not grow with a scaling"):
            kit.grows_with_a_scaling_of_all_clusters(Spec(name="geometric_median"))

    def test_stays_at_the_point_that_most_clusters_share(self) -> None:
        """The pull of the others is less than that of the majority, within the smoothing of 1e-6."""
        for seed in range(20):
            rows = torch.from_numpy(public_stream(seed, "majority").normal(size=(7, 3)))
            rows[:4] = rows[0]
            result = rule_of("geometric_median")(rows, torch.ones(7, dtype=torch.int64), 3)
            assert float((result - rows[0]).square().sum().sqrt()) <= 1e-6

    @pytest.mark.parametrize(("parameter", "value"), [("iterations", 0), ("smoothing", 0.0), ("smoothing", math.nan)])
    def test_parameters_that_make_no_sense_are_refused(self, parameter: str, value: float) -> None:
        with pytest.raises(CloisterError, match=f"{parameter} = {value!r} is not allowed"):
            rule_of("geometric_median", **{parameter: value})


def assert_inside_hull(rows: np.ndarray, point: np.ndarray) -> None:
    """Find weights >= 0 that add up to one and combine the rows into the point, by non-negative least squares.

    The rows are scaled into the unit cube first; the least squares and 64 steps of rounding stay below 1e-6.
    """
    scale = max(1e-300, float(np.abs(rows).max()))
    system = np.vstack([rows.T / scale, np.ones(len(rows))])
    residual = optimize.nnls(system, np.append(point / scale, 1.0))[1]
    assert residual <= 1e-6, f"{point} is outside the hull of the rows by {residual}"


def start_of(rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """The average of the rows, each weighted by its size over the square of its (lower) median distance to all."""
    apart = np.sort(np.sqrt(np.square(rows[:, None] - rows[None]).sum(axis=2)), axis=1)[:, (len(rows) - 1) // 2]
    weights = sizes * (apart == 0 if apart.min() == 0 else (apart.min() / np.where(apart > 0, apart, 1)) ** 2)
    return weights @ rows / weights.sum()


def assert_takes_steps(rule: Aggregator, steps: int) -> None:
    """Compare with so many steps written out in numpy, far from convergence; both round alike, to 1e-12."""
    rows = public_stream(0, "steps").normal(size=(6, 4))
    sizes = np.array([4, 4, 3, 3, 3, 3])
    centre = start_of(rows, sizes)
    for _ in range(steps):
        weights = sizes / np.sqrt(np.square(rows - centre).sum(axis=1))
        centre = weights @ rows / weights.sum()
    result = rule(torch.from_numpy(rows), torch.from_numpy(sizes), 0).numpy()
    assert np.abs(result - centre).max() <= 1e-12, "another number of steps was taken"


def attack_rows(kind: str, honest: np.ndarray, count: int) -> np.ndarray:
    """What `count` tainted clusters say when they know all honest ones."""
    mean, std = honest.mean(axis=0), honest.std(axis=0)
    signs = np.where(np.arange(count) % 2, -1.0, 1.0)[:, None]
    return {
        "far": np.full((count, honest.shape[1]), 1e6),
        "beyond all measure": np.full((count, honest.shape[1]), 1e30),
        "on both sides": signs * np.full((count, honest.shape[1]), 1e30),
        "a little is enough": np.tile(mean - 1.5 * std, (count, 1)),
        "inner product": np.tile(-2.0 * mean, (count, 1)),
        "mimic": np.tile(honest[0], (count, 1)),
        "just outside": np.tile(honest.max(axis=0) + 1e-3, (count, 1)),
        "largest honest": np.tile(honest.max(axis=0), (count, 1)),
        "scattered": 1e3 * public_stream(count, "scattered").normal(size=(count, honest.shape[1])),
    }[kind]


ATTACKS = [
    "far",
    "beyond all measure",
    "on both sides",
    "a little is enough",
    "inner product",
    "mimic",
    "just outside",
    "largest honest",
    "scattered",
]


@st.composite
def attacked(draw: st.DrawFn, breakdown: Callable[[int], int]) -> tuple[np.ndarray, np.ndarray, int]:
    """Honest rows, all rows in any order, and how many are tainted: at most what the rule withstands."""
    m = draw(st.integers(3, 11).filter(lambda m: breakdown(m) > 0))
    tainted = draw(st.integers(1, breakdown(m)))
    rng = public_stream(draw(st.integers(0, 2**32)), "honest")
    offset = draw(st.sampled_from([0.0, 1.0, -100.0]))
    honest = rng.normal(size=(m - tainted, draw(st.integers(1, 5)))) * draw(st.sampled_from([1e-3, 1.0])) + offset
    rows = np.vstack([honest, attack_rows(draw(st.sampled_from(ATTACKS)), honest, tainted)])
    return honest, rows[rng.permutation(m)], tainted


def assert_inside_honest_box(rule: Callable, honest: np.ndarray, rows: np.ndarray, tolerate: int) -> None:
    result = rule(torch.from_numpy(rows), torch.ones(len(rows), dtype=torch.int64), tolerate).numpy()
    # A mean of k equal numbers may be off by k - 1 roundings; the half sum of two never leaves them.
    slack = len(rows) * ULP * np.abs(honest).max()
    assert (result >= honest.min(axis=0) - slack).all(), "a coordinate lies below all honest cluster means"
    assert (result <= honest.max(axis=0) + slack).all(), "a coordinate lies above all honest cluster means"


class TestHonestHull:
    @given(given_rows=attacked(majority_breakdown))
    def test_median_while_fewer_than_half_of_the_clusters_are_tainted_each_coordinate_lies_between_honest_cluster_means(
        self, given_rows: tuple[np.ndarray, np.ndarray, int]
    ) -> None:
        assert_inside_honest_box(rule_of("median"), *given_rows)

    @given(given_rows=attacked(majority_breakdown))
    def test_trimmed_mean_while_no_more_than_tolerate_are_tainted_each_coordinate_lies_between_honest_cluster_means(
        self, given_rows: tuple[np.ndarray, np.ndarray, int]
    ) -> None:
        assert_inside_honest_box(rule_of("trimmed_mean"), *given_rows)

    @pytest.mark.parametrize("kind", ["far", "beyond all measure", "inner product"])
    def test_the_outer_mean_instead_of_the_median_is_seen(self, kind: str) -> None:
        assert_breaks(lambda means, sizes, tolerate: rule_of("mean")(means, sizes, 0), kind, tainted=3)

    @pytest.mark.parametrize("kind", ["far", "beyond all measure", "inner product"])
    def test_one_tainted_cluster_too_many_for_the_trimmed_mean_is_seen(self, kind: str) -> None:
        trimmed = rule_of("trimmed_mean")
        assert_breaks(lambda means, sizes, tolerate: trimmed(means, sizes, tolerate - 1), kind, tainted=3)

    @pytest.mark.parametrize("kind", ["far", "beyond all measure"])
    def test_half_of_the_clusters_break_the_median(self, kind: str) -> None:
        assert_breaks(lambda means, sizes, tolerate: rule_of("median")(means, sizes, 0), kind, tainted=4)


def assert_breaks(rule: Callable, kind: str, tainted: int) -> None:
    """Four honest clusters in a narrow box far from zero, and so many tainted ones, leave the box."""
    honest = 100.0 + 0.01 * public_stream(0, "honest").normal(size=(4, 2))
    rows = np.vstack([honest, attack_rows(kind, honest, tainted)])
    with pytest.raises(AssertionError, match="all honest cluster means"):
        assert_inside_honest_box(rule, honest, rows, tainted)


def kappa(name: str, m: int, tainted: int) -> float:
    """Bounds K with |result - honest mean|^2 <= K x (mean squared distance of honest clusters from their mean).

    Median, trimmed mean, geometric median: Allouah et al. 2023, AISTATS, Propositions 2 to 5. Krum with m - F - 2
    neighbours: its score is at most that of an average honest row, 2 (m - F) Var; it has m - 2 F - 1 honest rows
    within that, itself included if honest; |a + b|^2 <= 2 |a|^2 + 2 |b|^2 gives 6 (m - F) / (m - 2 F - 1).
    """
    if name == "krum":
        return 6 * (m - tainted) / (m - 2 * tainted - 1)
    r = tainted / (m - 2 * tainted)
    return 6 * r * (1 + r) if name == "trimmed_mean" else 4 * (1 + r) ** 2


def assert_near_honest_mean(name: str, rule: Callable, honest: np.ndarray, rows: np.ndarray, tainted: int) -> None:
    result = rule(torch.from_numpy(rows), torch.ones(len(rows), dtype=torch.int64), tainted).numpy()
    variance = float(np.square(honest - honest.mean(axis=0)).sum(axis=1).mean())
    off = float(np.square(result - honest.mean(axis=0)).sum())
    # Rounding: honest numbers are below 110 and the spread at least 1e-4.
    allowed = kappa(name, len(rows), tainted) * variance
    assert off <= allowed * (1 + 1e-6), f"{name} is off by {off}; allowed: {allowed}"


@pytest.mark.parametrize("name", [*MAJORITY, "krum"])
@given(data=st.data())
def test_the_error_stays_within_kappa_times_the_honest_variance(name: str, data: st.DataObject) -> None:
    rule = rule_of(name)
    assert_near_honest_mean(name, rule, *data.draw(attacked(rule.breakdown)))


@pytest.mark.parametrize("name", [*MAJORITY, "krum"])
def test_a_mean_in_place_of_a_robust_rule_exceeds_kappa(name: str) -> None:
    honest = public_stream(0, "honest").normal(size=(6, 3))
    rows = np.vstack([honest, attack_rows("far", honest, 2)])
    with pytest.raises(AssertionError, match="is off by"):
        assert_near_honest_mean(name, lambda means, sizes, tolerate: means.mean(dim=0), honest, rows, 2)


@st.composite
def one_changed(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, int]:
    """Cluster means, sizes, the means after one process changed its cluster's sum by at most 1, and `tolerate`."""
    rows = draw(points(st.one_of(st.integers(-3, 3).map(float), st.floats(-10, 10)), least=1))
    m, d = len(rows), len(rows[0])
    sizes = draw(st.lists(st.integers(1, 5), min_size=m, max_size=m))
    change = np.array(draw(st.lists(st.floats(-1, 1), min_size=d, max_size=d)))
    change = change / max(1.0, float(np.sqrt(np.square(change).sum())))
    means = torch.tensor(rows, dtype=torch.float64)
    after = means.clone()
    chosen = draw(st.integers(0, m - 1))
    after[chosen] += torch.from_numpy(change) / sizes[chosen]
    return means, torch.tensor(sizes), after, draw(st.integers(0, majority_breakdown(m)))


def moved(rule: Aggregator, before: torch.Tensor, after: torch.Tensor, sizes: torch.Tensor, tolerate: int) -> float:
    return float((rule(after, sizes, tolerate) - rule(before, sizes, tolerate)).square().sum().sqrt())


class TestSensitivity:
    def test_is_declared_by_the_rules_that_have_a_proof(self) -> None:
        assert set(DECLARED) >= {"mean", "median", "trimmed_mean"}
        for name in ("krum", "geometric_median"):
            assert rule_of(name).sensitivity(torch.tensor([3, 3, 3]), 0) is None

    @pytest.mark.parametrize("name", DECLARED)
    @given(changed=one_changed())
    def test_bounds_what_one_process_can_move(self, name: str, changed: tuple) -> None:
        means, sizes, after, tolerate = changed
        rule = rule_of(name)
        tolerate = min(tolerate, rule.breakdown(len(sizes)))
        bound = rule.sensitivity(sizes, tolerate)
        assert bound is not None
        # Numbers below 11 and fewer than 30 roundings: below 1e-13.
        assert moved(rule, means, after, sizes, tolerate) <= bound * (1 + 1e-9) + 1e-13

    @pytest.mark.parametrize(
        ("name", "rows", "chosen", "change"),
        [
            ("krum", [[0.0], [1.0], [2.05]], 2, [-0.1]),
            ("geometric_median", [[-1.0, 0.0], [1.0, 0.0], [-0.9, 0.05], [0.9, -0.05]], 2, [0.0, 0.1]),
        ],
    )
    def test_a_rule_without_a_proof_moves_further_than_the_median_could(
        self, name: str, rows: list[list[float]], chosen: int, change: list[float]
    ) -> None:
        """Another pair of nearest neighbours, or another crossing of flat diagonals: a third and more, not a tenth."""
        before = torch.tensor(rows, dtype=torch.float64)
        after = before.clone()
        after[chosen] += torch.tensor(change, dtype=torch.float64)
        sizes = torch.full((len(rows),), 10)
        bound = rule_of("median").sensitivity(sizes, 0)
        assert bound == 0.1
        assert moved(rule_of(name), before, after, sizes, 0) > 3 * bound
        assert moved(rule_of("median"), before, after, sizes, 0) <= bound * (1 + 1e-9)

    @pytest.mark.parametrize(
        ("name", "tolerate", "expected"), [("mean", 0, 1 / 17), ("median", 2, 1 / 3), ("trimmed_mean", 1, 1 / 9)]
    )
    def test_is_attained_by_a_change_of_the_middle_cluster(self, name: str, tolerate: int, expected: float) -> None:
        """So that no less noise would do: rows far apart, the whole change in one direction."""
        sizes = torch.tensor([4, 3, 3, 3, 4])
        means = torch.arange(5, dtype=torch.float64)[:, None] * 10.0
        after = means.clone()
        after[2] += 1.0 / 3
        rule = rule_of(name)
        assert math.isclose(moved(rule, means, after, sizes, tolerate), expected, rel_tol=1e-9)
        assert math.isclose(rule.sensitivity(sizes, tolerate) or 0.0, expected, rel_tol=1e-12)


class TestEquivariance:
    @pytest.mark.parametrize(
        "name", [name for name, entry in aggregators.entries().items() if "scale" in equivariance_of(entry)]
    )
    @pytest.mark.parametrize("power", [-30, -3, 1, 30])
    def test_a_scaling_by_a_power_of_two_scales_the_result_exactly(self, name: str, power: int) -> None:
        """Floats scale by powers of two without rounding."""
        if "scale" not in equivariance_of(aggregators.entry(name)):
            return
        factor = 2.0**power
        for m in (3, 6, 9):
            means, sizes = kit.make_points(m, 4)
            expected = rule_of(name)(means, sizes, 0, kit.make_given(means)) * factor
            found = rule_of(name)(means * factor, sizes, 0, kit.make_given(means * factor))
            assert torch.equal(found, expected)

    @pytest.mark.parametrize("name", ["median", "trimmed_mean"])
    @given(rows=points(), data=st.data())
    def test_rules_that_sort_do_not_depend_on_the_order_in_any_bit(
        self, name: str, rows: list[list[float]], data: st.DataObject
    ) -> None:
        order = data.draw(st.permutations(rows))
        tolerate = majority_breakdown(len(rows))
        assert combined(name, order, tolerate) == combined(name, rows, tolerate)

    @pytest.mark.parametrize("name", ["mean", "median", "trimmed_mean"])
    @given(rows=points())
    def test_coordinate_wise_rules_treat_each_coordinate_alone(self, name: str, rows: list[list[float]]) -> None:
        alone = [combined(name, [[row[k]] for row in rows])[0] for k in range(len(rows[0]))]
        for a, b in zip(combined(name, rows), alone, strict=True):
            assert abs(a - b) <= 2 * (len(rows) + 1) * ULP * largest(rows)  # BLAS may add in another order


class TestBreakdown:
    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("mean", [0] * 12),
            ("median", [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
            ("trimmed_mean", [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
            ("geometric_median", [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]),
            ("krum", [-1, -1, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4]),
        ],
    )
    def test_of_one_to_twelve_clusters(self, name: str, expected: list[int]) -> None:
        assert [rule_of(name).breakdown(m) for m in range(1, 13)] == expected

    @pytest.mark.parametrize("name", [*MAJORITY, "krum"])
    def test_one_more_tainted_cluster_than_that_is_refused_by_number(self, name: str) -> None:
        most = rule_of(name).breakdown(7)
        message = rf"^tolerate = {most + 1} tainted clusters of 7 is beyond this rule; allowed: 0 to {most}$"
        with pytest.raises(CloisterError, match=message):
            combined(name, [[0.0]] * 7, most + 1)

    @pytest.mark.parametrize("name", sorted(set(aggregators.entries()) - {"foolsgold"}))  # which takes them out
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 4e144])
    def test_one_hostile_row_too_many_is_refused_by_its_number(self, name: str, bad: float) -> None:
        message = (
            r"^clusters \[1\] hold numbers that are not finite or beyond 3\.1e\+144, more than tolerate = 0; allowed"
        )
        with pytest.raises(CloisterError, match=message):
            combined(name, [[0.0, 0.0], [0.0, bad], [0.0, 0.0], [0.0, 0.0]])

    @pytest.mark.parametrize("name", sorted(aggregators.entries()))
    def test_another_shape_than_a_matrix_is_refused(self, name: str) -> None:
        for means in (torch.zeros(4, dtype=torch.float64), torch.zeros(4, 2, 1, dtype=torch.float64)):
            with pytest.raises(CloisterError, match="are not allowed"):
                rule_of(name)(means, torch.ones(4, dtype=torch.int64), 0)


@given(m=st.integers(1, 1000))
@example(m=1)
@example(m=2)
def test_majority_is_the_largest_number_below_half(m: int) -> None:
    most = majority_breakdown(m)
    assert 2 * most < m <= 2 * (most + 1)


def test_sizes_that_clusterings_form_never_give_fewer_than_half_of_the_clusters_half_of_the_weight() -> None:
    """The geometric median weighs clusters by size: F of m clusters, the largest ones, weigh less than the rest."""
    for n, cluster_size in itertools.product(range(1, 80), range(1, 80)):
        if cluster_size <= n:
            sizes = sorted(balanced_sizes(n, cluster_size), reverse=True)
            most = majority_breakdown(len(sizes))
            assert sum(sizes[:most]) < sum(sizes[most:])
