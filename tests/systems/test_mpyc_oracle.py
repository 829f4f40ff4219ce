"""MPyC as an oracle: on equal inputs our field, our Shamir shares and our sums are MPyC's, word for word."""

from collections.abc import Sequence

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mpyc import finfields, thresha

from protocols import field_arithmetic, polynomials
from protocols.field import MERSENNE_61, PrimeField
from protocols.in_process import InProcessParties
from protocols.secure_sum import secure_sums
from protocols.testing.keyrings import replayable_keyring
from tests.systems.under_test import on_the_bench

PRIMES = (5, 7, 257, 2**31 - 1, MERSENNE_61)


def tensor(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


@st.composite
def elements(draw: st.DrawFn) -> tuple[int, list[int], list[int]]:
    """A prime and two rows of elements, edges among them."""
    modulus = draw(st.sampled_from(PRIMES))
    element = st.one_of(st.sampled_from([0, 1, modulus - 1, modulus // 2]), st.integers(0, modulus - 1))
    count = draw(st.integers(1, 8))
    return modulus, *(draw(st.lists(element, min_size=count, max_size=count)) for _ in range(2))


@st.composite
def sharings(draw: st.DrawFn) -> tuple[int, list[int], int, list[list[int]], list[int]]:
    """A prime, secrets, the number of parties, coefficients (degree, secrets), and degree + 1 or more parties."""
    modulus = draw(st.sampled_from(PRIMES))
    parties = draw(st.integers(1, min(8, modulus - 1)))
    degree, count = draw(st.integers(0, parties - 1)), draw(st.integers(1, 5))
    element = st.one_of(st.sampled_from([0, modulus - 1]), st.integers(0, modulus - 1))
    row = st.lists(element, min_size=count, max_size=count)
    coefficients = draw(st.lists(row, min_size=degree, max_size=degree))
    order = draw(st.permutations(range(parties)))
    return modulus, draw(row), parties, coefficients, order[: draw(st.integers(degree + 1, parties))]


def mpyc_shares(modulus: int, secrets: Sequence[int], parties: int, coefficients: Sequence[Sequence[int]]) -> object:
    """The shares that MPyC makes with these coefficients; it draws those of a secret in turn, the highest first."""
    with on_the_bench("mpyc_shamir"):
        from tests.systems.adapters.mpyc_shamir import drawing
    field = finfields.GF(modulus)
    drawn = [row[place] for place in range(len(secrets)) for row in reversed(coefficients)]
    with drawing(iter(drawn)):
        return thresha.random_split(field, [field(secret) for secret in secrets], len(coefficients), parties)


@given(drawn=elements())
def test_sums_differences_products_and_inverses_are_those_of_mpyc(drawn: tuple[int, list[int], list[int]]) -> None:
    modulus, first, second = drawn
    ours, theirs = PrimeField(modulus), finfields.GF(modulus)
    one, other = tensor(first), tensor(second)
    pairs = [(theirs(a), theirs(b)) for a, b in zip(first, second, strict=True)]
    assert ours.add(one, other).tolist() == [(a + b).value % modulus for a, b in pairs]
    assert ours.subtract(one, other).tolist() == [(a - b).value % modulus for a, b in pairs]
    assert ours.multiply(one, other).tolist() == [(a * b).value % modulus for a, b in pairs]
    units = [a for a in first if a]
    if units:
        assert ours.inverse(tensor(units)).tolist() == [(1 / theirs(a)).value % modulus for a in units]


@given(drawn=sharings())
def test_shares_under_the_same_coefficients_are_those_of_mpyc(
    drawn: tuple[int, list[int], int, list[list[int]], list[int]],
) -> None:
    modulus, secrets, parties, coefficients, _ = drawn
    rows = tensor(coefficients).reshape(len(coefficients), len(secrets))
    shares = polynomials.share(PrimeField(modulus), tensor(secrets), len(coefficients), parties, rows)
    assert shares.tolist() == mpyc_shares(modulus, secrets, parties, coefficients)


@given(drawn=sharings())
def test_each_opens_what_the_other_shares(drawn: tuple[int, list[int], int, list[list[int]], list[int]]) -> None:
    modulus, secrets, parties, coefficients, chosen = drawn
    field, theirs = PrimeField(modulus), mpyc_shares(modulus, secrets, parties, coefficients)
    points = [rank + 1 for rank in chosen]
    assert polynomials.interpolate(field, points, tensor([theirs[rank] for rank in chosen])).tolist() == secrets

    rows = tensor(coefficients).reshape(len(coefficients), len(secrets))
    ours = polynomials.share(field, tensor(secrets), len(coefficients), parties, rows)
    element = finfields.GF(modulus)
    opened = thresha.recombine(
        element, [(rank + 1, [element(share) for share in ours[rank].tolist()]) for rank in chosen]
    )
    assert [secret.value % modulus for secret in opened] == secrets


@given(seed=st.integers(0, 2**32), parties=st.integers(3, 7))
def test_sums_opened_by_our_shamir_are_those_that_mpyc_opens(seed: int, parties: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(-(2**60), 2**60, (2, parties, 3), generator=generator)
    threads = InProcessParties(parties, keyring=replayable_keyring(seed))
    with on_the_bench("mpyc_shamir"):
        theirs = threads.open_sums(secure_sums.resolve("mpyc_shamir"), words).sums
    for mode in ("passive", "detect"):
        ours = threads.open_sums(secure_sums.resolve({"name": "shamir", "mode": mode, "least_honest": 1}), words).sums
        assert ours.tolist() == theirs.tolist()


class TestPlantedBugs:
    """The oracle sees a bug in our arithmetic."""

    def test_a_point_moved_by_one(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(polynomials, "party_points", lambda field, parties: tuple(range(2, parties + 2)))
        shares = polynomials.share(PrimeField(257), tensor([5]), 1, 3, tensor([[3]]))
        assert shares.tolist() != mpyc_shares(257, [5], 3, [[3]])

    def test_a_product_that_is_not_reduced(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(field_arithmetic._Mersenne, "_reduce", lambda self, words, out, spare: out.copy_(words))
        large = tensor([MERSENNE_61 - 1])
        theirs = finfields.GF(MERSENNE_61)(MERSENNE_61 - 1) ** 2
        assert PrimeField().multiply(large, large).tolist() != [theirs.value]
