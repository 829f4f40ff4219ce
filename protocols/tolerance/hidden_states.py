"""Hidden sums under faults of one kind: delegates, somebody alone and tainted clusters, counted together."""

import math
from collections.abc import Iterator

import numpy as np

from protocols.tolerance.binomial import Floats
from protocols.tolerance.delegates import Delegates
from protocols.tolerance.parts import Groups, clusters_of, log_weights

__all__ = ["MOST_WORK", "states", "states_work"]

MOST_WORK = 3e8  # additions, about a second


def states_work(faulty: int, groups: Groups, delegates: Delegates, rows: int) -> float:
    """Return how many additions `states` takes for so many rows of bad clusters."""
    cells = 4.0 * min(rows, faulty + 2) * (faulty + 1)
    return cells * (delegates.count + 2) * sum(count * (size + 1) for size, count in groups)


def states(faulty: int, n: int, groups: Groups, delegates: Delegates, *, most: int, whoever: bool = False) -> Floats:
    """Return the probabilities of (enough delegates collude, somebody is alone, k clusters have a faulty member).

    The last row of k is for more than `most`. Faulty processes and delegates are uniform, or `whoever` serves is what
    the coalition would like. Additions of non-negative terms only, as in the pair recursion.
    """
    total = np.zeros((2, 2, most + 2))
    for chance, serving in _draws(groups, delegates.count):
        held = np.zeros((delegates.withstood + 2, 2, most + 2, faulty + 1))
        held[0, 0, 0, 0] = 1.0
        for (size, count), served in zip(groups, serving, strict=True):
            weights = np.exp(log_weights(size, n, (faulty,)))[: faulty + 1]
            for number in range(count):
                drawn = 0.0 if whoever or number >= served else 1.0 / size
                held = _with_cluster(held, weights, size, drawn=drawn, whoever=whoever)
        own = held[..., faulty]
        total += chance * np.stack([own[:-1].sum(axis=0), own[-1]]) / own.sum()
        if whoever:  # then it does not matter who is drawn
            return total / chance
    return total


def _draws(groups: Groups, count: int) -> Iterator[tuple[float, tuple[int, ...]]]:
    """How many of the clusters of each size send a delegate, and how likely: there are two sizes at most."""
    m = clusters_of(groups)
    small, large = groups[0][1], m - groups[0][1]
    for k in range(max(0, count - small), min(count, large) + 1):
        chance = math.comb(small, count - k) * math.comb(large, k) / math.comb(m, count)
        yield chance, (count - k, k)[: len(groups)]


def _with_cluster(before: Floats, weights: Floats, size: int, *, drawn: float, whoever: bool) -> Floats:
    """Return the states with one more cluster, each member of which serves with probability `drawn`."""
    grown = np.zeros_like(before)
    for x, weight in enumerate(weights.tolist()):
        moved = weight * before[..., : before.shape[-1] - x]
        if x:
            moved = _raised(moved, 2)
        if x == size - 1:
            moved = _raised(moved, 1)
        serves = float(x > 0) if whoever else x * drawn
        moved = (1 - serves) * moved + serves * _raised(moved, 0) if serves else moved
        grown[..., x:] += moved
    return grown


def _raised(before: Floats, axis: int) -> Floats:
    """Return the states with one more on this axis; the last one stays the last."""
    moved = np.moveaxis(before, axis, 0)
    out = np.zeros_like(moved)
    out[1:] = moved[:-1]
    out[-1] += moved[-1]
    return np.moveaxis(out, 0, axis)
