"""Linear secret sharing over a prime field, n-of-n and with a threshold, behind one contract."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from protocols.field import PrimeField
from protocols.network import TooFewPartiesError
from protocols.polynomials import evaluate, interpolate

__all__ = ["AdditiveSharing", "PolynomialSharing", "Sharing"]


class Sharing(Protocol):
    """Shares of secrets as linear functions of a basis: the secrets and the dealer's random elements."""

    @property
    def field(self) -> PrimeField:
        """The field of secrets and shares."""
        ...

    @property
    def random_terms(self) -> int:
        """How many random elements a secret element needs."""
        ...

    @property
    def terms(self) -> int:
        """The number of basis elements for each element of the secret."""
        ...

    @property
    def least(self) -> int:
        """How many shares determine the secret."""
        ...

    def basis(self, secrets: Tensor, randomness: Tensor) -> Tensor:
        """Return the basis (terms, ...) of secrets (...) and random elements (random_terms, ...)."""
        ...

    def at(self, basis: Tensor, positions: Sequence[int]) -> Tensor:
        """Return the shares (len(positions), ...) of the members at these places."""
        ...

    def open(self, positions: Sequence[int], shares: Tensor) -> Tensor:
        """Return the secrets (...) of shares (len(positions), ...) that are all right; TooFewPartiesError if few."""
        ...


@dataclass(frozen=True, kw_only=True)
class PolynomialSharing:
    """Shamir's sharing: the values at 1, 2, ... of a random polynomial whose constant term is the secret.

    Guarantees:
        Any `degree` shares are uniform and independent of the secret; any degree + 1 determine it.

    Source: Shamir 1979, How to share a secret, CACM.
    """

    field: PrimeField
    degree: int

    @property
    def random_terms(self) -> int:
        """See Sharing."""
        return self.degree

    @property
    def terms(self) -> int:
        """See Sharing."""
        return self.degree + 1

    @property
    def least(self) -> int:
        """See Sharing."""
        return self.degree + 1

    def basis(self, secrets: Tensor, randomness: Tensor) -> Tensor:
        """See Sharing.basis: the coefficients, the constant one first."""
        return torch.cat([secrets[None], randomness])

    def at(self, basis: Tensor, positions: Sequence[int]) -> Tensor:
        """See Sharing.at."""
        return evaluate(self.field, basis, [position + 1 for position in positions])

    def open(self, positions: Sequence[int], shares: Tensor) -> Tensor:
        """See Sharing.open."""
        _require(len(positions), self.least)
        chosen = range(self.least)
        return interpolate(self.field, [positions[i] + 1 for i in chosen], shares[: self.least])


@dataclass(frozen=True, kw_only=True)
class AdditiveSharing:
    """n-of-n sharing: random shares that add up to the secret.

    Guarantees:
        All shares but one are uniform and independent of the secret.
    """

    field: PrimeField
    parties: int

    @property
    def random_terms(self) -> int:
        """See Sharing."""
        return self.parties - 1

    @property
    def terms(self) -> int:
        """See Sharing."""
        return self.parties

    @property
    def least(self) -> int:
        """See Sharing."""
        return self.parties

    def basis(self, secrets: Tensor, randomness: Tensor) -> Tensor:
        """See Sharing.basis: the shares themselves."""
        if self.parties == 1:
            return secrets[None]
        return torch.cat([randomness, self.field.subtract(secrets, self.field.sum(randomness, 0))[None]])

    def at(self, basis: Tensor, positions: Sequence[int]) -> Tensor:
        """See Sharing.at."""
        return basis[list(positions)]

    def open(self, positions: Sequence[int], shares: Tensor) -> Tensor:
        """See Sharing.open."""
        _require(len(positions), self.least)
        return self.field.sum(shares, 0)


def _require(present: int, least: int) -> None:
    if present < least:
        raise TooFewPartiesError(f"{present} shares are left; allowed: at least {least}")
