"""The tail of K for large clusters and several kinds of fault: a contour integral without a variable for K.

Of each cluster the polynomials of the safe and of the bad occupancies are evaluated at each angle of each kind; how
many clusters are bad is then added up there, by positive terms. Radii make the wanted coefficient typical of those
placements in which enough clusters are bad, so that no digits cancel however rare these are. Occupancies are looked at
by their numbers, not by masks, and only those with a weight that counts: so clusters may have hundreds of members.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance._angles import Axis, Complexes
from protocols.tolerance._occupancies import (
    FADED,
    Box,
    Cells,
    Size,
    Ways,
    boxed,
    log_tail,
    moments,
    size_of,
    thinned,
    ways,
)
from protocols.tolerance._tilting import MOST_TILT
from protocols.tolerance.binomial import Floats, log_total
from protocols.tolerance.parts import Groups, NotExactError, clusters_of

__all__ = ["Cells", "contour_tail"]

_MOST_POINTS = 30_000_000
_MOST_CLUSTERS = 64
_BLOCK = 2**16
_ACCURACY = 1e-10
_LARGEST_STEP = 20.0
_FAR = 2 * MOST_TILT
_Boxes = Sequence[tuple[int, Box | None, Box | None]]
"""(how many clusters of a size, their safe occupancies, their bad ones)."""


def contour_tail(groups: Groups, n: int, counts: Sequence[int], cells: Cells, most: int) -> float:
    """Return P(K > most and nothing forbidden), relative error below 1e-9: counts[i] >= 1 of n with fault i, uniform.

    Raises: NotExactError where it cannot vouch for the accuracy, or it would take more than some seconds.

    Guarantees:
        It answers to 1e-9 or refuses.
    Source: Cauchy's formula at the saddle point (Good 1957), as in `saddle`, with the sum over K inside.
    """
    m = clusters_of(groups)
    if most + 1 > m:
        return 0.0
    if m > _MOST_CLUSTERS:
        raise NotExactError(f"{m} clusters are too many to add up at each angle")
    sizes = [size_of(size, count, n, counts, cells) for size, count in groups if count]
    target = np.array(counts, dtype=np.float64)
    tilt = _tilt(sizes, target, most)
    height = log_tail(sizes, tilt, most)
    log_bound = height - float(tilt @ target) - log_total(n, tuple(counts))  # Chernoff's
    if log_bound < -MOST_TILT:
        return 0.0
    share = _integral(sizes, tilt, target, most, height)
    return min(1.0, math.exp(min(0.0, log_bound + math.log(share))))


def _tilt(sizes: Sequence[Size], target: Floats, most: int) -> Floats:
    """Newton's method for the radii at which the counts asked for are the mean, given more than `most` bad clusters."""
    tilt = np.zeros(len(target))
    sizes = [
        Size(count=each.count, safe=thinned(each.safe), bad=thinned(each.bad)) for each in sizes
    ]  # any tilt gives the same integral, so a rough one will do
    for _ in range(60):
        height, mean, covariance = moments(sizes, tilt, most)
        if height == -math.inf:
            return tilt
        step = np.linalg.solve(covariance + 1e-9 * np.eye(len(target)), target - mean)
        if float(step @ (target - mean)) < 1e-3:
            return tilt
        step *= min(1.0, _LARGEST_STEP / float(np.abs(step).max()))
        level = height - float(tilt @ target)
        for _ in range(20):
            trial = tilt + step
            if log_tail(sizes, trial, most) - float(trial @ target) <= level + 1e-9:
                break
            step = step / 2
        tilt = tilt + step
        if float(np.abs(tilt).max()) > _FAR:  # so many faults cannot be where they would have to be
            break
    return tilt


def _integral(sizes: Sequence[Size], tilt: Floats, target: Floats, most: int, height: float) -> float:
    """The share of the tilted placements with enough bad clusters that have exactly the counts asked for."""
    boxes = [(each.count, boxed(each.safe, tilt), boxed(each.bad, tilt)) for each in sizes]
    logs = [(each.safe.mass(tilt), each.bad.mass(tilt)) for each in sizes]
    weights = ways(sizes, [s for s, _ in logs], [f for _, f in logs], most)
    spread = np.sqrt(np.maximum(np.diag(moments(sizes, tilt, most)[2]), 0.05))
    axes = [_axis(sizes, boxes, weights, tilt, target, most, height, float(spread[i]), i) for i in range(len(target))]
    points = math.prod(axis.points for axis in axes)
    if math.prod(len(axis.steps) for axis in axes) > _MOST_POINTS:
        raise NotExactError("the grid of the contour integral would be too large")
    total = size = 0.0
    for values, mirrored in _values(boxes, logs, axes, target, most, height):
        total += float((values.real * mirrored).sum())
        size += float((np.abs(values) * mirrored).sum())
    outside = 4 * len(axes) * math.exp(-FADED) * points
    if not (total > 0 and outside + 2.0**-46 * size <= _ACCURACY * total):
        raise NotExactError("the contour integral would lose accuracy")
    return total / points


def _axis(  # noqa: PLR0917 - what an axis depends on
    sizes: Sequence[Size],
    boxes: _Boxes,
    weights: Ways,
    tilt: Floats,
    target: Floats,
    most: int,
    height: float,
    spread: float,
    i: int,
) -> Axis:
    """The angles of one kind that matter, of so many that aliases weigh below exp(-48) (Chernoff)."""
    reach = 0
    for sign in (1.0, -1.0):
        widths: list[float] = []
        for step in (math.sqrt(2 * FADED) / spread * part for part in (0.4, 1.0, 2.0)):
            moved = tilt.copy()
            moved[i] += sign * step
            widths.append((log_tail(sizes, moved, most) - height - sign * step * float(target[i]) + FADED) / step)
        reach = max(reach, math.ceil(min(widths)))
    points = (max(1, reach) + 1) | 1
    steps = np.arange(0 if i == 0 else -(points // 2), points // 2 + 1)
    angles = np.asarray(2 * math.pi / points * steps, dtype=np.float64)
    # log of (how far each polynomial fades at an angle), for each way to have enough bad clusters.
    fades: list[tuple[Floats, Floats]] = []
    for _, safe, bad in boxes:
        fades.append((_fading(safe, i, angles), _fading(bad, i, angles)))
    bound = np.full(len(angles), -np.inf)
    for way, log in weights.items():
        line = np.full(len(angles), log - height)
        for (count, _, _), k, (s, f) in zip(boxes, way, fades, strict=True):
            line = line + (count - k) * s + k * f
        bound = np.logaddexp(bound, line)
    return Axis(steps=steps[bound > -FADED], points=points)


def _fading(box: Box | None, i: int, angles: Floats) -> Floats:
    if box is None:
        return np.zeros(len(angles))
    square = np.maximum(1 - 2 * box.pull(i) * (1 - np.cos(angles)), 1e-300)
    return 0.5 * np.log(square)


def _values(  # noqa: PLR0917 - the integrand's parts
    boxes: _Boxes,
    logs: Sequence[tuple[float, float]],
    axes: Sequence[Axis],
    target: Floats,
    most: int,
    height: float,
) -> Iterator[tuple[Complexes, Floats]]:
    """The integrand in blocks of the first variable's angles, of which only one half is looked at."""
    first, *others = axes
    width = math.prod(len(axis.steps) for axis in others)
    rows = max(1, _BLOCK // max(1, width))
    reduced = [(count, _reduced(safe, others), _reduced(bad, others)) for count, safe, bad in boxes]
    turn: Complexes = np.ones([1] * len(others), dtype=np.complex128)
    for j, axis in enumerate(others):
        wave = np.exp(-2j * math.pi / axis.points * (axis.steps * int(target[j + 1]) % axis.points))
        turn = turn * wave.reshape([-1 if k == j else 1 for k in range(len(others))])
    for start in range(0, len(first.steps), rows):
        steps = first.steps[start : start + rows]
        own = np.exp(-2j * math.pi / first.points * (steps * int(target[0]) % first.points))
        kernel = own.reshape(-1, *[1] * len(others)) * turn
        tails: list[tuple[int, Complexes | float, Complexes | float, float, float]] = []
        for (count, safe, bad), (s, f) in zip(reduced, logs, strict=True):
            tails.append((count, _waved(safe, steps, first.points), _waved(bad, steps, first.points), s, f))
        values = kernel * _more_than(tails, most, height)
        mirrored = np.where(steps == 0, 1.0, 2.0).reshape(-1, *[1] * len(others))
        yield values, mirrored


def _reduced(box: Box | None, others: Sequence[Axis]) -> tuple[Complexes, int] | None:
    """The table transformed along all variables but the first."""
    if box is None:
        return None
    table: Complexes = box.table.astype(np.complex128)
    for j, axis in enumerate(others):
        values = np.arange(box.lowest[j + 1], box.lowest[j + 1] + box.table.shape[j + 1], dtype=np.float64)
        table = np.tensordot(table, np.exp(1j * np.multiply.outer(values, axis.angles)), axes=(1, 0))
    return table, box.lowest[0]


def _waved(reduced: tuple[Complexes, int] | None, steps: NDArray[np.int64], points: int) -> Complexes | float:
    if reduced is None:
        return 0.0
    table, lowest = reduced
    values = np.arange(lowest, lowest + len(table), dtype=np.int64)
    waves = np.exp(2j * math.pi / points * (np.multiply.outer(steps, values) % points))
    return np.tensordot(waves, table, axes=(1, 0))


def _more_than(
    parts: Sequence[tuple[int, Complexes | float, Complexes | float, float, float]], most: int, height: float
) -> Complexes:
    """The sum over all ways to have more than `most` bad clusters, over its value without angles."""
    # Rows by k, the last one for more, in units of exp(k unit): rare as bad clusters may be, nothing underflows.
    unit = min(0.0, max(f - s for _, _, _, s, f in parts))
    rows: list[Complexes | float] = [1.0, *[0.0] * (most + 1)]
    offset = (most + 1) * unit
    for count, safe, bad, s, f in parts:
        peak = max(s, f - unit)
        one, other = safe * math.exp(s - peak), bad * math.exp(f - unit - peak)
        offset += count * peak
        for _ in range(count):
            grown = [row * one for row in rows]
            for k in range(most + 1):
                grown[k + 1] = grown[k + 1] + rows[k] * other
            grown[-1] = grown[-1] + rows[-1] * other * math.exp(unit)
            rows = grown
    return np.asarray(rows[-1] * math.exp(offset - height), dtype=np.complex128)
