"""Field arithmetic equals Python's integers modulo p: for all elements of F_5 and F_7, at the edges of 2^61 - 1."""

import itertools
import math
from collections.abc import Callable
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols import field as field_module
from protocols import field_arithmetic
from protocols.check import CloisterError
from protocols.field import MERSENNE_61, PrimeField

P = MERSENNE_61
TINY = [PrimeField(2), PrimeField(5), PrimeField(7)]
NARROW = PrimeField(2**31 - 1)
LARGE = PrimeField()
EDGES = sorted(
    {
        (base + step) % P
        for base in (0, 2**30, 2**31, 2**32, 2**60, P // 2, P - 2**31, P - 2**30)
        for step in range(-3, 4)
    }
)
ELEMENTS = st.one_of(st.sampled_from(EDGES), st.integers(0, P - 1))
WORDS = st.one_of(
    st.sampled_from([-(2**63), -P - 1, -P, -P + 1, -1, 0, P, 2 * P, 2**63 - 1]), st.integers(-(2**63), 2**63 - 1)
)


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def pairs(values: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    first, second = zip(*itertools.product(values, repeat=2), strict=True)
    return tensor(first), tensor(second)


BINARY: dict[str, tuple[Callable, Callable[[int, int], int]]] = {
    "add": (PrimeField.add, lambda a, b: a + b),
    "subtract": (PrimeField.subtract, lambda a, b: a - b),
    "multiply": (PrimeField.multiply, lambda a, b: a * b),
}


def assert_equals_integers(field: PrimeField, operation: str, values: list[int]) -> None:
    """The operation on all pairs of the values, against Python's integers."""
    ours, exact = BINARY[operation]
    first, second = pairs(values)
    found = ours(field, first, second).tolist()
    wanted = [exact(a, b) % field.modulus for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    assert found == wanted, f"{operation} is wrong"


class TestArithmetic:
    @pytest.mark.parametrize("operation", BINARY)
    @pytest.mark.parametrize("field", TINY, ids=str)
    def test_every_pair_of_elements_of_a_tiny_field_gives_the_integers_modulo_p(
        self, field: PrimeField, operation: str
    ) -> None:
        assert_equals_integers(field, operation, list(range(field.modulus)))

    @pytest.mark.parametrize("operation", BINARY)
    def test_every_pair_of_edge_values_of_2_61_minus_1_gives_the_integers_modulo_p(self, operation: str) -> None:
        assert_equals_integers(LARGE, operation, EDGES)

    @pytest.mark.parametrize("operation", BINARY)
    def test_the_largest_elements_of_the_largest_narrow_prime_do_not_overflow(self, operation: str) -> None:
        p = NARROW.modulus
        assert_equals_integers(NARROW, operation, [0, 1, 2, p // 2, p // 2 + 1, p - 2, p - 1])

    @given(values=st.lists(ELEMENTS, min_size=1, max_size=6), operation=st.sampled_from(sorted(BINARY)))
    def test_any_elements_of_2_61_minus_1_give_the_integers_modulo_p(self, values: list[int], operation: str) -> None:
        assert_equals_integers(LARGE, operation, values)

    @pytest.mark.parametrize(
        ("bug", "name", "planted"),
        [
            ("words are not reduced", "_reduce", lambda self, words, out, spare: out.copy_(words)),
            (
                "p is taken for 2^61",
                "_reduce",
                lambda self, words, out, spare: out.copy_(words & P).add_(words >> 61),
            ),
            (
                "the middle part is shifted by one bit too few",
                "_fold",
                lambda self, high, low, spare: low.add_(high >> 31).add_((high & (2**31 - 1)) << 30),
            ),
        ],
    )
    def test_a_multiplication_that_is_wrong_somewhere_is_seen(self, bug: str, name: str, planted: Callable) -> None:
        def wrong(self: object, *arguments: torch.Tensor) -> None:
            planted(self, *arguments)

        with (
            mock.patch.object(field_arithmetic._Mersenne, name, wrong),
            pytest.raises(AssertionError, match="multiply is wrong"),
        ):
            assert_equals_integers(LARGE, "multiply", EDGES)

    @pytest.mark.parametrize("field", [*TINY, NARROW, LARGE], ids=str)
    def test_a_negative_plus_its_element_is_zero(self, field: PrimeField) -> None:
        values = tensor([v for v in [*range(8), *EDGES, field.modulus - 1] if v < field.modulus])
        negative = field.negate(values)
        assert field.holds(negative)
        assert not bool(field.add(values, negative).any())

    def test_operands_broadcast(self) -> None:
        first, second = tensor([[1], [2], [P - 1]]), tensor([3, P - 2])
        assert LARGE.multiply(first, second).tolist() == [[3, P - 2], [6, P - 4], [P - 3, 2]]
        assert LARGE.add(first, second).tolist() == [[4, P - 1], [5, 0], [2, P - 3]]
        assert LARGE.multiply(tensor(5), tensor(7)).tolist() == 35
        assert LARGE.multiply(torch.empty(0, 3, dtype=torch.int64), tensor([1, 2, 3])).shape == (0, 3)

    @pytest.mark.parametrize("field", [NARROW, LARGE], ids=str)
    def test_blocks_meet_without_a_seam(self, field: PrimeField) -> None:
        count = 2 * field_module._BLOCK + 17
        values = torch.arange(count).mul_(field.modulus // count)
        found = field.multiply(values, values.flip(0))
        exact = [a * b % field.modulus for a, b in zip(values.tolist(), values.flip(0).tolist(), strict=True)]
        assert found.tolist() == exact
        assert field.scale(values, -3).tolist() == [-3 * a % field.modulus for a in values.tolist()]

    def test_operands_stay_as_they_were(self) -> None:
        first, second = tensor(EDGES), tensor(EDGES[::-1])
        for operation, _ in BINARY.values():
            operation(LARGE, first, second)
        LARGE.combine(first, second)
        LARGE.apply([[2, -5], [P // 2, P // 3]], [first, second])
        LARGE.sum(torch.stack([first, second]), 0)
        LARGE.from_signed(first)
        LARGE.to_signed(first)
        assert first.tolist() == EDGES
        assert second.tolist() == EDGES[::-1]


class TestPowers:
    @pytest.mark.parametrize("field", TINY, ids=str)
    def test_every_power_of_every_element_of_a_tiny_field_is_that_of_the_integers(self, field: PrimeField) -> None:
        for exponent in range(10):
            found = field.power(torch.arange(field.modulus), exponent).tolist()
            assert found == [pow(a, exponent, field.modulus) for a in range(field.modulus)]

    @given(value=ELEMENTS, exponent=st.integers(0, 2**61))
    def test_a_large_power_is_that_of_the_integers(self, value: int, exponent: int) -> None:
        assert LARGE.power(tensor([value]), exponent).tolist() == [pow(value, exponent, P)]

    @pytest.mark.parametrize("field", [*TINY, NARROW, LARGE], ids=str)
    def test_an_element_times_its_inverse_is_one(self, field: PrimeField) -> None:
        values = tensor([v for v in [*range(1, 8), *EDGES, field.modulus - 1] if 0 < v < field.modulus])
        assert set(field.multiply(values, field.inverse(values)).tolist()) == {1}

    def test_zero_has_no_inverse(self) -> None:
        with pytest.raises(CloisterError, match=r"the element at index \[1, 0\] is 0"):
            LARGE.inverse(tensor([[1, 2], [0, 4]]))

    def test_a_negative_exponent_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="exponent = -1"):
            LARGE.power(tensor([1]), -1)


class TestSignedWords:
    @given(words=st.lists(WORDS, min_size=1), field=st.sampled_from([*TINY, NARROW, LARGE]))
    def test_every_word_of_64_bits_becomes_its_residue(self, words: list[int], field: PrimeField) -> None:
        assert field.from_signed(tensor(words)).tolist() == [word % field.modulus for word in words]

    @pytest.mark.parametrize("field", TINY, ids=str)
    def test_every_element_of_a_tiny_field_has_its_representative_nearest_to_zero(self, field: PrimeField) -> None:
        p = field.modulus
        for element, signed in enumerate(field.to_signed(torch.arange(p)).tolist()):
            assert (signed - element) % p == 0
            assert -p < 2 * signed <= p

    @given(element=st.one_of(ELEMENTS, st.sampled_from([P // 2, P // 2 + 1])))
    def test_a_representative_lies_in_the_half_open_interval_around_zero(self, element: int) -> None:
        (signed,) = LARGE.to_signed(tensor([element])).tolist()
        assert (signed - element) % P == 0
        assert -P < 2 * signed <= P

    @given(words=st.lists(st.integers(-(P // 2), P // 2), min_size=1))
    def test_words_below_half_of_p_come_back(self, words: list[int]) -> None:
        assert LARGE.to_signed(LARGE.from_signed(tensor(words))).tolist() == words

    def test_words_that_are_not_int64_are_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"torch.float64; allowed: torch.int64"):
            LARGE.from_signed(torch.zeros(2, dtype=torch.float64))


def assert_exactly_uniform(
    field: PrimeField, draw: Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
) -> None:
    """Over all words of as many bits as p has, under different bits above them, accepted elements are equally often."""
    bits = field.modulus.bit_length()
    low = torch.arange(2**bits)
    for high in (0, 1, 5, -1, -(2 ** (62 - bits))):
        elements, accepted = draw((high << bits) + low)
        kept = elements[accepted]
        assert field.holds(kept), "an accepted word is no element"
        counts = torch.bincount(kept, minlength=field.modulus)
        assert counts.unique().numel() == 1, "some elements are drawn more often than others"
        assert int(counts[0]) >= 1


class TestUniformWords:
    @pytest.mark.parametrize("field", [*TINY, PrimeField(8191), PrimeField(10007)], ids=str)
    def test_accepted_elements_are_exactly_uniform(self, field: PrimeField) -> None:
        assert_exactly_uniform(field, field.from_uniform_words)

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("taken modulo p", lambda words: (words & 7) % 5),
            ("cut off at p", lambda words: (words & 7).clamp(max=4)),
            ("low bits only", lambda words: words & 3),
        ],
    )
    def test_draws_that_are_not_uniform_are_seen(self, bug: str, planted: Callable) -> None:
        def biased(words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return planted(words), torch.ones_like(words, dtype=torch.bool)

        with pytest.raises(AssertionError, match="more often"):
            assert_exactly_uniform(PrimeField(5), biased)

    def test_of_2_61_minus_1_only_the_word_of_61_ones_is_refused(self) -> None:
        words = tensor([0, 1, P - 1, P, P + 1, -1, -2, 2**62, 2**63 - 1, -(2**63)])
        elements, accepted = LARGE.from_uniform_words(words)
        assert accepted.tolist() == [True, True, True, False, True, False, True, True, False, True]
        assert elements[accepted].tolist() == [0, 1, P - 1, 0, P - 1, 0, 0]

    @pytest.mark.parametrize("field", [*TINY, NARROW, LARGE], ids=str)
    def test_at_least_half_of_all_words_are_accepted(self, field: PrimeField) -> None:
        assert 2 * field.modulus >= 1 << (field.modulus - 1).bit_length()


def python_sum(field: PrimeField, weights: list[int], rows: list[list[int]]) -> list[int]:
    columns = zip(*rows, strict=True)
    return [sum(w * x for w, x in zip(weights, column, strict=True)) % field.modulus for column in columns]


def assert_long_sums_are_exact(field: PrimeField) -> None:
    """Many of the largest elements under the largest weights of either sign: where a sum would first overflow.

    A last term brings each sum to a residue next to zero, where a quotient that is off by one shows.
    """
    half, p = field.modulus // 2, field.modulus
    values = [p - 1, p - 2, half, half + 1, 0, min(2**31 - 1, p - 1)]
    for weight in (1, -1, 2**29, 2**30 - 1, -(2**30), 2**31, half, -half, half - 2**30, p - 1):
        for count in (1, 2, 3, 4, 7, 40):
            for weights in (
                [weight] * count,
                [weight * (-1) ** i for i in range(count)],
                [weight, 1, -1, half][:count],
            ):
                rows = [values for _ in weights]
                found = field.apply([weights], tensor(rows))[0].tolist()
                assert found == python_sum(field, weights, rows), f"a sum of {len(weights)} terms is wrong"
                for target in (0, 1, -1, -2):
                    last = [(target - total) % p for total in found]
                    ends = field.apply([[*weights, 1]], tensor([*rows, last]))[0].tolist()
                    assert ends == [target % p] * len(values), f"a sum of {len(weights)} terms is wrong near zero"


class TestLinearMaps:
    @pytest.mark.parametrize("field", [*TINY, NARROW, LARGE], ids=str)
    def test_sums_of_the_largest_terms_are_exact(self, field: PrimeField) -> None:
        assert_long_sums_are_exact(field)

    @pytest.mark.parametrize("field", [NARROW, LARGE], ids=str)
    def test_a_sum_that_may_grow_past_63_bits_is_seen(self, field: PrimeField) -> None:
        with mock.patch.object(field_arithmetic, "_ROOM", 2**65), pytest.raises(AssertionError, match="is wrong"):
            assert_long_sums_are_exact(field)

    @pytest.mark.parametrize("field", [*TINY, NARROW, LARGE], ids=str)
    def test_a_sum_that_is_a_multiple_of_p_is_zero_and_not_p(self, field: PrimeField) -> None:
        values = tensor([v for v in [*range(8), *EDGES] if v < field.modulus])
        opposite = torch.where(values == 0, 0, field.modulus - values)
        for weight in (1, 2, 3, 2**20 + 1, 2**29, 2**60 + 1, -1, -(2**29)):
            for first, second in ((values, opposite), (opposite, values)):
                assert not bool(field.apply([[weight, weight]], [first, second]).any())
                assert bool(field.vanishes([[weight, weight]], [first, second]).all())
                weights = field.from_signed(tensor([weight, weight]))
                assert not bool(field.combine(weights, torch.stack([first, second], dim=1)).any())
        assert not bool(field.sum(torch.stack([values, opposite, values, opposite]), 0).any())

    @given(data=st.data(), field=st.sampled_from([PrimeField(7), NARROW, LARGE]))
    def test_a_public_matrix_times_rows_is_that_of_the_integers(self, data: st.DataObject, field: PrimeField) -> None:
        outputs, k, coordinates = (data.draw(st.integers(1, most)) for most in (3, 6, 4))
        entries = st.one_of(st.integers(-40, 40), st.integers(-(2**62), 2**62))
        matrix = data.draw(st.lists(st.lists(entries, min_size=k, max_size=k), min_size=outputs, max_size=outputs))
        residues = ELEMENTS.map(lambda x: x % field.modulus)
        rows = data.draw(
            st.lists(st.lists(residues, min_size=coordinates, max_size=coordinates), min_size=k, max_size=k)
        )
        found = field.apply(matrix, tensor(rows))
        exact = [python_sum(field, weights, rows) for weights in matrix]
        assert found.tolist() == exact
        zero = [not any(column) for column in zip(*exact, strict=True)]
        assert field.vanishes(matrix, tensor(rows)).tolist() == zero

    def test_a_vanishing_row_is_told_apart_from_one_that_differs_in_one_coordinate(self) -> None:
        first = tensor([[EDGES]])
        rows = torch.stack([first, LARGE.scale(first, 2)])
        assert bool(LARGE.vanishes([[2, -1]], rows).all())
        rows[1, 0, 0, 5] = (rows[1, 0, 0, 5] + 1) % P
        assert LARGE.vanishes([[2, -1]], rows).flatten().tolist() == [i != 5 for i in range(len(EDGES))]

    def test_a_matrix_without_rows_maps_to_nothing_and_one_of_zeros_to_zero(self) -> None:
        rows = tensor([[1, 2], [3, 4]])
        assert LARGE.apply([], rows).shape == (0, 2)
        assert bool(LARGE.vanishes([], rows).all())
        assert LARGE.apply([[0, 0]], rows).tolist() == [[0, 0]]

    @given(factor=st.one_of(st.integers(-(2**62), 2**62), st.integers(-64, 64)), values=st.lists(ELEMENTS, min_size=1))
    def test_scaling_is_multiplication_with_one_integer(self, factor: int, values: list[int]) -> None:
        assert LARGE.scale(tensor(values), factor).tolist() == [factor * value % P for value in values]

    @pytest.mark.parametrize("field", [*TINY, NARROW, LARGE], ids=str)
    @pytest.mark.parametrize("shape", [(1,), (7, 3), (3, 7, 2), (2, 70000), (70000, 2), (0, 3), (3, 0)])
    def test_a_sum_along_any_dimension_is_that_of_the_integers(self, field: PrimeField, shape: tuple[int, ...]) -> None:
        size = math.prod(shape)
        values = torch.arange(size).mul_(field.modulus // 7 + 1).remainder_(field.modulus).view(shape)
        values = (field.modulus - 1 - values).contiguous()
        for dim in range(-1, len(shape)):
            exact = values.numpy().astype(object).sum(axis=dim) % field.modulus
            found = field.sum(values, dim)
            assert found.shape == values.sum(dim).shape
            assert found.tolist() == (exact.tolist() if hasattr(exact, "tolist") else exact)

    def test_the_sum_of_many_largest_elements_does_not_overflow(self) -> None:
        values = torch.full((10**5,), P - 1)
        assert int(LARGE.sum(values, 0)) == -(10**5) % P

    @pytest.mark.parametrize("field", [*TINY, NARROW, LARGE], ids=str)
    @pytest.mark.parametrize("shape", [(1,), (9,), (5, 3), (2, 3, 4), (70001,), (3, 70001), (40001, 2), (3, 0), (0, 3)])
    def test_combining_coordinates_is_the_sum_of_products(self, field: PrimeField, shape: tuple[int, ...]) -> None:
        p = field.modulus
        rows = (p - 1 - torch.arange(math.prod(shape)).mul_(p // 11 + 1).remainder_(p)).view(shape)
        coefficients = p - 1 - torch.arange(shape[-1]).mul_(p // 13 + 1).remainder_(p)
        exact = (rows.numpy().astype(object) * coefficients.numpy().astype(object)).sum(axis=-1) % p
        found = field.combine(coefficients, rows)
        assert found.shape == shape[:-1]
        assert found.tolist() == (exact.tolist() if hasattr(exact, "tolist") else exact)

    def test_coefficients_that_do_not_fit_are_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"\(2,\) coefficients do not fit rows of shape \(4, 3\)"):
            LARGE.combine(tensor([1, 2]), torch.ones(4, 3, dtype=torch.int64))


class TestModulus:
    def test_below_ten_thousand_exactly_the_primes_are_accepted(self) -> None:
        sieve = [n for n in range(2, 10**4) if all(n % d for d in range(2, math.isqrt(n) + 1))]
        assert all(PrimeField(prime).modulus == prime for prime in sieve)
        for composite in set(range(2, 10**4)) - set(sieve):
            with pytest.raises(CloisterError, match=f"modulus = {composite} is not prime"):
                PrimeField(composite)

    # Strong pseudoprimes to the bases 2; 2, 3; 2, 3, 5; 2, 3, 5, 7 (the last is above 2^31), and Carmichael numbers.
    @pytest.mark.parametrize("number", [2047, 1373653, 25326001, 561, 1729, 46339 * 46327, 46337**2])
    def test_a_composite_that_looks_prime_is_refused(self, number: int) -> None:
        with pytest.raises(CloisterError, match="is not prime"):
            PrimeField(number)

    def test_the_primality_test_knows_composites_of_64_bits(self) -> None:
        assert field_module._is_prime(2**61 - 1)
        for composite in (3215031751, 3825123056546413051, 318665857834031151167461, (2**31 - 1) ** 2, 2**61 + 1):
            assert not field_module._is_prime(composite)

    @pytest.mark.parametrize("number", [-7, 0, 1, 5.0, True])
    def test_what_is_no_integer_from_2_is_refused(self, number: float) -> None:
        with pytest.raises(CloisterError, match="modulus"):
            PrimeField(number)

    @pytest.mark.parametrize("number", [2**31 + 11, 2**61 - 3, 2**61 + 15, 2**127 - 1])
    def test_a_size_that_would_overflow_is_refused_with_what_is_allowed(self, number: int) -> None:
        with pytest.raises(CloisterError, match=r"is not supported; allowed: 2\^61 - 1 or a prime below 2\^31"):
            PrimeField(number)

    @pytest.mark.parametrize(
        ("values", "allowed"),
        [
            (tensor([0, 4]), True),
            (tensor([]), True),
            (tensor([0, 5]), False),
            (tensor([-1, 0]), False),
            (torch.zeros(2, dtype=torch.int32), False),
            (torch.zeros(0), False),
        ],
    )
    def test_only_words_from_0_to_p_minus_1_are_elements(self, values: torch.Tensor, allowed: bool) -> None:
        field = PrimeField(5)
        assert field.holds(values) is allowed
        if allowed:
            field.require(shares=values)
        else:
            with pytest.raises(CloisterError, match=r"shares is a tensor of .*allowed: torch.int64, 0 to 4"):
                field.require(shares=values)
