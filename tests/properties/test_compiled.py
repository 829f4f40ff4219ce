"""Compiled loops against the portable ways and exact arithmetic, at sizes for which nobody would take them."""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from attacks.update import _statistics
from protocols import compiled
from protocols.aggregators import NotFiniteError, aggregators
from protocols.aggregators import _ordered as ordered
from protocols.aggregators._rows import distances_from
from protocols.randomness import public_stream

pytest.importorskip("numba")
pytestmark = pytest.mark.xdist_group("compiled")  # one process compiles

U = 2.0**-53
KINDS = ("plain", "a large mean", "1e30 and 1e-40", "ties", "denormals", "signed zeros")


def rows_of(kind: str, *shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    plain = torch.from_numpy(public_stream(seed, "compiled", *shape).normal(size=shape))
    return {
        "plain": plain,
        "a large mean": plain + 1e6,
        "1e30 and 1e-40": plain * torch.where(plain > 0.5, 1e30, 1e-40),
        "ties": plain.round(),
        "denormals": plain * (1e-40 if dtype == torch.float32 else 1e-310),
        "signed zeros": torch.where(plain > 0, 0.0, -0.0).double(),
    }[kind].to(dtype)


def both_ways(function: Callable[[], Any]) -> tuple[Any, Any]:
    """Return what it makes of numbers that are too few to pay, and of the same numbers if they did."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "LEAST", math.inf)
        portable = function()
        patch.setattr(compiled, "LEAST", 0)
        return portable, function()


def exchanged(columns: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    tile = columns.copy()
    for low, high in pairs:
        tile[[low, high]] = np.minimum(tile[low], tile[high]), np.maximum(tile[low], tile[high])
    return tile


class TestComparators:
    @pytest.mark.parametrize("m", range(1, 11))
    def test_they_order_all_columns_of_zeros_and_ones_and_so_all_columns(self, m: int) -> None:
        """The zero-one principle: Knuth 1998, The Art of Computer Programming 3, Theorem 5.3.4Z."""
        from protocols.kernels import comparators

        columns = np.array(list(itertools.product((0, 1), repeat=m))).T
        ranks = np.sort(columns, axis=0)
        for first, last in itertools.combinations(range(m + 1), 2):
            found = exchanged(columns, comparators(m, first, last))
            assert (found[first:last] == ranks[first:last]).all(), (m, first, last)

    def test_without_the_last_one_they_do_not(self) -> None:
        from protocols.kernels import comparators

        columns = np.array(list(itertools.product((0, 1), repeat=7))).T
        assert (exchanged(columns, comparators(7, 3, 4)[:-1])[3] != np.sort(columns, axis=0)[3]).any()

    def test_a_median_of_a_hundred_takes_fewer_than_an_order(self) -> None:
        from protocols.kernels import comparators

        assert len(comparators(100, 49, 51)) < 0.85 * len(comparators(100, 0, 100))


class TestMeanOfRanks:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("kind", KINDS)
    @given(m=st.integers(1, 20), d=st.integers(1, 150), data=st.data())
    def test_it_is_that_of_the_sorted_numbers(
        self, kind: str, dtype: torch.dtype, m: int, d: int, data: st.DataObject
    ) -> None:
        """Each way adds up `last` - `first` numbers in float64, so each is off by that times U times their sizes."""
        first = data.draw(st.integers(0, m - 1))
        last = data.draw(st.integers(first + 1, m))
        means = rows_of(kind, data.draw(st.integers(1, 2)), m, d, dtype=dtype)
        portable, found = both_ways(lambda: ordered.mean_of_ranks(means, first, last))
        if last - first <= 2:
            assert torch.equal(found, portable)
        sizes = means.sort(dim=1).values[:, first:last].double().abs().sum(dim=1)
        assert bool(((found - portable).abs() <= 2 * (last - first) * U * sizes).all())

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_order_of_the_rows_changes_no_bit(self, dtype: torch.dtype) -> None:
        rows = rows_of("1e30 and 1e-40", 1, 100, 130, dtype=dtype)
        shuffled = rows[:, torch.from_numpy(public_stream(0, "shuffle").permutation(100))]
        assert torch.equal(compiled.mean_of_ranks(rows, 20, 80), compiled.mean_of_ranks(shuffled, 20, 80))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_the_rows_may_be_a_part_of_others_and_stay_as_they_are(self, dtype: torch.dtype) -> None:
        wide = rows_of("plain", 2, 140, 30, dtype=dtype)
        copy, part = wide.clone(), wide[:, ::2, :].mT  # (2, 30, 70)
        portable, found = both_ways(lambda: ordered.mean_of_ranks(part, 14, 16))
        assert torch.equal(found, portable)
        assert torch.equal(wide, copy)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("place", [0, 63, 64, 129])
    def test_what_is_not_finite_is_noticed(
        self, bad: float, place: int, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(compiled, "LEAST", 0)
        means = torch.zeros(2, 7, 130, dtype=dtype)
        means[1, 2, place] = bad
        with pytest.raises(NotFiniteError):
            ordered.mean_of_ranks(means, 3, 4)

    @pytest.mark.parametrize("name", ["median", "trimmed_mean"])
    @pytest.mark.parametrize("bad", [math.nan, math.inf, 1e30, -1e30, 1e-40])
    def test_rules_withstand_hostile_rows_as_they_do_without(self, name: str, bad: float) -> None:
        rows = rows_of("plain", 11, 130, dtype=torch.float32)
        rows[2::4] = bad
        rule = aggregators.make(aggregators.resolve(name))
        portable, found = both_ways(lambda: rule(rows, torch.ones(11, dtype=torch.int64), 3))
        # Rounded to float32, sums in float64 that differ in their last bits differ by one rounding at most.
        assert torch.allclose(found, portable, rtol=2.0**-23, atol=0)
        honest = torch.cat([rows[i][None] for i in range(11) if i not in (2, 6, 10)])
        assert bool(((found >= honest.amin(dim=0)) & (found <= honest.amax(dim=0))).all())


class TestColumnMoments:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("centre", [0.0, 1.0, 1e6, 1e15])
    @pytest.mark.parametrize("m", [1, 2, 3, 4, 5, 81])
    def test_they_are_exact_however_far_the_numbers_are_from_zero(
        self, m: int, centre: float, dtype: torch.dtype
    ) -> None:
        """Beside exact fractions: 2 (m + 4)^2 u, and u of the type for the last rounding."""
        rows = (centre + max(1.0, centre * 1e-6) * rows_of("plain", m, 40, dtype=torch.float64)).to(dtype)
        rows[0, ::2] += 1e3 * max(1.0, centre)  # the row that the others are taken from is an outlier
        rows[:, 1] = rows[0, 1]
        mean, deviation, vague = compiled.column_moments(rows)
        assert mean.dtype == deviation.dtype == dtype
        assert vague is None
        assert float(deviation[1]) == 0.0
        slack = 2 * (m + 4) ** 2 * U + torch.finfo(dtype).eps / 2
        for column, t, s in zip(rows.T.tolist(), mean.tolist(), deviation.tolist(), strict=True):
            exact_mean, exact = exact_moments(column)
            assert abs(s - exact) <= slack * exact
            assert abs(t - exact_mean) <= slack * (abs(exact_mean) + exact)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("kind", KINDS)
    @given(m=st.integers(1, 30), d=st.integers(1, 40))
    def test_they_are_those_of_the_portable_way(self, kind: str, dtype: torch.dtype, m: int, d: int) -> None:
        """Each within its bound, see mean_and_deviation(): in float32 3e-5 of the deviation, in float64 1e-11."""
        rows = rows_of(kind, m, d, dtype=dtype)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_statistics, "_BLOCK_BYTES", 64)
            portable, found = both_ways(lambda: _statistics.mean_and_deviation(rows))
        largest = rows.abs().amax(dim=0).double()
        rounding = torch.finfo(dtype).eps * (m + 2) * largest
        assert bool(((found[0].double() - portable[0].double()).abs() <= rounding + torch.finfo(dtype).tiny).all())
        share = 3e-5 if dtype == torch.float32 else 1e-11
        # The portable way takes squares that are too small for the type for 0.
        lost = torch.finfo(dtype).tiny ** 0.5 * (1 if kind in ("denormals", "1e30 and 1e-40") else 0)
        slack = share * portable[1].double() + lost + rounding * (kind != "denormals")
        assert bool(((found[1].double() - portable[1].double()).abs() <= slack).all())

    def test_a_width_of_several_blocks_is_computed_to_its_end(self) -> None:
        rows = rows_of("plain", 6, 1030, dtype=torch.float64)
        mean, deviation, vague = compiled.column_moments(rows)
        assert vague is None
        assert torch.allclose(mean, rows.mean(dim=0), rtol=0, atol=1e-14)
        assert torch.allclose(deviation, rows.std(dim=0, correction=0), rtol=1e-13, atol=0)

    def test_numbers_that_are_none_and_squares_beyond_the_type_are_computed_anew(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows = rows_of("plain", 5, 8, dtype=torch.float64)
        rows[1, :3] = torch.tensor([math.nan, math.inf, -math.inf], dtype=torch.float64)
        rows[:, 3] *= 1e300
        rows[:, 4] *= 1e-300
        found = compiled.column_moments(rows)[2]
        assert found is not None
        assert found.tolist() == [0, 1, 2, 3, 4]
        monkeypatch.setattr(compiled, "LEAST", 0)
        mean, deviation = _statistics.mean_and_deviation(rows)
        assert mean.isfinite().tolist() == deviation.isfinite().tolist() == [False] * 3 + [True] * 5
        for column in range(3, 8):
            exact = exact_moments(rows[:, column].tolist())[1]
            assert float(deviation[column]) == pytest.approx(exact, rel=1e-12)


def exact_moments(column: list[float]) -> tuple[float, float]:
    numbers = [Fraction(x) for x in column]
    mean = sum(numbers, Fraction(0)) / len(numbers)
    variance = sum(((x - mean) ** 2 for x in numbers), Fraction(0)) / len(numbers)
    # As an integer root of 200 bits, so that squares of 1e300 are no trouble.
    scale = 10**700
    return float(mean), float(Fraction(math.isqrt(int(variance * scale**2)), scale))


class TestSquaresFrom:
    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("kind", KINDS)
    @pytest.mark.parametrize("d", [1, 63, 64, 130])
    def test_they_are_exact_but_for_rounding(self, kind: str, d: int, dtype: torch.dtype) -> None:
        """Beside exact fractions; differences are off by U of themselves, and so squares by 2 U."""
        means = rows_of(kind, 2, 5, d, dtype=dtype)
        centre = rows_of(kind, 2, d, dtype=dtype, seed=1)
        found = compiled.squares_from(centre, means)
        for cell, point in enumerate(centre.tolist()):
            for row, square in zip(means[cell].tolist(), found[cell].tolist(), strict=True):
                exact = sum(((Fraction(x) - Fraction(c)) ** 2 for x, c in zip(row, point, strict=True)), Fraction(0))
                # A square below the smallest number may be lost, of each coordinate.
                assert abs(Fraction(square) - exact) <= exact * Fraction((d / 64 + 68) * U) + d * Fraction(5e-324)

    def test_distances_are_those_of_the_portable_way(self) -> None:
        """In float32 that is off by 2^-15 of itself at most; rows of 1e30 and of 1e-40 are among them."""
        means = rows_of("plain", 2, 6, 150, dtype=torch.float32)
        means[:, 1] *= 1e30
        means[:, 2] = means[:, 3] + 1e-40
        portable, found = both_ways(lambda: distances_from(means[:, 3].clone(), means))
        assert torch.allclose(found, portable, rtol=2.0**-15, atol=0)
        assert float(found[0, 3]) == 0.0

    def test_what_is_not_finite_is_noticed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(compiled, "LEAST", 0)
        means = torch.zeros(1, 3, 70)
        means[0, 2, 69] = math.inf
        with pytest.raises(NotFiniteError):
            distances_from(means[:, 0], means)


class TestWhereItPays:
    def test_large_rows_on_a_processor_only(self) -> None:
        assert not compiled.pays(torch.empty(100, 100))
        assert compiled.pays(torch.empty(128, compiled.LEAST // 128))
        assert not compiled.pays(torch.empty(128, compiled.LEAST // 128, device="meta"))

    @pytest.mark.parametrize("error", [ModuleNotFoundError("no numba"), ImportError("a newer numpy"), OSError("llvm")])
    def test_nowhere_without_numba_or_where_it_does_not_fit_the_machine(
        self, error: Exception, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rows, there = torch.zeros(128, compiled.LEAST // 128), compiled._there.__wrapped__

        def refused(name: str) -> None:
            raise error

        assert there()
        monkeypatch.setattr(compiled.importlib, "import_module", refused)
        monkeypatch.setattr(compiled, "_there", there)
        assert not compiled.pays(rows)
        assert torch.equal(ordered.mean_of_ranks(rows[None], 0, 1), torch.zeros(1, rows.shape[1]).double())

    def test_more_rows_than_a_network_is_good_for_are_sorted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(compiled, "LEAST", 0)
        monkeypatch.setattr(compiled, "mean_of_ranks", None)
        rows = rows_of("plain", 1, compiled.MOST_ROWS + 1, 3, dtype=torch.float32)
        middle = compiled.MOST_ROWS // 2
        assert torch.equal(ordered.mean_of_ranks(rows, middle, middle + 1), rows.median(dim=1).values.double())

    def test_what_cannot_be_kept_is_compiled_all_the_same(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from protocols import kernels

        asked = list[dict[str, Any]]()

        def without_folder(**options: Any) -> Callable[[Any], Any]:
            asked.append(options)
            if "cache" in options:
                raise RuntimeError("cannot cache function: no locator available")
            return lambda function: function

        monkeypatch.setattr(kernels, "njit", without_folder)
        assert kernels._compiled(abs) is abs
        assert ["cache" in options for options in asked] == [True, False]
