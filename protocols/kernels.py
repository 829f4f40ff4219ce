"""Inner loops over the columns of rows, compiled by numba: the one module that imports it.

Importing it takes 0.2 s of processor time, compiling each loop 1 s once a machine, and loading what was compiled 0.3 s:
so it is imported where it pays, see `protocols.compiled`, which is what everybody else calls. No loop runs in threads.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, ParamSpec, TypeVar, cast

import numpy as np
from numba import njit  # pyright: ignore[reportUnknownVariableType]
from numpy.typing import NDArray

__all__ = ["column_moments", "comparators", "mean_of_ranks", "squares_from"]

_Given = ParamSpec("_Given")
_Made = TypeVar("_Made")
_Numbers = NDArray[Any]  # float32 or float64

_LANES = 64  # columns that are sorted together: so many of 100 rows fit the first-level cache
_WIDTH = 512  # columns whose sums grow together: they stay in that cache, and rows are read ahead

# Mean squares within these bounds are as exact as column_moments says; all of float32 are.
_LEAST_SQUARE, _MOST_SQUARE = 2.0**-900, 2.0**900


def _compiled(function: Callable[_Given, _Made]) -> Callable[_Given, _Made]:
    """Return it compiled at its first call; kept for the next process where numba finds a folder to write to."""
    compile_it = cast(Any, njit)
    try:
        return compile_it(cache=True, error_model="numpy")(function)
    except RuntimeError:  # no such folder
        return compile_it(error_model="numpy")(function)


@lru_cache(maxsize=64)
def comparators(m: int, first: int, last: int) -> NDArray[np.int64]:
    """Return the pairs (k, 2) of places that sort m numbers, as far as places `first` to `last` - 1 depend on them.

    Each pair, in turn, puts the smaller number first. Batcher's merge exchange, without the pairs that only touch
    places which nothing looks at any more. Source: Knuth 1998, The Art of Computer Programming 3, Algorithm 5.2.2M.
    """
    needed, kept = set(range(first, last)), list[tuple[int, int]]()
    for low, high in reversed(_merge_exchange(m)):
        if low in needed or high in needed:
            needed |= {low, high}
            kept.append((low, high))
    return np.array(kept[::-1], dtype=np.int64).reshape(-1, 2)


def _merge_exchange(m: int) -> list[tuple[int, int]]:
    pairs = list[tuple[int, int]]()
    top = 1 << max(0, (m - 1).bit_length() - 1)
    p = top
    while p > 0:
        q, r, distance = top, 0, p
        while True:
            pairs += [(i, i + distance) for i in range(m - distance) if i & p == r]
            if q == p:
                break
            distance, q, r = q - p, q // 2, p
        p //= 2
    return pairs


@_compiled
def mean_of_ranks(rows: _Numbers, pairs: NDArray[np.int64], first: int, last: int, result: _Numbers) -> bool:
    """Write the means (d,) float64 of the numbers of ranks `first` to `last` - 1 in each column of rows (m, d).

    `pairs` are the comparators for them. The numbers are added in ascending order, so the order of the rows changes no
    bit. Returns whether all numbers are finite; if not, the result is meaningless.
    """
    m, d = rows.shape
    tile = np.zeros((m, _LANES), rows.dtype)
    doubts = np.zeros(_LANES, rows.dtype)
    total = np.empty(_LANES, np.float64)
    for start in range(0, d, _LANES):
        width = min(_LANES, d - start)
        _fetch(rows, start, width, tile, doubts)
        _exchange(tile, pairs)
        total[:] = 0.0
        for i in range(first, last):
            for k in range(_LANES):
                total[k] += tile[i, k]
        for k in range(width):
            result[start + k] = total[k] / (last - first)
    return bool(np.all(doubts == 0))


@_compiled
def _fetch(rows: _Numbers, start: int, width: int, tile: _Numbers, doubts: _Numbers) -> None:
    """Copy columns into the tile; `doubts` (lanes,) become NaN where a number is NaN or infinite, and else stay 0."""
    for i in range(rows.shape[0]):
        row, copy = rows[i, start : start + width], tile[i]
        for k in range(width):
            number = row[k]
            copy[k] = number
            doubts[k] += number - number


@_compiled
def _exchange(tile: _Numbers, pairs: NDArray[np.int64]) -> None:
    for p in range(pairs.shape[0]):
        lower, upper = tile[pairs[p, 0]], tile[pairs[p, 1]]
        for k in range(_LANES):
            a, b = lower[k], upper[k]
            lower[k] = min(a, b)
            upper[k] = max(a, b)


@_compiled
def column_moments(rows: _Numbers, mean: _Numbers, deviation: _Numbers, vague: NDArray[np.bool_]) -> bool:
    """Write the mean and the standard deviation (d,), divided by m, of each column of rows (m, d).

    From sums in float64 of the differences v from the first row, and of their squares. Let u = 2^-53, V the variance
    and Q the mean square of v: (m + 1) V at most, however far the first row is out. Each v is off by u of itself, their
    mean A by (m + 3) u sqrt(Q) at most, and Q by (m + 5) u Q; so Q - A^2 is off by (3 m + 14) (m + 1) u of V, and its
    root by 2 (m + 4)^2 u of itself: 3e-12 for 100 rows. Where a number is not finite, or squares are too large or too
    small for that, `vague` (d,) is true; returns whether one is. Differences below 2^-537 may count as 0.
    """
    m, d = rows.shape
    fours = 1 + (m - 1) // 4 * 4  # four rows at a time: sums are loaded and stored once for four numbers
    first, total, squares = np.empty(_WIDTH, np.float64), np.empty(_WIDTH, np.float64), np.empty(_WIDTH, np.float64)
    some = False
    for start in range(0, d, _WIDTH):
        end = min(start + _WIDTH, d)
        for k in range(end - start):
            first[k], total[k], squares[k] = rows[0, start + k], 0.0, 0.0
        for i in range(1, fours, 4):
            row, second, third, fourth = (
                rows[i, start:end],
                rows[i + 1, start:end],
                rows[i + 2, start:end],
                rows[i + 3, start:end],
            )
            for k in range(end - start):
                a, b, c, e = row[k] - first[k], second[k] - first[k], third[k] - first[k], fourth[k] - first[k]
                total[k] += (a + b) + (c + e)
                squares[k] += (a * a + b * b) + (c * c + e * e)
        for i in range(fours, m):
            row = rows[i, start:end]
            for k in range(end - start):
                a = row[k] - first[k]
                total[k] += a
                squares[k] += a * a
        for k in range(end - start):
            shift, square = total[k] / m, squares[k] / m
            mean[start + k] = first[k] + shift
            deviation[start + k] = np.sqrt(square - shift * shift)
            vague[start + k] = not (_LEAST_SQUARE <= square <= _MOST_SQUARE or (square == 0.0 and shift == 0.0))
            some = some or vague[start + k]
    return some


@_compiled
def squares_from(centre: _Numbers, rows: _Numbers, squares: _Numbers) -> None:
    """Write the squared distances (m,) float64 of rows (m, d) from a centre (d,), each off by (d / 64 + 68) 2^-53.

    The differences are taken in float64 too. Every 64th square is added to the same sum, and then those sums.
    """
    m, d = rows.shape
    sums = np.empty(_LANES, np.float64)
    even = d - d % _LANES
    for i in range(m):
        sums[:] = 0.0
        for start in range(0, even, _LANES):
            row, point = rows[i, start : start + _LANES], centre[start : start + _LANES]
            for k in range(_LANES):
                difference = np.float64(row[k]) - point[k]
                sums[k] += difference * difference
        for k in range(even, d):
            difference = np.float64(rows[i, k]) - centre[k]
            sums[k - even] += difference * difference
        squares[i] = np.sum(sums)
