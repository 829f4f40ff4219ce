"""Exact secrecy of a linear protocol over a prime field, for every coalition, with the public challenge fixed."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain, combinations
from unittest import mock

from torch import Tensor

from protocols.check import CloisterError
from protocols.field import PrimeField
from protocols.registry import Spec
from protocols.testing.invariants.affine import AffineViews, affine_views

__all__ = ["LinearView", "linear_view"]

Challenge = Callable[[PrimeField, bytes, int, int], Tensor]
_CHALLENGED = ("_verified", "_bulletin", "shamir")
_COORDINATES = 2


@dataclass(frozen=True, kw_only=True)
class LinearView:
    """What members receive, as a linear map of inputs and random elements."""

    views: AffineViews

    def learns(self, coalition: tuple[int, ...]) -> bool:
        """Return whether these members and the board learn more than the sum and their own inputs."""
        return bool(self.views.leaking([coalition]))

    def leaking(self, most: int) -> list[tuple[int, ...]]:
        """Return the coalitions of up to `most` members that learn more, smallest first."""
        members = range(self.views.script.parties)
        return self.views.leaking(list(chain.from_iterable(combinations(members, size) for size in range(most + 1))))


def linear_view(spec: Spec, field: PrimeField, parties: int, *, challenge: Challenge) -> LinearView:
    """Return the view of a protocol over `field`. Raises: AssertionError where it is not linear."""
    with ExitStack() as patches:
        for module in _CHALLENGED:
            patches.enter_context(mock.patch(f"protocols.secure_sum.{module}.challenge", challenge))
        try:
            views = affine_views(spec, parties, coordinates=_COORDINATES)
        except CloisterError as error:  # it computes with what is no element
            raise AssertionError(f"{spec} is not linear in inputs and random elements: {error}") from None
    assert views is not None, f"{spec} is not linear in inputs and random elements"
    assert views.modulus == field.modulus, f"{spec} adds modulo {views.modulus}, not {field.modulus}"
    return LinearView(views=views)
