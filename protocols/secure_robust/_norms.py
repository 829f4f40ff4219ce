"""Squared lengths of members' updates as numbers in planes, beside whether their coordinates are in range."""

from dataclasses import dataclass

from protocols.secure_robust._access import Access
from protocols.secure_robust._checked import Range, in_range, in_range_cost
from protocols.secure_robust._conversions import (
    Dealt,
    Draw,
    deal_numbers,
    deal_numbers_cost,
    planes_of,
    planes_of_cost,
)
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.secure_robust._opening import opening_cost
from protocols.types import Cost

__all__ = ["Lengths", "NumbersForLengths", "deal_for_lengths", "lengths_cost", "squared_lengths"]


@dataclass(frozen=True, kw_only=True, eq=False)
class NumbersForLengths:
    """The random numbers that `squared_lengths` uses up."""

    coordinates: Dealt
    squares: Dealt


@dataclass(frozen=True, kw_only=True, eq=False)
class Lengths:
    """One lane a member: whether it is in range (clusters, 1, 1, words), its squared length (clusters, 1, 64, words).

    The squared length is that of the words; it means nothing where the member is out of range.
    """

    in_range: Shared
    squares: Shared


def deal_for_lengths(bits: Engine, draw: Draw, shape: tuple[int, int, int]) -> NumbersForLengths:
    """Return the numbers for inputs of shape (clusters, members, coordinates); nothing of the inputs is looked at."""
    clusters, members, _ = shape
    return NumbersForLengths(
        coordinates=deal_numbers(bits, draw, shape), squares=deal_numbers(bits, draw, (clusters, 1, members))
    )


def squared_lengths(bits: Engine, values: Shared, numbers: NumbersForLengths, limits: Range) -> Lengths:
    """Return the squared lengths of words (clusters, members, coordinates): one opening for all their squares."""
    inside = in_range(bits, values, numbers.coordinates, limits)
    squares = bits.over(WORDS).products((values, values), fold=2)
    clusters, members = squares.shape
    return Lengths(in_range=inside, squares=planes_of(bits, squares.view(clusters, 1, members), numbers.squares))


def lengths_cost(access: Access, *, clusters: int, limits: Range) -> tuple[Cost, Cost]:
    """Return what squared lengths send offline and online."""
    members = (clusters, 1, access.parties)
    offline, online = in_range_cost(access, clusters=clusters, limits=limits)
    online = online.then(opening_cost(parties=access.parties, words=clusters * access.parties))
    return offline.then(deal_numbers_cost(access, members)), online.then(planes_of_cost(access, members))
