"""Circuits on planes of shared bits: compare, add, count; beside each, how many planes its layers open.

Values are (clusters, ..., planes, words), lowest bit first; what lies on the axes between runs side by side. Every AND
is one opened bit, every XOR is free. The `_layers` functions count from the sizes alone, without running anything.

Source: Garay, Schoenmakers and Villegas 2007, PKC (comparison by a tree of pairs (greater, equal)); Sklansky 1960, IRE
Transactions on Electronic Computers (the adder's prefixes); Wallace 1964, same (three numbers to two).
"""

from collections.abc import Iterator, Sequence
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from protocols.secure_robust._engine import Engine, Shared

__all__ = [
    "add",
    "add_layers",
    "all_set",
    "all_set_layers",
    "count",
    "count_layers",
    "greater",
    "greater_layers",
    "greater_than_public",
    "greater_than_public_layers",
    "negated",
    "total",
    "total_layers",
    "weighted_total",
    "weighted_total_layers",
    "widened",
]

_ONES = torch.tensor(-1)


def negated(engine: Engine, value: Shared) -> Shared:
    """Return NOT value."""
    return engine.add_public(value, _ONES)


def greater(engine: Engine, left: Shared, right: Shared) -> Shared:
    """Return whether left > right as unsigned numbers: one plane."""
    above = engine.products((left, negated(engine, right)))
    return _first_difference(engine, above, negated(engine, engine.add(left, right)))


def greater_than_public(engine: Engine, left: Shared, right: Tensor) -> Shared:
    """Return whether left > right as unsigned numbers, where everybody knows the planes of right."""
    spread = right.expand(left.shape)
    return _first_difference(engine, engine.scale(left, ~spread), negated(engine, engine.add_public(left, spread)))


def _first_difference(engine: Engine, above: Shared, equal: Shared) -> Shared:
    """Return the highest plane of `above` over which all is equal, by pairs of planes: what a comparison comes to."""
    axis = len(above.shape) - 2
    engine.compared(above.shape.numel() // above.shape[axis])
    while (planes := above.shape[axis]) > 1:
        pairs = planes // 2
        low, high, rest = range(0, 2 * pairs, 2), range(1, 2 * pairs, 2), range(2 * pairs, planes)
        high_equal = equal.take(axis, high)
        # Whether all of the lowest pair is equal is never asked.
        asked = engine.products(
            (
                engine.join([high_equal, high_equal.take(axis, range(1, pairs))], axis),
                engine.join([above.take(axis, low), equal.take(axis, low[1:])], axis),
            )
        )
        unasked = high_equal.take(axis, range(1))
        carried = engine.add(above.take(axis, high), asked.take(axis, range(pairs)))
        both = asked.take(axis, range(pairs, 2 * pairs - 1))
        above = engine.join([carried, above.take(axis, rest)], axis)
        equal = engine.join([unasked, both, equal.take(axis, rest)], axis)
    return above


def greater_layers(planes: int) -> Iterator[int]:
    """Yield the planes that each layer of one comparison opens: about 3 a bit in 1 + log2(planes) layers."""
    yield planes
    yield from greater_than_public_layers(planes)


def greater_than_public_layers(planes: int) -> Iterator[int]:
    """Yield the planes that each layer of one comparison with a public number opens: about 2 a bit."""
    while planes > 1:
        yield 2 * (planes // 2) - 1
        planes -= planes // 2


def add(engine: Engine, left: Shared, right: Shared) -> Shared:
    """Return left + right modulo 2^planes."""
    axis = len(left.shape) - 2
    planes = left.shape[axis]
    differ = engine.add(left, right)
    if planes == 1:
        return differ
    below = range(planes - 1)  # the carry out of the top plane is dropped
    carry = engine.products((left.take(axis, below), right.take(axis, below)))
    passes = differ.take(axis, below)
    for level in _prefix_levels(planes - 1):
        asked = engine.products(
            (
                engine.join([passes.take(axis, level.upper), passes.take(axis, level.inner)], axis),
                engine.join([carry.take(axis, level.lower), passes.take(axis, level.inner_lower)], axis),
            )
        )
        upper = range(len(level.upper))
        carried = engine.add(carry.take(axis, level.upper), asked.take(axis, upper))
        carry = _replaced(engine, carry, level.upper, carried, axis)
        both = asked.take(axis, range(len(level.upper), len(level.upper) + len(level.inner)))
        passes = _replaced(engine, passes, level.inner, both, axis)
    nothing = engine.add(differ.take(axis, [0]), differ.take(axis, [0]))
    return engine.add(differ, engine.join([nothing, carry], axis))


def add_layers(planes: int) -> Iterator[int]:
    """Yield the planes that each layer of one addition opens: about planes log2(planes) in all."""
    if planes == 1:
        return
    yield planes - 1
    for level in _prefix_levels(planes - 1):
        yield len(level.upper) + len(level.inner)


class _Level(NamedTuple):
    """The places that take in a carry from below, from where; those of them that may hand it on, from where."""

    upper: list[int]
    lower: list[int]
    inner: list[int]
    inner_lower: list[int]


def _prefix_levels(places: int) -> Iterator[_Level]:
    half = 1
    while half < places:
        upper = [place for place in range(places) if place // half % 2]
        inner = [place for place in upper if place >= 2 * half]  # the lowest block has nothing below it
        tops = {place: place // half * half - 1 for place in upper}
        yield _Level(upper, [tops[place] for place in upper], inner, [tops[place] for place in inner])
        half *= 2


def _replaced(engine: Engine, value: Shared, places: Sequence[int], new: Shared, axis: int) -> Shared:
    """Return the value with new planes at these places."""
    source = {place: value.shape[axis] + number for number, place in enumerate(places)}
    order = [source.get(place, place) for place in range(value.shape[axis])]
    return engine.join([value, new], axis).take(axis, order)


def total(engine: Engine, numbers: Shared) -> Shared:
    """Return the sum modulo 2^planes of numbers (clusters, n, ..., planes, words) over their second axis."""
    axis = len(numbers.shape) - 2
    below = range(numbers.shape[axis] - 1)
    while (n := numbers.shape[1]) > 2:
        threes = n // 3
        first, second, third = (numbers.take(1, range(place, 3 * threes, 3)) for place in range(3))
        sums = engine.add(engine.add(first, second), third)
        carried = engine.add(sums, sums)
        if below:
            asked = engine.products(
                (engine.add(first, third).take(axis, below), engine.add(second, third).take(axis, below))
            )
            carries = engine.add(asked, third.take(axis, below))
            carried = engine.join([carried.take(axis, [0]), carries], axis)
        numbers = engine.join([sums, carried, numbers.take(1, range(3 * threes, n))], 1)
    result = numbers.take(1, [0]) if n == 1 else add(engine, numbers.take(1, [0]), numbers.take(1, [1]))
    return result.view(result.shape[0], *result.shape[2:])


def total_layers(numbers: int, planes: int) -> Iterator[int]:
    """Yield the planes that each layer of one sum of so many numbers opens."""
    while numbers > 2:
        if planes > 1:
            yield numbers // 3 * (planes - 1)
        numbers -= numbers // 3
    if numbers == 2:
        yield from add_layers(planes)


def widened(value: Shared, planes: int, *, shift: int = 0) -> Shared:
    """Return value x 2^shift of so many planes (clusters, ..., planes, words): zeros come in, upper planes go."""
    parts = torch.nn.functional.pad(value.parts, (0, 0, shift, 0))[..., :planes, :]
    return Shared(parts=torch.nn.functional.pad(parts, (0, 0, 0, planes - parts.shape[-2])))


def weighted_total(engine: Engine, weights: Shared, numbers: Shared, planes: int) -> Shared:
    """Return the sum modulo 2^planes of weight x number over the second axis: both (clusters, n, bits, words)."""
    clusters, n, width, words = weights.shape
    each = numbers.shape[2]
    partial = engine.products((weights.view(clusters, n, width, 1, words), numbers.view(clusters, n, 1, each, words)))
    shifted = [
        widened(partial.take(2, [bit]).view(clusters, n, each, words), planes, shift=bit) for bit in range(width)
    ]
    return total(engine, engine.join(shifted, 1))


def weighted_total_layers(n: int, width: int, each: int, planes: int) -> Iterator[int]:
    """Yield the planes that each layer opens, for n weights of `width` bits and numbers of `each` bits."""
    yield n * width * each
    yield from total_layers(n * width, planes)


def count(engine: Engine, bits: Shared) -> Shared:
    """Return how many of the n planes are set, as the n.bit_length() planes of a number."""
    axis = len(bits.shape) - 2
    n = bits.shape[axis]
    columns = [[bits.take(axis, [place]) for place in range(n)], *([] for _ in range(n.bit_length() - 1))]
    while groups := _adders([len(column) for column in columns]):
        taken = [[columns[weight].pop(0) for _ in range(size)] for weight, size in groups]
        # A half adder is a full one without its third bit, a bit that is zero.
        carries = engine.products(
            (
                engine.join([_plus_third(engine, each, 0) for each in taken], axis),
                engine.join([_plus_third(engine, each, 1) for each in taken], axis),
            )
        )
        for place, ((weight, _), each) in enumerate(zip(groups, taken, strict=True)):
            columns[weight].append(reduce(engine.add, each))
            carry = carries.take(axis, [place])
            columns[weight + 1].append(engine.add(carry, each[2]) if len(each) == 3 else carry)
    return engine.join([reduce(engine.add, column) for column in columns], axis)


def _plus_third(engine: Engine, taken: Sequence[Shared], place: int) -> Shared:
    return engine.add(taken[place], taken[2]) if len(taken) == 3 else taken[place]


def count_layers(bits: int) -> Iterator[int]:
    """Yield the planes that each layer of counting so many bits opens: fewer than `bits` in all."""
    columns = [bits] + [0] * (bits.bit_length() - 1)
    while groups := _adders(columns):
        yield len(groups)
        for weight, size in groups:
            columns[weight] -= size - 1
            columns[weight + 1] += 1


def _adders(columns: Sequence[int]) -> list[tuple[int, int]]:
    """Return the (weight, size) of the full and half adders of one layer; the top column has no carry."""
    groups: list[tuple[int, int]] = []
    for weight, size in enumerate(columns[:-1]):
        groups += [(weight, 3)] * (size // 3)
        if size == 2 and not groups:  # else a carry from below may still come to make it three
            groups.append((weight, 2))
    return groups


def all_set(engine: Engine, bits: Shared) -> Shared:
    """Return whether all planes are set: one plane."""
    axis = len(bits.shape) - 2
    while (planes := bits.shape[axis]) > 1:
        pairs = planes // 2
        both = engine.products((bits.take(axis, range(0, 2 * pairs, 2)), bits.take(axis, range(1, 2 * pairs, 2))))
        bits = engine.join([both, bits.take(axis, range(2 * pairs, planes))], axis)
    return bits


def all_set_layers(planes: int) -> Iterator[int]:
    """Yield the planes that each layer opens: planes - 1 in all."""
    while planes > 1:
        yield planes // 2
        planes -= planes // 2
