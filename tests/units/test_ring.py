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
