"""Inputs whose coordinates are checked before anything is squared: a square that wraps around passes no check.

All is judged on the one shared form of an input, so that nobody can show one vector and have another one counted.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.secure_robust._access import Access
from protocols.secure_robust._circuits import (
    all_set,
    all_set_layers,
    greater_than_public,
    greater_than_public_layers,
    negated,
)
from protocols.secure_robust._conversions import Dealt, Draw, masked, masked_cost
from protocols.secure_robust._engine import BITS, WORDS, Engine, Shared
from protocols.secure_robust._lanes import all_lanes, all_lanes_cost
from protocols.secure_robust._opening import openings_cost, sent_to_all_cost
from protocols.secure_robust._pads import agree_on_pads
from protocols.secure_robust._planes import WORD_BITS, to_planes, words_for
from protocols.secure_sum import Party
from protocols.types import Cost

__all__ = [
    "Range",
    "check_norm",
    "draw_of",
    "engines_of",
    "in_range",
    "in_range_cost",
    "in_range_in_the_clear",
    "public_number",
    "share_words_cost",
]


_MOST_BITS = 31
"""Of a word whose square is at most 2^62."""


@dataclass(frozen=True, kw_only=True)
class Range:
    """The words -2^bits .. 2^bits - 1 that pass; so many coordinates of them have squares that add up below 2^62."""

    bits: int
    coordinates: int

    def __post_init__(self) -> None:
        if self.bits < 1 or self.coordinates << 2 * self.bits > 2**62:
            raise CloisterError(
                f"squares of {self.coordinates} words of {self.bits} bits and a sign may wrap around; allowed: sums "
                f"of squares up to 2^62, so a lower bound, fewer bits of fraction or fewer coordinates"
            )

    @classmethod
    def widest(cls, coordinates: int, *, spare: int = 0) -> "Range":
        """Return the widest range whose sums of squares have `spare` bits to spare."""
        return cls(bits=(62 - spare - (coordinates - 1).bit_length()) // 2, coordinates=coordinates)


def check_norm(norm: float, fraction_bits: int) -> None:
    """Raise CloisterError for a norm that is not positive, or whose square no range leaves room for."""
    check.positive(norm=norm)
    most = 2.0 ** (_MOST_BITS - fraction_bits)
    if norm >= most:
        raise CloisterError(
            f"norm = {norm} of numbers with {fraction_bits} bits of fraction has a square beyond 2^62 units; "
            f"allowed: less than {most:.6g}, or fewer bits of fraction"
        )


def engines_of(party: Party, access: Access) -> tuple[Engine, Engine]:
    """Return this party's engines of bits and of words, after an agreement on keys that is metered as offline."""
    bits = Engine(party.link, access, agree_on_pads(party, access), BITS)
    return bits, bits.over(WORDS)


def draw_of(party: Party) -> Draw:
    """Return this party's source of secret uniform words; each call is a purpose of its own."""
    calls = 0

    def draw(shape: tuple[int, ...]) -> Tensor:
        nonlocal calls
        calls += 1
        purpose, count = f"robust dealing {calls}", torch.Size(shape[1:]).numel()
        return party.keys.secrets.words(purpose=purpose, use=party.use, clusters=shape[0], count=count).view(shape)

    return draw


def share_words_cost(access: Access, *, clusters: int, coordinates: int) -> Cost:
    """Return what sharing every member's words sends."""
    return sent_to_all_cost(parties=access.parties, words=clusters * coordinates)


def public_number(number: int) -> Tensor:
    """Return the 64 planes (64, 1) of a number that is the same in every lane."""
    return torch.tensor([[-(number >> plane & 1)] for plane in range(WORD_BITS)])


def in_range(bits: Engine, values: Shared, dealt: Dealt, limit: int) -> Shared:
    """Return in lane 0 whether all of a member's coordinates are in -2^limit .. 2^limit - 1: (clusters, members, 1, 1).

    `values` are words (clusters, members, coordinates), `limit` is 62 at most. Whatever word x is, it is in range
    exactly if y = x + 2^limit has no bit above its lowest limit + 1. With e = y + number open, the upper bits of y are
    those of e less those of the number and a borrow.
    """
    low = limit + 1
    shifted = bits.over(WORDS).add_public(values, torch.tensor(1 << limit))
    opened = masked(bits, shifted, dealt)
    numbers = dealt.planes
    borrow = greater_than_public(bits, numbers.take(2, range(low)), to_planes(opened, low))
    upper = numbers.take(2, range(low, WORD_BITS))
    clusters, members, width, words = upper.shape
    wanted = [to_planes((opened >> low) - taken, width) for taken in (0, 1)]
    agree = negated(
        bits,
        bits.add_public(upper.view(clusters, members, 1, width, words).take(2, [0, 0]), torch.stack(wanted, dim=2)),
    )
    equal = all_set(bits, agree).view(clusters, members, 2, words)
    plain, less_one = equal.take(2, [0]), equal.take(2, [1])
    inside = bits.add(plain, bits.products((borrow, bits.add(plain, less_one))))
    return all_lanes(bits, inside)


def in_range_in_the_clear(words: Tensor, limit: int) -> Tensor:
    """Return the same of words (clusters, members, coordinates) in the clear, bool (clusters, members)."""
    return ((words >= -(1 << limit)) & (words < 1 << limit)).all(dim=2)


def in_range_cost(access: Access, shape: tuple[int, int, int], limit: int) -> Cost:
    """Return what the check of words (clusters, members, coordinates) sends, its dealt numbers apart."""
    clusters, members, coordinates = shape
    packed, width = clusters * members * words_for(coordinates), WORD_BITS - limit - 1
    layers = [*greater_than_public_layers(limit + 1), *(2 * each for each in all_set_layers(width)), 1]
    online = masked_cost(access, shape).then(openings_cost(access, packed, layers, comparisons=1))
    return online.then(all_lanes_cost(access, values=clusters * members, coordinates=coordinates))
