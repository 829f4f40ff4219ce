"""Balanced groups of near points: halve along the direction in which the points spread most, again and again."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["halved"]

Points = NDArray[np.float64]


def halved(points: Points, sizes: Sequence[int]) -> list[NDArray[np.int64]]:
    """Return groups of the rows of `points` (n, k), of exactly these sizes, each near each other.

    The half of the sizes goes to the lower end of the principal direction, the rest to the upper; each half again.

    Guarantees:
        Points on a line are cut into consecutive runs.
        The same points give the same groups.
    Source: Boley 1998, Principal Direction Divisive Partitioning, Data Mining and Knowledge Discovery 2, with the
    cut at the rank that keeps sizes balanced instead of at the mean.
    """
    return _halve(points, np.arange(len(points)), list(sizes))


def _halve(points: Points, members: NDArray[np.int64], sizes: list[int]) -> list[NDArray[np.int64]]:
    if len(sizes) == 1:
        return [members]
    first, second = sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :]
    order = members[_along_the_spread(points[members])]
    lower, upper = order[: sum(first)], order[sum(first) :]
    return _halve(points, np.sort(lower), first) + _halve(points, np.sort(upper), second)


def _along_the_spread(points: Points) -> NDArray[np.int64]:
    """Return the order of the points along their principal direction, equal ones in the order given."""
    centred = points - points.mean(axis=0)
    scale = float(np.abs(centred).max(initial=0.0))
    if not scale:
        return np.arange(len(points))
    direction: Points = np.linalg.svd(centred / scale, full_matrices=False)[2][0]
    # A singular vector has no sign of its own.
    direction = direction * np.sign(direction[np.argmax(np.abs(direction))])
    # Equal points may differ in the last bits of their product, which must not decide.
    along = np.asarray(centred @ direction, dtype=np.float64) / scale
    return np.argsort(np.round(along, 9), kind="stable")
