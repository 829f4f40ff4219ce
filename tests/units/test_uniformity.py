"""Chi-squared tests of words: exact chances, their law where words are uniform, and what deviation they see."""

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from protocols.testing._taped import Views
from protocols.testing.invariants import EFFORTS
from protocols.testing.invariants import samples as sampling
from protocols.testing.invariants.uniformity import (
    BINS,
    POWER,
    detectable_deviation,
    highest_chances,
    highest_parts,
    lowest_chances,
    lowest_parts,
    p_values,
    part_counts,
    power_of,
)

LEVEL = 5e-7 / 100
WAYS = ((highest_parts, highest_chances), (lowest_parts, lowest_chances))
EQUAL = np.full(BINS, 1 / BINS)


class TestChances:
    @pytest.mark.parametrize("modulus", [2, 3, 5, 31, 32, 33, 64, 97, 257, 4096, 65_537])
    def test_are_those_of_all_residues_of_a_small_modulus(self, modulus: int) -> None:
        residues = np.arange(modulus, dtype=np.uint64)[:, None]
        for parts, chances in WAYS:
            assert part_counts(parts(residues, modulus))[0].tolist() == (chances(modulus) * modulus).round().tolist()
            assert abs(chances(modulus).sum() - 1) < 1e-12  # 32 roundings of 2^-53

    @pytest.mark.parametrize("modulus", [2**31 - 1, 2**32, 2**61 - 1, 2**64])
    def test_of_a_large_modulus_follow_from_where_its_parts_begin(self, modulus: int) -> None:
        width = -(-modulus // BINS)
        starts = [part * width for part in range(BINS)]
        edges = np.array([*starts, *(start - 1 for start in starts[1:]), modulus - 1], dtype=np.uint64)
        assert highest_parts(edges, modulus).tolist() == [*range(BINS), *range(BINS - 1), BINS - 1]
        sizes = [*(b - a for a, b in pairwise(starts)), modulus - starts[-1]]
        assert highest_chances(modulus).tolist() == [size / modulus for size in sizes]
        assert lowest_parts(edges, modulus).tolist() == (edges % BINS).tolist()
        assert lowest_chances(modulus).tolist() == [len(range(k, modulus, BINS)) / modulus for k in range(BINS)]

    def test_equal_ones_would_take_uniform_words_of_a_small_field_for_biased_ones(self) -> None:
        words = np.random.default_rng(1).integers(257, size=(2**18, 1)).astype(np.uint64)
        for parts, chances in WAYS:
            counts = part_counts(parts(words, 257))
            assert p_values(counts, chances(257))[0] > 1e-6
            assert p_values(counts, EQUAL)[0] < 1e-6

    def test_one_of_a_part_that_cannot_be_is_left_out(self) -> None:
        assert np.count_nonzero(highest_chances(33)) == 17
        words = np.random.default_rng(2).integers(33, size=(2**14, 1)).astype(np.uint64)
        assert p_values(part_counts(highest_parts(words, 33)), highest_chances(33))[0] > 1e-6


class TestPValues:
    def test_are_those_of_the_chi_squared_test_row_by_row(self) -> None:
        counts = np.random.default_rng(3).multinomial(4096, EQUAL, size=50)
        expected = [stats.chisquare(row).pvalue for row in counts]
        np.testing.assert_allclose(p_values(counts, EQUAL), expected, rtol=1e-9)  # sums in another order

    def test_of_uniform_words_are_as_small_as_their_level_says(self) -> None:
        """5e4 tests: as many below each level as the binomial law allows with 1 - 1e-9; the seed is fixed."""
        tests = 50_000
        counts = np.random.default_rng(4).multinomial(EFFORTS["dev"].samples, EQUAL, size=tests)
        values = p_values(counts, EQUAL)
        for level in (0.1, 1e-2, 1e-3, 1e-4):
            low, high = stats.binom.interval(1 - 1e-9, tests, level)
            assert low <= np.count_nonzero(values < level) <= high

    def test_of_a_message_need_places_that_are_independent_in_pairs_only(self) -> None:
        """a, b and a + b: the statistic of all has the mean 31; of a, b and a it has more, 31 (1 + 2/3)."""
        rng = np.random.default_rng(5)

        def mean(third: str) -> float:
            found: list[float] = []
            for _ in range(400):
                a, b = rng.integers(2**63, size=(2, 1000)).astype(np.uint64)
                words = np.stack([a, b, a + b if third == "sum" else a], axis=1)
                counts = part_counts(lowest_parts(words, 2**64)).sum(axis=0)
                found.append(float(stats.chi2.isf(p_values(counts[None], EQUAL)[0], BINS - 1)))
            return float(np.mean(found))

        error = np.sqrt(2 * 31 / 400)
        assert abs(mean("sum") - 31) < 6 * error
        assert mean("copy") - 31 * 5 / 3 > -6 * 5 / 3 * error


class TestPower:
    @pytest.mark.parametrize("samples", [2**12, 2**14, 2**16, 2**19])
    def test_a_detectable_deviation_is_seen_with_the_power_and_a_smaller_one_less_often(self, samples: int) -> None:
        seen = detectable_deviation(samples=samples, level=LEVEL)
        threshold = stats.chi2.isf(LEVEL, BINS - 1)
        assert abs(stats.ncx2.sf(threshold, BINS - 1, samples * seen**2) - POWER) < 1e-9  # brentq's tolerance
        assert power_of(0.9 * seen, samples=samples, level=LEVEL) < POWER - 0.005
        assert abs(seen * np.sqrt(samples) - detectable_deviation(samples=4096, level=LEVEL) * 64) < 1e-6

    @pytest.mark.parametrize("shape", ["half of the range", "one bin"])
    def test_that_law_is_the_one_of_real_counts_whatever_bins_deviate(self, shape: str) -> None:
        """4000 tests of 2^16 words each that deviate by 4.5 %; the seed is fixed."""
        deviation, samples, tests = 0.045, 2**16, 4000
        if shape == "one bin":
            single = deviation * np.sqrt(BINS - 1)
            chances = EQUAL * np.array([1 + single, *[1 - single / (BINS - 1)] * (BINS - 1)])
        else:
            chances = EQUAL * np.array([1 + deviation] * 16 + [1 - deviation] * 16)
        assert abs(np.sqrt((EQUAL * (chances / EQUAL - 1) ** 2).sum()) - deviation) < 1e-12
        values = p_values(np.random.default_rng(6).multinomial(samples, chances, size=tests), EQUAL)
        missed = np.count_nonzero(values >= LEVEL)
        # The law is that of the limit of small deviations: counts of a bin that is a quarter too large vary more, so
        # that twice as many are allowed to be missed, within 1 - 1e-6 of the binomial law.
        missing = 1 - power_of(deviation, samples=samples, level=LEVEL)
        assert missing < 2e-3
        assert missed <= stats.binom.isf(1e-6, tests, 2 * missing)

    def test_five_per_cent_of_the_words_of_a_share_are_seen_by_every_effort(self) -> None:
        """Of shares, and of differences of their words one and two apart; at the level of ten thousand tests."""
        for effort in EFFORTS.values():
            for places in range(effort.words - 2 or 1, effort.words + 1):
                assert detectable_deviation(samples=places * effort.samples, level=5e-7 / 1e4) < 0.05, effort.name
        # In `ci` it is enough that a message has one word that is random.
        assert detectable_deviation(samples=EFFORTS["ci"].samples, level=5e-7 / 1e4) < 0.05
        assert detectable_deviation(samples=4096, level=5e-7 / 24) > 0.17  # what the suite saw before


class TestWhatIsSampled:
    @pytest.mark.parametrize("size", [5, 257, 2**32, 2**61 - 1, 2**64])
    def test_differences_are_those_of_whole_numbers(self, size: int) -> None:
        words = np.random.default_rng(7).integers(0, size, size=(50, 6), dtype=np.uint64, endpoint=False)
        block = sampling._Block(name="", words=words, size=size)
        for lag in (1, 2):
            exact = [[(int(a) - int(b)) % size for a, b in zip(row, row[lag:], strict=False)] for row in words]
            assert block.differences(lag).tolist() == exact

    def test_words_outside_of_the_ring_are_those_of_a_larger_one(self) -> None:
        words = np.array([[1, 1, 2**31, -3], [-2, 3, 5, 2**40]], dtype=np.int64)
        assert sampling._sizes_of(words, 5) == [5, 5, 2**32, 2**64]
        assert sampling._residues(words[:, :2], 5).tolist() == [[1, 1], [3, 3]]
        assert sampling._residues(words[:, 3:], 2**64).tolist() == [[2**64 - 3], [2**40]]

    @pytest.mark.parametrize(("modulus", "random"), [(2**32, 1), (2**64, 2)])
    def test_a_sum_that_is_not_reduced_is_public_in_its_ring(self, modulus: int, random: int) -> None:
        """Shares of 32 bits that add up to 7 have a carry that is not the same in all clusters."""
        words = np.array([[7, 1], [7 + 2**32, 2], [7 - 2**32, 3]], dtype=np.int64)
        views = Views(words=words, receivers=(0, 0), senders=(1, 1), messages=(4, 4), left_out=0, whole_batch=0)
        assert sum(block.words.shape[1] for block in sampling._blocks(views, modulus)) == random

    def test_half_of_the_level_is_for_places_and_half_for_messages(self) -> None:
        tests = sampling.Tests(
            places=dict.fromkeys(map(str, range(49)), 1.01e-8) | {"low": 0.99e-8},
            messages={"message": 4.9e-7, "other": 5e-7},
            samples=4096,
            fewest=4096,
            most=8192,
        )
        assert tests.low == {"low"}
        assert tests.count == 52
        assert "of 12.1 % in the 8,192 of the longest message, 17.2 % in the 4,096 of the shortest" in tests.text
