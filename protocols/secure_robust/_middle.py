"""The sum of the middle values of every coordinate: what the median and the trimmed mean open."""

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from protocols.ring import FixedPoint
from protocols.secure_robust._access import Access
from protocols.secure_robust._batch import bitwise, bitwise_cost
from protocols.secure_robust._circuits import total, total_layers
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._ranking import (
    at_places,
    at_places_layers,
    places_of,
    places_of_comparisons,
    places_of_layers,
)
from protocols.secure_sum import Party
from protocols.types import Traffic

__all__ = [
    "middle_cost",
    "middle_layers",
    "middle_of",
    "middle_sums",
    "open_middle_sums",
    "shared_middle",
    "shared_middle_layers",
]


def open_middle_sums(party: Party, access: Access, words: Tensor, *, bits: int, trim: int) -> None:
    """Play one member: publish the sums of all members' words without `trim` at each end of every coordinate."""
    evaluate = partial(_middle_of_inputs, trim=trim)
    bitwise(party, access, words, evaluate, taken=bits, live=_live(access.parties, bits))


def _middle_of_inputs(engine: Engine, planes: Tensor, *, trim: int) -> Tensor:
    return middle_of(engine, engine.share_inputs(planes), trim=trim)


def middle_of(engine: Engine, values: Shared, *, trim: int) -> Tensor:
    """Return the opened planes (clusters, planes, words) of the sums, modulo 2^planes, of signed numbers.

    `values` are (clusters, numbers, planes, words). Which number stands where in the order, and every single number,
    stays shared.
    """
    clusters, n, bits, words = values.shape
    if n - 2 * trim == 1:  # one opening less than to share the sum of one number and then open it
        return engine.reveal_products(_kept(engine, values, trim), fold=2).view(clusters, bits, words)
    return engine.reveal(shared_middle(engine, values, trim=trim))


def shared_middle(engine: Engine, values: Shared, *, trim: int) -> Shared:
    """Return the same planes (clusters, planes, words), still shared."""
    return total(engine, engine.products(_kept(engine, values, trim), fold=2))


def _kept(engine: Engine, values: Shared, trim: int) -> tuple[Shared, Shared]:
    """Return whether each number (axis 2) stands at each place that is kept (axis 1), and the numbers."""
    clusters, n, bits, words = values.shape
    top = torch.zeros(bits, 1, dtype=torch.int64)
    top[-1] = -1  # with their signs flipped, signed numbers are unsigned ones in the same order
    chosen = at_places(engine, places_of(engine, engine.add_public(values, top)), range(trim, n - trim))
    return chosen, values.view(clusters, 1, n, bits, words)


def middle_layers(parties: int, bits: int, trim: int) -> Iterator[int]:
    """Yield the planes that each layer of the middle of so many numbers opens."""
    yield from shared_middle_layers(parties, bits, trim)
    if parties - 2 * trim > 1:
        yield bits


def shared_middle_layers(numbers: int, bits: int, trim: int) -> Iterator[int]:
    """Yield the same where the sums stay shared."""
    kept = numbers - 2 * trim
    yield from places_of_layers(numbers, bits)
    yield from at_places_layers(numbers, kept)
    yield kept * bits
    yield from total_layers(kept, bits)


def middle_cost(access: Access, *, clusters: int, coordinates: int, bits: int, trim: int) -> Traffic:
    """Return what one batch sends."""
    return bitwise_cost(
        access,
        clusters,
        coordinates,
        middle_layers(access.parties, bits, trim),
        taken=bits,
        live=_live(access.parties, bits),
        comparisons=places_of_comparisons(access.parties),
    )


def middle_sums(ring: FixedPoint, words: Tensor, trim: int) -> Tensor:
    """Return the same sums (clusters, coordinates) of words (clusters, members, coordinates), in the clear."""
    ordered = ring.wrap(words).sort(dim=1).values
    return ring.wrap(ordered[:, trim : words.shape[1] - trim].sum(dim=1))


def _live(parties: int, bits: int) -> int:
    """Return how many planes a coordinate are live while all pairs are compared."""
    return bits * parties * (parties - 1) // 2
