import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.ring import FixedPoint, NotEncodableError

TERMS = st.integers(1, 64)
RINGS = st.builds(
    lambda bits, cut: FixedPoint.of_bits(bits, fraction_bits=min(cut, bits - 2)), st.integers(3, 64), st.integers(0, 40)
)


@given(ring=RINGS, terms=TERMS, place=st.floats(-1, 1))
def test_decoding_an_encoded_number_is_off_by_at_most_half_a_unit(ring: FixedPoint, terms: int, place: float) -> None:
    value = place * ring.bound(terms)
    decoded = ring.decode(ring.encode(torch.tensor([value], dtype=torch.float64), terms=terms)).item()
    # Above 2^53 units a float64 has no fraction to round and is encoded exactly.
    assert abs(decoded - value) <= ring.unit / 2


@given(ring=RINGS, terms=TERMS, sign=st.sampled_from([-1, 1]))
def test_a_sum_of_the_largest_allowed_words_does_not_wrap(ring: FixedPoint, terms: int, sign: int) -> None:
    word = int(ring.encode(torch.tensor([sign * ring.bound(terms)], dtype=torch.float64), terms=terms))
    assert -(ring.modulus // 2) <= word * terms <= (ring.modulus - 1) // 2


@given(ring=RINGS, terms=TERMS)
def test_the_next_number_above_the_bound_is_refused(ring: FixedPoint, terms: int) -> None:
    above = math.nextafter(ring.bound(terms), math.inf)
    with pytest.raises(NotEncodableError, match="allowed: finite numbers"):
        ring.encode(torch.tensor([0.0, above], dtype=torch.float64), terms=terms)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 1e30])
def test_a_number_that_could_poison_a_sum_is_refused_with_its_place(bad: float) -> None:
    with pytest.raises(NotEncodableError, match=r"at index \[1, 2\]"):
        FixedPoint().encode(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, bad]]), terms=3)


def test_rounding_goes_to_the_nearest_word_and_ties_to_even() -> None:
    ring = FixedPoint(fraction_bits=0)
    halves = torch.tensor([-1.5, -0.6, -0.5, 0.5, 0.6, 1.5, 2.5])
    assert ring.encode(halves, terms=1).tolist() == [-2, -1, 0, 0, 1, 2, 2]


@given(words=st.lists(st.integers(-(2**20), 2**20), min_size=1), bits=st.integers(1, 63))
def test_wrapping_gives_the_signed_representative_of_the_residue(words: list[int], bits: int) -> None:
    ring = FixedPoint.of_bits(bits, fraction_bits=0)
    wrapped = ring.wrap(torch.tensor(words, dtype=torch.int64)).tolist()
    for word, found in zip(words, wrapped, strict=True):
        assert (word - found) % 2**bits == 0
        assert -(2 ** (bits - 1)) <= found < 2 ** (bits - 1)


def test_a_negative_number_that_crypten_decodes_wrongly_is_decoded_exactly() -> None:
    ring = FixedPoint()
    for value in (-10.99999, -100.9995):
        decoded = ring.decode(ring.encode(torch.tensor([value], dtype=torch.float64), terms=1)).item()
        assert abs(decoded - value) <= ring.unit / 2


@given(value=st.one_of(st.floats(), st.just(math.nan)), terms=TERMS)
def test_whatever_a_byzantine_process_sends_becomes_encodable(value: float, terms: int) -> None:
    ring = FixedPoint()
    possible = ring.saturate(torch.tensor([value], dtype=torch.float64), terms=terms)
    ring.encode(possible, terms=terms)
    if math.isfinite(value) and abs(value) <= ring.bound(terms):
        assert possible.item() == value


@pytest.mark.parametrize(("bits", "fraction_bits"), [(0, 0), (65, 16), (16, 15), (16, -1)])
def test_a_ring_that_makes_no_sense_is_refused(bits: int, fraction_bits: int) -> None:
    with pytest.raises(CloisterError, match="allowed"):
        FixedPoint.of_bits(bits, fraction_bits=fraction_bits)


@given(words=st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), modulus=st.sampled_from([3, 5, 7, 101, 2**61 - 1]))
def test_wrapping_in_a_prime_field_gives_the_residue_of_least_size(words: list[int], modulus: int) -> None:
    wrapped = FixedPoint(modulus=modulus, fraction_bits=0).wrap(torch.tensor(words, dtype=torch.int64)).tolist()
    for word, found in zip(words, wrapped, strict=True):
        assert (word - found) % modulus == 0
        assert 2 * abs(found) < modulus


@pytest.mark.parametrize(("modulus", "fraction_bits"), [(1, 0), (2**64 + 1, 0), (101, 6)])
def test_a_modulus_that_makes_no_sense_is_refused(modulus: int, fraction_bits: int) -> None:
    with pytest.raises(CloisterError, match="allowed"):
        FixedPoint(modulus=modulus, fraction_bits=fraction_bits)


@pytest.mark.parametrize("modulus", [2, 3, 5, 7, 8, 2**8, 2**31 - 1, 2**61 - 1, 2**63, 2**64])
@pytest.mark.parametrize("terms", [1, 2, 3, 7])
def test_the_largest_word_is_the_largest_of_which_so_many_do_not_wrap(modulus: int, terms: int) -> None:
    largest = FixedPoint(modulus=modulus, fraction_bits=0).largest_word(terms)
    assert terms * largest <= (modulus - 1) // 2 < terms * (largest + 1)


@pytest.mark.parametrize(
    ("modulus", "fraction_bits"), [(2**8, 2), (2**54, 16), (2**61 - 1, 16), (2**64, 16), (2**64, 0)]
)
@pytest.mark.parametrize("terms", [1, 2, 3, 5])
def test_the_bound_is_the_largest_float_that_is_not_beyond_the_largest_word(
    modulus: int, fraction_bits: int, terms: int
) -> None:
    ring = FixedPoint(modulus=modulus, fraction_bits=fraction_bits)
    scaled, largest = ring.bound(terms) / ring.unit, ring.largest_word(terms)
    assert int(scaled) <= largest < math.nextafter(scaled, math.inf)


def test_what_cannot_be_encoded_saturates_to_the_nearest_bound_and_nan_to_zero() -> None:
    ring = FixedPoint.of_bits(16, fraction_bits=4)
    bound = ring.bound(3)
    sent = torch.tensor([math.nan, math.inf, -math.inf, 1e30, -1e30, 2 * bound, -2 * bound, bound, -bound, 0.25, -0.25])
    kept = ring.saturate(sent, terms=3)
    assert kept.dtype == torch.float64
    assert kept.tolist() == [0.0, bound, -bound, bound, -bound, bound, -bound, bound, -bound, 0.25, -0.25]


def test_words_are_int64_and_do_not_depend_on_the_type_of_float() -> None:
    ring = FixedPoint()
    # 2^24 + 1 units: a product in float32 would lose the last one.
    values = torch.tensor([(2**24 + 2) * ring.unit, -1.5, 3.0], dtype=torch.float32)
    words = ring.encode(values, terms=1)
    assert words.dtype == torch.int64
    assert words.tolist() == [2**24 + 2, -98304, 196608]
    assert torch.equal(words, ring.encode(values.double(), terms=1))


@pytest.mark.parametrize("terms", [0, -1])
def test_no_terms_are_refused(terms: int) -> None:
    with pytest.raises(CloisterError, match=f"terms = {terms}"):
        FixedPoint().largest_word(terms)


@pytest.mark.parametrize(("bits", "fraction_bits"), [(0, 0), (65, 16), (8, 7), (64, 63)])
def test_a_width_that_makes_no_sense_is_refused_by_its_name(bits: int, fraction_bits: int) -> None:
    with pytest.raises(CloisterError, match=f"bits = {bits}"):
        FixedPoint.of_bits(bits, fraction_bits=fraction_bits)


def test_the_widest_and_the_narrowest_rings_are_allowed() -> None:
    assert FixedPoint.of_bits(64, fraction_bits=62).modulus == 2**64
    assert FixedPoint.of_bits(1, fraction_bits=0).modulus == 2
