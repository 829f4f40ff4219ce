"""Steps of recursions that count clusters one after the other: weights by so many counts, an axis for each."""

from collections.abc import Iterable

import numpy as np

from protocols.tolerance.binomial import Floats

__all__ = ["raised", "shifted"]


def shifted(held: Floats, cells: Iterable[tuple[tuple[int, ...], float]]) -> Floats:
    """Return the weights after one of these cells: (faulty members by kind, on the last axes; how likely)."""
    out = np.zeros_like(held)
    for cell, weight in cells:
        into = tuple(slice(x, None) for x in cell)
        room = tuple(slice(0, length - x) for x, length in zip(cell, held.shape[-len(cell) :], strict=True))
        out[(..., *into)] += weight * held[(..., *room)]
    return out


def raised(held: Floats, axis: int) -> Floats:
    """Return the counts with one more on this axis; the last one stays the last."""
    moved = np.moveaxis(held, axis, 0)
    out = np.zeros_like(moved)
    out[1:] = moved[:-1]
    out[-1] += moved[-1]
    return np.moveaxis(out, 0, axis)
