"""Exact secrecy of masked sums: all randomness enumerated in the ring of two elements, all coalitions, all inputs."""

from collections.abc import Callable, Sequence
from itertools import chain, combinations, product

import numpy as np
from numpy.typing import NDArray

__all__ = ["Masks", "leaking_coalitions"]

Masks = Callable[[tuple[int, ...]], Sequence[int]]
"""From one bit a key to one mask bit a party."""


def leaking_coalitions(parties: int, holders: Sequence[frozenset[int]], masks: Masks) -> list[tuple[int, ...]]:
    """Return every coalition that learns more than the sum and its own inputs, smallest first.

    Each party publishes its input plus its mask modulo 2; a coalition sees all that is published, its own
    inputs and the keys that it holds (`holders[k]` are the parties that know key k). It learns more exactly if
    two inputs that agree on the coalition and on the sum give its view different distributions over the keys.
    Every published word is in the view: a coordinate's collector does see the words of all parties. All
    distributions are compared exactly, so there is neither a false alarm nor a miss.

    Source: Goldreich 2004, Foundations of Cryptography II, Definition 7.2.1 (privacy by equal views).
    """
    bits = list(product((0, 1), repeat=len(holders)))
    drawn = np.array(bits, dtype=np.int64)
    masked = np.array([[word % 2 for word in masks(each)] for each in bits], dtype=np.int64)
    sizes = range(1, parties)
    coalitions = chain.from_iterable(combinations(range(parties), size) for size in sizes)
    return [coalition for coalition in coalitions if _learns(parties, coalition, holders, drawn, masked)]


def _learns(
    parties: int,
    coalition: tuple[int, ...],
    holders: Sequence[frozenset[int]],
    drawn: NDArray[np.int64],
    masked: NDArray[np.int64],
) -> bool:
    known = [k for k, who in enumerate(holders) if who & set(coalition)]
    seen: dict[tuple[int, ...], NDArray[np.int64]] = {}
    for inputs in product((0, 1), repeat=parties):
        allowed = (*(inputs[party] for party in coalition), sum(inputs) % 2)
        views = _distribution(np.concatenate([drawn[:, known], (masked + np.array(inputs)) % 2], axis=1))
        if not np.array_equal(seen.setdefault(allowed, views), views):
            return True
    return False


def _distribution(views: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return how often each view occurs over all keys."""
    codes = views @ (1 << np.arange(views.shape[1], dtype=np.int64))
    return np.bincount(codes, minlength=1 << views.shape[1])
