"""Clipping updates to an L2 norm on shared values: a table of factors, and no division or square root.

A member's squared norm is compared with bounds that grow by 2^(1 / steps) in norm, and each step has its factor, a
multiple of 2^-20. The sum of factor x update is exact, and only its whole units are opened: what is below them depends
on clipped members alone, and would tell who they are and what they sent.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.secure_robust._access import Access
from protocols.secure_robust._checked import Range, check_norm, in_range_in_the_clear
from protocols.secure_robust._circuits import greater_than_public, greater_than_public_layers
from protocols.secure_robust._conversions import Dealt, Draw, as_words, as_words_cost, deal_bits, deal_bits_cost
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.secure_robust._lanes import in_all_lanes
from protocols.secure_robust._norms import Lengths, lengths_cost, squared_lengths
from protocols.secure_robust._opening import openings_cost
from protocols.secure_robust._planes import WORD_BITS, to_planes, words_for
from protocols.secure_robust._weighted import open_whole_units, open_whole_units_cost
from protocols.types import Cost

__all__ = ["Clipping"]

_FACTOR_BITS = 20


@dataclass(frozen=True, kw_only=True)
class Clipping:
    """The sum of the updates, each scaled down to an L2 norm of at most `norm`; out of range, it counts as zero.

    Guarantees:
        The opened words equal the reference's, bit for bit.
        The cost formula equals what the meter counts.
    """

    norm: float
    steps: int
    fraction_bits: int

    def __post_init__(self) -> None:
        check_norm(self.norm, self.fraction_bits)
        check.integer_at_least(1, steps=self.steps)

    def table(self, coordinates: int) -> "_Table":
        """Return the factors; CloisterError where the norm is beyond the range of so many coordinates."""
        longest = math.ceil(self.norm * 2.0**self.fraction_bits + math.sqrt(coordinates) / 2)
        limits = Range.widest(coordinates)
        if longest >> limits.bits:
            raise CloisterError(
                f"norm = {self.norm} is beyond the range of {coordinates} coordinates, +-2^{limits.bits} units; "
                f"allowed: a smaller norm or fewer bits of fraction"
            )
        return _table(longest, self.steps, math.isqrt(coordinates << 2 * limits.bits) + 1)

    def open_sum(self, bits: Engine, draw: Draw, values: Shared) -> Tensor:
        """Return the rounded sums (clusters, coordinates) of words (clusters, members, coordinates)."""
        clusters, members, coordinates = values.shape
        table = self.table(coordinates)
        with bits.offline():
            coins = deal_bits(bits, draw, (clusters, members, len(table.changes)))
        lengths = squared_lengths(bits, values, draw, Range.widest(coordinates))
        return open_whole_units(bits, draw, _factors(bits, lengths, coins, table), values, _FACTOR_BITS)

    def sum_in_the_clear(self, words: Tensor) -> Tensor:
        """Return the same sums, computed in the clear."""
        coordinates = words.shape[2]
        table = self.table(coordinates)
        inside = in_range_in_the_clear(words, Range.widest(coordinates).bits)
        squares = torch.where(inside[:, :, None], words, 0).square().sum(dim=2)
        above = squares[:, :, None] > torch.tensor(table.squares)
        factors = (above * torch.tensor(table.changes)).sum(dim=2) * inside
        return (factors[:, :, None] * words).sum(dim=1) >> _FACTOR_BITS

    def cost(self, access: Access, *, clusters: int, coordinates: int) -> tuple[Cost, Cost]:
        """Return what `open_sum` sends offline and online."""
        entries = len(self.table(coordinates).changes)
        shape, lanes = (clusters, access.parties, entries), clusters * access.parties * words_for(entries)
        offline, online = lengths_cost(access, clusters=clusters, limits=Range.widest(coordinates))
        layers = [*greater_than_public_layers(WORD_BITS), 1]
        online = online.then(openings_cost(access, lanes, layers, comparisons=1))
        online = online.then(as_words_cost(access, shape))
        dealt, opened = open_whole_units_cost(access, clusters=clusters, coordinates=coordinates, fraction=_FACTOR_BITS)
        return offline.then(deal_bits_cost(access, shape)).then(dealt), online.then(opened)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A factor is the sum of the changes at all squares that are exceeded, in units of 2^-20."""

    squares: tuple[int, ...]
    changes: tuple[int, ...]


@lru_cache
def _table(longest: int, steps: int, most: int) -> _Table:
    """Return the factors: 1 up to `longest`, then what brings each step's longest down to that, up to `most`."""
    bounds = [longest]
    while bounds[-1] < most:
        bounds.append(math.floor(longest * 2.0 ** (len(bounds) / steps)))
    factors = [(longest << _FACTOR_BITS) // bound for bound in bounds]
    changes = [after - before for before, after in pairwise(factors)]
    # Whatever exceeds zero starts with the first factor; zero itself needs none.
    return _Table(squares=(0, *(bound * bound for bound in bounds[:-1])), changes=(factors[0], *changes))


def _factors(bits: Engine, lengths: Lengths, coins: Dealt, table: _Table) -> Shared:
    """Return the members' factors (clusters, members), words."""
    clusters, members, entries = coins.words.shape
    squares = in_all_lanes(lengths.squares, members, words_for(entries))
    inside = in_all_lanes(lengths.in_range, members, words_for(entries))
    above = greater_than_public(bits, squares, to_planes(torch.tensor(table.squares), WORD_BITS))
    counted = as_words(bits, bits.products((above, inside)), coins, entries)
    words = bits.over(WORDS)
    return words.sum(words.scale(counted, torch.tensor(table.changes)), 2).view(clusters, members)
