"""Weights of placements in parts that are fine or bad, multiplied up by additions of non-negative terms only.

Each part has one axis for each kind of fault; what is fine and what is bad may be weighted by any probability, as
where it depends on draws beyond the numbers of faulty members.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from protocols.tolerance.binomial import Floats, log_total

__all__ = ["Weights", "grouped", "leaf", "share_bad", "shares_bad"]

_NOTHING = -1e9
"""The logarithm that stands for a scale of 0, so that sums of scales stay numbers."""


class Weights(NamedTuple):
    """Placements of x = 0, 1, .. faulty of each kind in a part that is fine, or bad (times exp(scale))."""

    fine: Floats
    bad: Floats
    scale: float


def leaf(logs: Floats, fine: Floats, bad: Floats, counts: Sequence[int]) -> Weights:
    """Return the weights of one cluster: the logarithm of each occupancy's weight, and how likely it is fine or bad.

    `counts` are the most faulty processes of each kind that can be anywhere.
    """
    window = tuple(slice(0, count + 1) for count in counts)
    with np.errstate(divide="ignore"):
        wrong = logs[window] + np.log(bad[window].astype(np.float64))
    scale = float(wrong.max())
    good = np.exp(logs[window]) * fine[window]
    return Weights(good, np.exp(wrong - scale) if scale > -math.inf else np.zeros_like(logs[window]), _finite(scale))


def _finite(scale: float) -> float:
    return scale if scale > -math.inf else _NOTHING


def grouped(parts: Sequence[tuple[Weights, int]], most: int, counts: Sequence[int]) -> Weights:
    """Return the weights of a group that is bad where more than `most` of its parts are (parts, and how many of each).

    Guarantees:
        Fine and bad weights add up to those of all placements, where those of the parts do.
    """
    last = max(most, -1) + 1
    one = np.ones((1,) * len(counts))
    # rows[k] for k bad parts, the last row for more than `most`, each with its own scale.
    rows: list[Floats] = [one] + [np.zeros_like(one) for _ in range(last)]
    scales = [0.0, *[-math.inf] * last]
    for part, count in parts:
        for _ in range(count):
            rows, scales = _joined(rows, scales, part, last, counts)
    fine, height = _total(list(zip(rows[:last], scales[:last], strict=True)), len(counts))
    whole = fine * math.exp(height) if height > -math.inf else np.zeros_like(one)
    shape = tuple(map(max, whole.shape, rows[last].shape))
    return Weights(_padded(whole, shape), _padded(rows[last], shape), _finite(scales[last]))


def _joined(
    rows: list[Floats], scales: list[float], part: Weights, last: int, counts: Sequence[int]
) -> tuple[list[Floats], list[float]]:
    grown: list[Floats] = []
    sizes: list[float] = []
    for k in range(last + 1):
        terms: list[tuple[Floats, float]] = []
        if scales[k] > -math.inf:
            terms.append((_product(rows[k], part.fine, counts), scales[k]))
        # More than enough stays more than enough.
        sources = [k - 1, k] if k == last else [k - 1]
        terms += [
            (_product(rows[i], part.bad, counts), scales[i] + part.scale)
            for i in sources
            if i >= 0 and scales[i] > -math.inf and part.scale > _NOTHING / 10
        ]
        row, scale = _total(terms, len(counts))
        grown.append(row)
        sizes.append(scale)
    return grown, sizes


def _product(a: Floats, b: Floats, counts: Sequence[int]) -> Floats:
    """The coefficients of a product of polynomials, up to the degrees `counts`."""
    if len(counts) == 1:
        return np.convolve(a, b)[: counts[0] + 1]
    small, large = (a, b) if a.size <= b.size else (b, a)
    shape = [min(count + 1, i + j - 1) for count, i, j in zip(counts, a.shape, b.shape, strict=True)]
    out = np.zeros(shape)
    for cell in zip(*np.nonzero(small), strict=True):
        room = [min(length, size - at) for at, length, size in zip(cell, large.shape, shape, strict=True)]
        if min(room) > 0:
            into = tuple(slice(at, at + length) for at, length in zip(cell, room, strict=True))
            out[into] += small[cell] * large[tuple(slice(0, length) for length in room)]
    return out


def _padded(row: Floats, shape: tuple[int, ...]) -> Floats:
    out = np.zeros(shape)
    out[tuple(slice(0, length) for length in row.shape)] = row
    return out


def _total(terms: Sequence[tuple[Floats, float]], kinds: int) -> tuple[Floats, float]:
    """The sum of arrays with logarithmic scales, scaled to a largest entry of 1."""
    held = [(row, scale) for row, scale in terms if scale > -math.inf and row.max(initial=0.0) > 0]
    if not held:
        return np.zeros((1,) * kinds), -math.inf
    top = max(scale for _, scale in held)
    out = np.zeros(np.max([row.shape for row, _ in held], axis=0))
    for row, scale in held:
        out[tuple(slice(0, length) for length in row.shape)] += row * math.exp(scale - top)
    most = float(out.max())
    return (out / most, top + math.log(most)) if most > 0 else (np.zeros((1,) * kinds), -math.inf)


def share_bad(whole: Weights, n: int, counts: Sequence[int]) -> float:
    """Return how likely the whole of n processes is bad, with exactly `counts` faulty of each kind.

    The weights must be those of members that are faulty independently, counts / n each.
    """
    return _share(whole, tuple(counts), log_total(n, tuple(counts)))


def _share(whole: Weights, at: tuple[int, ...], log_of_all: float) -> float:
    inside = all(i < length for i, length in zip(at, whole.bad.shape, strict=True))
    bad = float(whole.bad[at]) if inside else 0.0
    return 0.0 if bad == 0.0 else math.exp(min(0.0, math.log(bad) + whole.scale - log_of_all))


def shares_bad(whole: Weights, logs_of_all: Floats) -> Floats:
    """Return how likely the whole is bad for each number of faulty processes 0, 1, .., of one kind.

    logs_of_all[f] is the logarithm of the weight of all placements of f.
    """
    return np.array(
        [_share(whole, (f,), log) if log > -math.inf else 0.0 for f, log in enumerate(logs_of_all.tolist())]
    )
