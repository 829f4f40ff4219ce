"""Weiszfeld's iteration on shared values: the point is kept as weights of the members, and moved by distances alone.

A point is y = sum of a_j x_j with weights a_j that are multiples of 2^-12 and add up to exactly 1. With D the squared
distances of all pairs, 2 |x_j - y|^2 = 2 (a D)_j - a D a. So after one look at the coordinates, for D, every step is
one on numbers of members, whatever d is; they are added and multiplied as integers of as many bits as it takes, so that
nothing is rounded but where tables are read, and nothing wraps around.

A step reads w_j = smoothing / |x_j - y| off a table, and the reciprocal of W = sum of w_j off another one, both rounded
down; what w_j / W then lack to add up to 1 goes to the anchor, the member around which the start is.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocols.secure_robust._access import Access
from protocols.secure_robust._circuits import (
    add,
    add_layers,
    negated,
    total,
    total_layers,
    weighted_total,
    weighted_total_layers,
    widened,
)
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._lanes import in_all_lanes, items_as_lanes, lanes_as_items
from protocols.secure_robust._opening import openings_cost
from protocols.secure_robust._planes import words_for
from protocols.secure_robust._tables import Table, planes_of_numbers, read, read_layers
from protocols.types import Cost

__all__ = ["SHARE_BITS", "Cloud", "Objects", "Steps", "step", "step_cost", "step_in_the_clear"]

SHARE_BITS = 12
"""Weights of members are multiples of 2^-12."""
_SQUARE_BITS = 62
_MIXED_BITS = _SQUARE_BITS + SHARE_BITS
"""Of 2^12 (a D)_j, at most 2^12 times the largest square."""
_APART_BITS = _MIXED_BITS + SHARE_BITS + 1
"""Of 2^25 |x_j - y|^2."""
_SPARE_BITS = 4
"""The smallest factor is at least 2^4, so that rounding it down takes off 1 / 16 of it at most."""
_STEPS_OF_RECIPROCALS = 32

Objects = NDArray[Any]
"""Python integers, which have no end."""


@dataclass(frozen=True, kw_only=True)
class Steps:
    """The tables of a step for clusters of so many members: the factors of distances, and reciprocals of their sums.

    `smoothing` is in units; factors change at distances that grow by 2^(1 / steps).
    """

    members: int
    smoothing: int
    steps: int

    @property
    def factors(self) -> Table:
        """From 2^25 |x_j - y|^2 to 2^g smoothing / max(|x_j - y|, smoothing), rounded down to a bound's."""
        return _factors(self.smoothing, self.steps)

    @property
    def sum_bits(self) -> int:
        """How many bits the sum of all factors has."""
        return self.factors.width + self.members.bit_length()

    @property
    def reciprocals(self) -> Table:
        """From the sum W of factors to 2^(sum_bits + 12) / W, rounded down; from zero to zero."""
        return _reciprocals(self.sum_bits)


@lru_cache
def _factors(smoothing: int, steps: int) -> Table:
    bounds = [smoothing]
    while bounds[-1] >> 31 == 0:  # half of the squares have 62 bits
        bounds.append(max(bounds[-1] + 1, math.floor(smoothing * 2.0 ** (len(bounds) / steps))))
    most = (bounds[-1] // smoothing).bit_length() + _SPARE_BITS
    entries = tuple((smoothing << most) // bound for bound in bounds)
    squares = tuple(bound**2 << 2 * SHARE_BITS + 1 for bound in bounds[:-1])
    return Table(bounds=squares, entries=entries, planes=_APART_BITS, width=most + 1)


@lru_cache
def _reciprocals(sum_bits: int) -> Table:
    bounds = [0, 1]
    while bounds[-1] < 1 << sum_bits:
        bounds.append(max(bounds[-1] + 1, math.floor(bounds[-1] * 2.0 ** (1 / _STEPS_OF_RECIPROCALS))))
    one = 1 << sum_bits + SHARE_BITS
    return Table(
        bounds=tuple(bounds[:-1]),
        entries=(0, *(one // bound for bound in bounds[1:])),
        planes=sum_bits,
        width=one.bit_length(),
    )


@dataclass(frozen=True, kw_only=True, eq=False)
class Cloud:
    """What a step needs to know of the members: all squared distances, who is in range, and who is the anchor.

    `squares` (clusters, members, 62, words) have one lane for each other member, and zero for itself; `in_range` and
    `anchor` are (clusters, 1, 1, words), one lane a member.
    """

    squares: Shared
    in_range: Shared
    anchor: Shared


def step(bits: Engine, tables: Steps, shares: Shared, cloud: Cloud) -> Shared:
    """Return the weights after a step from those before, in units of 2^-12: planes (clusters, 1, 13, words).

    There is one lane a member.
    """
    clusters, _, width, words = shares.shape
    members = tables.members
    apart = _apart(bits, members, shares, cloud.squares)
    places = in_all_lanes(apart.view(clusters, 1, _APART_BITS, words), members, tables.factors.words)
    there = lanes_as_items(cloud.in_range, members).view(clusters, members, 1, 1)
    factors = bits.products((read(bits, places, tables.factors), there))
    summed = total(bits, widened(factors, tables.sum_bits)).view(clusters, 1, tables.sum_bits, 1)
    reciprocal = read(bits, _everywhere(summed, tables.reciprocals.words), tables.reciprocals)
    # (factor x reciprocal) / 2^sum_bits of all members at once, one lane each
    laid = items_as_lanes(factors, 1).view(clusters, 1, tables.factors.width, words)
    scaled = weighted_total(bits, laid, _everywhere(reciprocal, words), tables.sum_bits + width)
    parts = scaled.take(1, range(tables.sum_bits, tables.sum_bits + width)).view(clusters, 1, width, words)
    # what is missing: 2^12 - sum = NOT sum + 1 + 2^12
    missing = negated(bits, total(bits, _as_items(parts, members)).view(clusters, 1, width, 1))
    whole = planes_of_numbers([(1 << SHARE_BITS) + 1], width) & 1
    missing = add(bits, missing, bits.public(whole.expand(clusters, 1, width, 1)))
    return add(bits, parts, bits.products((_everywhere(missing, words), cloud.anchor)))


def _apart(bits: Engine, members: int, shares: Shared, squares: Shared) -> Shared:
    """Return 2^25 |x_j - y|^2, (clusters, planes, words), one lane a member."""
    clusters, _, _, words = shares.shape
    mixed = weighted_total(bits, in_all_lanes(shares, members, words), squares, _MIXED_BITS)
    mixed = mixed.view(clusters, 1, _MIXED_BITS, words)
    own = weighted_total(bits, _as_items(shares, members), _as_items(mixed, members), _APART_BITS)
    less = negated(bits, _everywhere(own.view(clusters, 1, _APART_BITS, 1), words))
    one = torch.zeros(clusters, 1, _APART_BITS, words, dtype=torch.int64)
    one[:, :, 0] = -1
    doubled = widened(mixed, _APART_BITS, shift=SHARE_BITS + 1)
    return total(bits, bits.join([doubled, less, bits.public(one)], 1))


def _as_items(value: Shared, members: int) -> Shared:
    """Return each lane of (clusters, 1, planes, words) as an item, in lane 0: (clusters, members, planes, 1)."""
    items = lanes_as_items(value, members).parts[:, :, 0]
    return Shared(parts=items.transpose(2, 3).contiguous())


def _everywhere(value: Shared, words: int) -> Shared:
    """Return what is in lane 0 of (clusters, ..., 1) in all lanes of so many words."""
    return Shared(parts=(-(value.parts & 1)).expand(*value.parts.shape[:-1], words).contiguous())


def step_cost(access: Access, tables: Steps, *, clusters: int) -> Cost:
    """Return what a step sends: nothing in it grows with the number of coordinates."""
    members, lanes = tables.members, clusters * words_for(tables.members)
    width, factor = SHARE_BITS + 1, tables.factors.width
    looked_up = [
        (clusters * members * tables.factors.words, read_layers(tables.factors)),
        (clusters * tables.reciprocals.words, read_layers(tables.reciprocals)),
    ]
    layers: list[tuple[int, Iterator[int]]] = [
        (lanes, weighted_total_layers(members, width, _SQUARE_BITS, _MIXED_BITS)),
        (clusters, weighted_total_layers(members, width, _MIXED_BITS, _APART_BITS)),
        (lanes, total_layers(3, _APART_BITS)),
        (clusters * members, iter([factor])),
        (clusters, total_layers(members, tables.sum_bits)),
        (lanes, weighted_total_layers(1, factor, tables.reciprocals.width, tables.sum_bits + width)),
        (clusters, total_layers(members, width)),
        (clusters, add_layers(width)),
        (lanes, iter([width])),
        (lanes, add_layers(width)),
    ]
    cost = Cost.none()
    for words, each in layers:
        cost = cost.then(openings_cost(access, words, each))
    for words, each in looked_up:
        cost = cost.then(openings_cost(access, words, each, comparisons=1))
    return cost


def step_in_the_clear(tables: Steps, shares: Objects, squares: Objects, inside: Tensor, anchor: Tensor) -> Objects:
    """Return the same weights (clusters, members) of squares (clusters, members, members), in the clear."""
    mixed: Objects = (shares[:, :, None] * squares).sum(axis=1)
    own: Objects = (shares * mixed).sum(axis=1)
    apart = ((mixed << SHARE_BITS + 1) - own[:, None]) % (1 << _APART_BITS)
    factors = _read(tables.factors, apart) * inside.numpy().astype(object)
    reciprocal = _read(tables.reciprocals, factors.sum(axis=1))
    parts: Objects = (factors * reciprocal[:, None]) >> tables.sum_bits
    missing = (1 << SHARE_BITS) - parts.sum(axis=1)
    return parts + missing[:, None] * anchor.numpy().astype(object)


def _read(table: Table, numbers: Objects) -> Objects:
    exceeded = (numbers[..., None] > np.array(table.bounds, dtype=object)).sum(axis=-1).astype(np.int64)
    return np.array(table.entries, dtype=object)[exceeded]
