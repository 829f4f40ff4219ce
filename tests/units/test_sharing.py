"""Both kinds of secret sharing, exactly: over all randomness of a small field, too few shares say nothing."""

from collections import Counter
from itertools import combinations, product

import pytest
import torch

from protocols.field import PrimeField
from protocols.network import TooFewPartiesError
from protocols.secure_sum._sharing import AdditiveSharing, PolynomialSharing, Sharing

FIELD = PrimeField(5)
SHARINGS = (
    *(PolynomialSharing(field=FIELD, degree=degree) for degree in range(4)),
    *(AdditiveSharing(field=FIELD, parties=parties) for parties in range(1, 5)),
)
PARTIES = 4


def shares_of(sharing: Sharing, secret: int) -> torch.Tensor:
    """The shares of all members, a column for each value of the randomness."""
    drawn = torch.tensor(list(product(range(5), repeat=sharing.random_terms)), dtype=torch.int64).T
    basis = sharing.basis(torch.full((5**sharing.random_terms,), secret), drawn)
    return sharing.at(basis, range(members_of(sharing)))


def members_of(sharing: Sharing) -> int:
    return sharing.parties if isinstance(sharing, AdditiveSharing) else PARTIES


def assert_hides(sharing: Sharing) -> None:
    """One share fewer than determine the secret take all values, equally often, whatever the secret is."""
    seen = sharing.least - 1
    for secret, places in product(range(5), combinations(range(members_of(sharing)), seen)):
        columns = Counter(map(tuple, shares_of(sharing, secret)[list(places)].T.tolist()))
        assert columns == dict.fromkeys(product(range(5), repeat=seen), 5 ** (sharing.random_terms - seen))


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_one_share_fewer_than_determine_the_secret_is_uniform_whatever_it_is(sharing: Sharing) -> None:
    assert_hides(sharing)


@pytest.mark.parametrize("sharing", SHARINGS, ids=str)
def test_any_shares_that_are_enough_open_the_secret_and_fewer_are_refused(sharing: Sharing) -> None:
    for secret, places in product(range(5), combinations(range(members_of(sharing)), sharing.least)):
        shares = shares_of(sharing, secret)[list(places)]
        assert set(sharing.open(places, shares).tolist()) == {secret}
        with pytest.raises(TooFewPartiesError):
            sharing.open(places[1:], shares[1:])


class OneCoefficientForAll(PolynomialSharing):
    """A bug to plant: the powers of x share one random coefficient."""

    def basis(self, secrets: torch.Tensor, randomness: torch.Tensor) -> torch.Tensor:
        return super().basis(secrets, randomness[:1].expand(randomness.shape))


def test_a_coefficient_that_is_used_twice_is_seen() -> None:
    with pytest.raises(AssertionError):
        assert_hides(OneCoefficientForAll(field=FIELD, degree=2))
