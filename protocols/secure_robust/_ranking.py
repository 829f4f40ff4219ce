"""Which of a cluster's values stands where in their order: all pairs are compared at once, then the wins counted.

Of equal values the one of the member with the lower number comes first, so every value has a place of its own.
"""

from collections.abc import Iterator, Sequence
from itertools import combinations

import torch

from protocols.secure_robust._circuits import (
    all_set,
    all_set_layers,
    count,
    count_layers,
    greater,
    greater_layers,
    negated,
)
from protocols.secure_robust._engine import Engine, Shared

__all__ = ["at_places", "at_places_layers", "places_of", "places_of_comparisons", "places_of_layers"]


def places_of(engine: Engine, values: Shared) -> Shared:
    """Return the place 0..n-1 of each value (clusters, n, planes, words) among the n, as planes of a number."""
    clusters, n, _, words = values.shape
    pairs = list(combinations(range(n), 2))
    later = greater(
        engine, values.take(1, [low for low, _ in pairs]), values.take(1, [high for _, high in pairs])
    ).view(clusters, len(pairs), words)
    # One row a value: whether each other value comes before it.
    both = engine.join([later, negated(engine, later)], 1)
    before = [
        pairs.index((i, j)) if i < j else len(pairs) + pairs.index((j, i)) for i in range(n) for j in range(n) if i != j
    ]
    return count(engine, both.take(1, before).view(clusters, n, n - 1, words))


def places_of_layers(n: int, planes: int) -> Iterator[int]:
    """Yield the planes that each layer opens."""
    pairs = places_of_comparisons(n)
    yield from (pairs * each for each in greater_layers(planes))
    yield from (n * each for each in count_layers(n - 1))


def places_of_comparisons(n: int) -> int:
    """Return how often a word of lanes is compared: once a pair."""
    return n * (n - 1) // 2


def at_places(engine: Engine, places: Shared, wanted: Sequence[int]) -> Shared:
    """Return whether each value stands at each wanted place: (clusters, wanted, n, 1, words)."""
    clusters, n, planes, words = places.shape
    digits = torch.tensor([[-(place >> plane & 1) for plane in range(planes)] for place in wanted])
    spread = places.view(clusters, 1, n, planes, words).take(1, [0] * len(wanted))
    # A plane that agrees with the wanted digit: NOT (plane XOR digit).
    agree = negated(engine, engine.add_public(spread, digits.view(len(wanted), 1, planes, 1)))
    return all_set(engine, agree)


def at_places_layers(n: int, wanted: int) -> Iterator[int]:
    """Yield the planes that each layer opens."""
    yield from (wanted * n * each for each in all_set_layers((n - 1).bit_length()))
