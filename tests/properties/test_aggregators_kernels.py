"""What the rules compute with: distances, orders and sums in float32 and float64, against exact arithmetic."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from protocols.aggregators import NotFiniteError, aggregators, hostile_rows, takes_all_out
from protocols.aggregators import _distances as distances
from protocols.aggregators import _ordered as ordered
from protocols.aggregators._gram_space import gram_space
from protocols.aggregators._rows import cut_to, distances_from, lengths_of, sums_of_few, weighted_sum
from protocols.aggregators.pre import pre_aggregators
from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.testing.aggregators import make_given
from protocols.testing.elsewhere import back, elsewhere, moved

U = 2.0**-24


@pytest.fixture
def single(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take the kernel for large float32 rows at every size, in several blocks."""
    monkeypatch.setattr(distances, "_SMALL", 0)
    monkeypatch.setattr(distances, "_BLOCK", 64)


def rows_of(kind: str, m: int = 12, d: int = 300) -> torch.Tensor:
    """Rows whose distances are hard to compute from products, float32."""
    plain = torch.from_numpy(public_stream(0, "kernels", m, d).normal(size=(m, d))).float()
    third = m // 3
    return {
        "plain": plain,
        "a large mean": plain + 1000,
        "all near": plain[:1] + 1e-4 * plain,
        "outliers near each other": torch.cat([plain[third:], 1e6 + plain[:third]]),
        "outliers at 1e30": torch.cat([plain[third:], 1e30 * plain[:third]]),
        "copies": torch.cat([plain[third:], plain[-1:].expand(third, -1)]),
        "copies far away": torch.cat([plain[third:], 1e4 * plain[:1].expand(third, -1)]),
        "all equal": plain[:1].expand(m, -1).contiguous(),
        "denormals": 1e-40 * plain,
        "some denormals": torch.cat([plain[third:], 1e-40 * plain[:third]]),
        "each ten times as long": torch.stack([plain[0] * 10.0**k for k in range(-6, m - 6)]),
        "zero": torch.zeros(m, d),
        "a hidden outlier": torch.cat([plain[1:], (plain[:1] + 1e9 * (torch.arange(d) == 1))]),
    }[kind]


KINDS = [
    *("plain", "a large mean", "all near", "outliers near each other", "outliers at 1e30", "copies", "copies far away"),
    *("all equal", "denormals", "some denormals", "each ten times as long", "zero", "a hidden outlier"),
]


def exact_distances(rows: torch.Tensor) -> np.ndarray:
    """In long double: 64 bits of mantissa, so that sums of 300 squares are off by less than 2^-55."""
    wide = rows.double().numpy().astype(np.longdouble)
    return np.stack([np.square(wide - row).sum(axis=1) for row in wide])


def assert_distances(rows: torch.Tensor, tolerance: float) -> None:
    found = distances.squared_distances(rows[None])[0].numpy()
    exact = exact_distances(rows)
    assert ((found == 0) == (exact == 0)).all(), "rows that differ have no distance, or equal ones have"
    relative = np.abs(found - exact) / np.where(exact > 0, exact, 1)
    assert relative.max() <= tolerance, f"a distance is off by {float(relative.max()):.2g} of itself"


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that torch makes meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        self.numbers = max(self.numbers, made.numel() if isinstance(made, torch.Tensor) else 0)
        return made


class TestDistances:
    @pytest.mark.parametrize("kind", KINDS)
    def test_each_is_within_its_bound_in_float32(self, single: None, kind: str) -> None:
        assert_distances(rows_of(kind), 2.0**-10)

    @pytest.mark.parametrize("kind", KINDS)
    def test_each_is_within_its_bound_in_float64(self, kind: str) -> None:
        assert_distances(rows_of(kind).double(), 2.0**-27)
        assert_distances(rows_of(kind), 2.0**-27)  # small: converted

    @pytest.mark.parametrize("apart", [-500, -499, -300, 0, 300])
    def test_rows_of_any_nearness_down_to_2_to_the_minus_500_have_their_distance(self, apart: int) -> None:
        rows = torch.zeros(4, 3, dtype=torch.float64)
        rows[1, 2], rows[2, 0] = 2.0**apart, 3 * 2.0**apart
        found = distances.squared_distances(rows[None])[0] / 2.0 ** (2 * apart)
        assert found[0].tolist() == pytest.approx([0.0, 1.0, 9.0, 0.0], rel=2.0**-27, abs=0)

    @pytest.mark.parametrize("kind", ["plain", "outliers near each other", "each ten times as long"])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_nothing_is_larger_than_the_rows_or_their_matrix(self, single: None, kind: str, dtype: torch.dtype) -> None:
        """A counting allocator; all differences together would be 40 times the rows."""
        rows = rows_of(kind, 40, 90).to(dtype)
        with Largest() as seen:
            distances.squared_distances(rows[None])
        assert 0 < seen.numbers <= max(rows.numel(), len(rows) ** 2)
        with Largest() as seen:
            (rows[:, None] - rows).square().sum(dim=2)
        assert seen.numbers == 40 * rows.numel()

    @pytest.mark.parametrize("kind", ["outliers near each other", "each ten times as long"])
    def test_a_kernel_without_doubts_is_seen(self, single: None, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        found = distances._with_doubts

        def never(gram: distances.Gram, tolerance: float) -> tuple[torch.Tensor, torch.Tensor]:
            squared, doubts = found(gram, tolerance)
            return squared, torch.zeros_like(doubts)

        monkeypatch.setattr(distances, "_with_doubts", never)
        with pytest.raises(AssertionError):
            assert_distances(rows_of(kind), 2.0**-10)

    @pytest.mark.parametrize("kind", ["a large mean", "all near"])
    def test_products_around_zero_are_seen_to_be_too_rough(self, single: None, kind: str) -> None:
        """Without an origin nearly every distance of such rows is in doubt; with one none is."""
        rows = rows_of(kind)
        rough = distances._gram(rows, None, torch.float32)
        origin = distances._origin(rows)
        assert origin is not None
        fine = distances._gram(rows, origin, torch.float32)
        assert distances._with_doubts(rough, 2.0**-11)[1].float().mean() > 0.9
        assert not distances._with_doubts(fine, 2.0**-11)[1].any()

    @given(seed=st.integers(0, 2**32), m=st.integers(2, 9), d=st.integers(1, 40), power=st.integers(-30, 30))
    def test_the_bound_of_products_holds(self, seed: int, m: int, d: int, power: int) -> None:
        rows = torch.from_numpy(public_stream(seed, "bound").normal(size=(m, d)) * 2.0**power).float()
        found = distances._gram(rows, 0, torch.float32)
        wide = rows.double() - rows[0].double()  # exact: float64 holds the difference of two such float32 numbers
        lengths = wide.norm(dim=1)
        error = (found.products - wide @ wide.T).abs()
        assert bool((error <= found.roundoff * lengths[:, None] * lengths[None, :] * (1 + 1e-6)).all())

    def test_the_order_of_the_neighbours_is_the_exact_one(self, single: None) -> None:
        rows = rows_of("plain", 40, 1000)
        found = distances.squared_distances(rows[None])[0].argsort(dim=1).numpy()
        exact = np.sort(exact_distances(rows), axis=1)
        taken = np.take_along_axis(exact_distances(rows), found, axis=1)
        # Only pairs within twice the bound of each other may change places.
        assert (np.abs(taken - exact) <= 2 * 2.0**-10 * exact).all()
        assert (np.abs(taken - exact) <= 1e-5 * exact).all(), "measured: far below the bound"

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("place", [0, 7, 299])
    def test_what_is_not_finite_is_noticed(self, single: None, bad: float, place: int) -> None:
        rows = rows_of("plain")
        rows[3, place] = bad
        with pytest.raises(NotFiniteError):
            distances.gram_around(rows)


class TestOrder:
    @given(seed=st.integers(0, 2**32), cells=st.integers(1, 3), m=st.integers(1, 9), d=st.integers(1, 30))
    @pytest.mark.parametrize("block", [1, 16, 100])
    def test_every_coordinate_of_every_cell_is_sorted_whatever_the_blocks(
        self, block: int, seed: int, cells: int, m: int, d: int
    ) -> None:
        means = torch.from_numpy(public_stream(seed, "order").normal(size=(cells, m, d)))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(ordered, "_BLOCK", block)
            for place in {0, m // 2, m - 1}:
                found = ordered.in_order(means, lambda numbers, place=place: numbers[..., place])
                assert torch.equal(found, means.sort(dim=1).values[:, place])

    def test_the_rows_stay_as_they_are_where_no_copy_is_needed_to_turn_them(self) -> None:
        means = torch.tensor([[[2.0], [1.0]]])
        ordered.in_order(means, lambda numbers: numbers[..., 0])
        assert means.flatten().tolist() == [2.0, 1.0]

    @given(numbers=st.lists(st.integers(-5, 5), min_size=1, max_size=9), data=st.data())
    def test_the_nearest_numbers_are_those_of_a_search(self, numbers: list[int], data: st.DataObject) -> None:
        """Ties in distance go to the smaller number, as a stable sort of the sorted numbers says."""
        count = data.draw(st.integers(1, len(numbers)))
        line = sorted(numbers)
        centre = (line[(len(line) - 1) // 2] + line[len(line) // 2]) / 2
        expected = sum(sorted(line, key=lambda x: abs(x - centre))[:count]) / count
        row = torch.tensor(line, dtype=torch.float64)
        found = float(ordered.nearest_average(row, torch.tensor(centre, dtype=torch.float64), count))
        assert math.isclose(found, expected, abs_tol=1e-12)

    def test_equal_numbers_do_not_keep_nearer_ones_out(self) -> None:
        """The window of -3, -3, 0, 0 reaches no farther from 0 than -3, 0, 0, 1, and its average is not that one's."""
        row = torch.tensor([-3.0, -3.0, 0.0, 0.0, 1.0, 5.0], dtype=torch.float64)
        for means in (row[None, :, None], row.flip(0)[None, :, None].float()):
            assert ordered.average_around_median(means, 4).tolist() == [[-0.5]]
            assert ordered.average_around_median(means, 2).tolist() == [[0.0]]

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_what_is_not_finite_is_noticed(self, bad: float) -> None:
        means = torch.zeros(1, 5, 3)
        means[0, 2, 1] = bad
        with pytest.raises(NotFiniteError):
            ordered.in_order(means, ordered.middle)


class TestRows:
    @given(seed=st.integers(0, 2**32), m=st.integers(1, 9), k=st.integers(1, 3), d=st.integers(1, 20))
    def test_a_weighted_sum_in_float32_is_off_by_a_few_roundings(self, seed: int, m: int, k: int, d: int) -> None:
        rng = public_stream(seed, "sum")
        weights, means = torch.from_numpy(rng.normal(size=(2, k, m))), torch.from_numpy(rng.normal(size=(2, m, d)))
        single = means.float()
        bound = (m + 2) * U * (weights.abs() @ single.double().abs())  # m products, their sum, and the weights rounded
        assert bool(((weighted_sum(weights, single).double() - weights @ single.double()).abs() <= bound).all())

    @given(seed=st.integers(0, 2**32), m=st.integers(1, 9), k=st.integers(1, 4), few=st.integers(1, 4))
    def test_a_sum_of_a_few_rows_is_that_of_the_matrix_of_their_weights(
        self, seed: int, m: int, k: int, few: int
    ) -> None:
        """A row may be chosen twice, or by weight 0; in float64 off by as many roundings of 2^-53."""
        rng = public_stream(seed, "few")
        chosen, weights = torch.from_numpy(rng.integers(m, size=(k, few))), torch.from_numpy(rng.random((k, few)))
        weights[0, -1] = 0.0
        means = torch.from_numpy(rng.normal(size=(2, m, 5)))
        full = torch.zeros(k, m, dtype=torch.float64).scatter_add_(1, chosen, weights)
        for given_means, unit in ((means, 2.0**-53), (means.float(), U)):
            exact, size = full @ given_means.double(), full @ given_means.double().abs()
            found = sums_of_few(chosen, weights, given_means)
            assert found.dtype == given_means.dtype
            # `few` products, their sum and the weights rounded; and the exact one's own roundings in float64
            assert bool(((found.double() - exact).abs() <= ((few + 2) * unit + (m + 2) * 2.0**-53) * size).all())

    def test_a_weight_too_small_for_float32_still_counts(self) -> None:
        """1e-38 / 3 times 3e38 is 1; as a float32 the weight has lost its digits, and 1e-46 would be zero."""
        means = torch.tensor([[[3.0e38], [0.5]]])
        weights = torch.tensor([[[1e-38 / 3, 1.0]]], dtype=torch.float64)
        assert math.isclose(float(weighted_sum(weights, means)), 1.5, rel_tol=1e-6)

    @pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
    def test_distances_from_a_point_neither_overflow_nor_vanish(self, scale: float) -> None:
        means = (scale * rows_of("plain"))[None]
        centre = means[:, 0]
        exact = (means.double() - centre[:, None].double()).norm(dim=2)
        # 300 squares in float32 at most one after the other, which halves in the root, and a few more roundings.
        assert bool(((distances_from(centre, means) - exact).abs() <= 200 * U * exact).all())

    @pytest.mark.parametrize("scale", [1e-44, 1e-30, 1.0, 1e30])
    @pytest.mark.parametrize("d", [1, 511, 512, 1300])
    def test_lengths_neither_overflow_nor_vanish(self, scale: float, d: int) -> None:
        means = (scale * rows_of("plain", d=d).clamp(min=1))[None]
        exact = means.double().norm(dim=2)
        # 512 squares in float32 in any order, each rounded and added: 2 times 512 U of a block, which the root halves.
        assert bool(((lengths_of(means) - exact).abs() <= 600 * U * exact).all())

    def test_a_row_cut_in_no_cell_is_not_copied_and_one_that_is_leaves_its_input_alone(self) -> None:
        means = torch.stack([rows_of("plain"), 2 * rows_of("plain")])
        before, lengths = means.clone(), lengths_of(means)
        assert cut_to(lengths.amax(dim=1), means, lengths) is means
        cut = cut_to(torch.tensor([1e9, 1.0]).double(), means, lengths)
        assert torch.equal(means, before)
        assert torch.equal(cut[0], means[0])
        assert float((cut[1].norm(dim=1) - 1).abs().max()) <= 1e-4


class TestGramSpace:
    @pytest.mark.parametrize("kind", ["plain", "a large mean", "outliers at 1e30", "copies", "all equal"])
    def test_distances_of_the_rows_from_a_weighted_average(self, kind: str) -> None:
        """Far rows get the weight that a robust rule gives them, in inverse proportion to their distance."""
        rows = rows_of(kind).double()
        space = gram_space(rows[None])
        weights = 1.0 / space.lengths.clamp(min=1.0)
        weights /= weights.sum()
        exact = (rows - weights[0] @ rows).norm(dim=1)
        # Relative to the longest of what is added: the row itself and the average.
        scale = exact + space.lengths[0] + space.norms(weights)
        rounding = 1e-12 * float(rows.median(dim=0).values.abs().max())  # of the average itself
        assert bool(((space.distances(weights)[0] - exact).abs() <= 1e-6 * scale + rounding).all())


RULES = sorted(aggregators.entries())


def call(name: str, means: torch.Tensor, tolerate: int) -> torch.Tensor:
    rule = aggregators.make(aggregators.resolve(name))
    sizes = torch.ones(means.shape[-2], dtype=torch.int64)
    good = means[~hostile_rows(means)]
    return rule(means, sizes, min(tolerate, rule.breakdown(len(sizes))), make_given(good, history=means.nan_to_num()))


@pytest.mark.parametrize("name", RULES)
class TestLargeFloat32:
    def test_the_result_is_that_in_float64_but_for_rounding(self, single: None, name: str) -> None:
        rows = rows_of("plain")
        off = (call(name, rows, 2).double() - call(name, rows.double(), 2)).abs().max()
        # Numbers below 5; a hundred roundings each of 2^-24, in the weights and in the sums.
        assert float(off) <= 200 * 5 * U

    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    def test_hostile_rows_are_left_out(self, single: None, name: str, bad: float) -> None:
        if aggregators.make(aggregators.resolve(name)).breakdown(12) < 2:
            pytest.skip("it withstands fewer")
        rows = rows_of("plain")
        kept = [j for j in range(12) if j not in (0, 5)]
        expected = call(name, rows[kept], 0)
        rows[0, 7] = rows[5, 299] = bad
        assert bool(torch.isfinite(call(name, rows, 2)).all())
        assert float((call(name, rows, 2) - expected).abs().max()) <= 200 * 5 * U

    def test_opposite_infinities_are_left_out_or_refused_in_one_line_and_no_warning(
        self, single: None, name: str
    ) -> None:
        """Their sum is no number, of which numpy would warn; a warning is an error here."""
        rows = rows_of("plain")
        expected = call(name, rows[2:], 0)
        rows[0, 7], rows[1, 7] = math.inf, -math.inf
        withstands_none = aggregators.make(aggregators.resolve(name)).breakdown(12) < 2
        if withstands_none and not takes_all_out(aggregators.entry(name)):
            with pytest.raises(CloisterError, match=r"^clusters \[0, 1\] hold numbers that are not finite"):
                call(name, rows, 0)
        else:
            assert float((call(name, rows, 0 if withstands_none else 2) - expected).abs().max()) <= 200 * 5 * U


class TestNnm:
    @staticmethod
    def slow(rows: np.ndarray, tolerate: int) -> np.ndarray:
        squared = np.square(rows[:, None] - rows[None]).sum(axis=2)
        nearest = np.argsort(squared, axis=1, kind="stable")[:, : len(rows) - tolerate]
        return np.stack([rows[each].mean(axis=0) for each in nearest])

    def mixed(self, rows: torch.Tensor, tolerate: int) -> tuple[torch.Tensor, torch.Tensor, int]:
        pre = pre_aggregators.make(pre_aggregators.resolve("nnm"))
        return pre(rows, torch.arange(1, rows.shape[-2] + 1), tolerate)

    @given(
        rows=st.integers(1, 8).flatmap(
            lambda m: st.lists(st.lists(st.integers(-3, 3), min_size=2, max_size=2), min_size=m, max_size=m)
        ),
        data=st.data(),
    )
    def test_each_new_row_is_the_average_of_the_nearest_rows_and_ties_go_to_the_lower_cluster_number(
        self, rows: list[list[int]], data: st.DataObject
    ) -> None:
        plain = np.array(rows, dtype=np.float64)
        tolerate = data.draw(st.integers(0, (len(rows) + 1) // 2 - 1))
        mixed, sizes, left = self.mixed(torch.from_numpy(plain), tolerate)
        assert np.abs(mixed.numpy() - self.slow(plain, tolerate)).max() <= 1e-12
        assert (sizes.tolist(), left) == (list(range(1, len(rows) + 1)), tolerate)

    def test_float32_and_batches_and_hostile_rows(self, single: None) -> None:
        rows = rows_of("plain")
        expected = torch.from_numpy(self.slow(rows.double().numpy(), 3))
        batch = torch.stack([rows, rows])
        mixed, _, _ = self.mixed(batch, 3)
        assert mixed.dtype == torch.float32
        assert float((mixed.double() - expected).abs().max()) <= 200 * 5 * U
        batch[:, 4, 2] = math.nan
        mixed, sizes, left = self.mixed(batch, 3)
        assert (mixed.shape, len(sizes), left) == ((2, 11, 300), 11, 2)
        batch[0, 5, 2] = math.nan
        with pytest.raises(CloisterError, match="different hostile rows"):
            self.mixed(batch, 3)

    def test_mixing_with_too_many_neighbours_is_seen(self) -> None:
        rows = rows_of("plain", 6, 2).double()
        mixed, _, _ = self.mixed(rows, 1)
        assert np.abs(mixed.numpy() - self.slow(rows.numpy(), 2)).max() > 0.01


@pytest.mark.parametrize("kind", ["plain", "a large mean", "outliers at 1e30", "copies far away"])
def test_the_kernel_for_large_rows_stays_on_the_device_of_its_rows(single: None, kind: str) -> None:
    rows = rows_of(kind)
    with elsewhere():
        found = distances.squared_distances(moved(rows)[None])
    here = distances.squared_distances(rows[None])
    # Each is within a factor 1 + 2^-10 of the exact one.
    assert torch.allclose(back(found), here, rtol=2.0**-9, atol=0)
