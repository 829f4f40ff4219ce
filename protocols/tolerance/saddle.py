"""The tail of K, the number of bad clusters, at any n: a contour integral through the saddle point.

The generating function prod (g_j(z) + u gbar_j(z)) is integrated over circles in u and in every z whose radii
make the wanted coefficient typical, so that no digits cancel, however small the probability.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance._angles import Axis, Complexes, axis_of, kernel_of
from protocols.tolerance._tilting import MOST_TILT, Law, Tilted, law_of, newton, unreachable
from protocols.tolerance.binomial import Floats, log_total
from protocols.tolerance.parts import NotExactError, Part, check_counts

__all__ = ["saddle_tail"]

_MOST_POINTS = 20_000_000
_BLOCK = 2**17  # points that are evaluated at a time: some MiB
# A grid below this is not worth a closer look at which of its angles matter, nor a table beyond that one.
_FEW_POINTS = 200_000
_MOST_DAMPED = 10**9
# What is left of the tilted law outside the sampled window, as a logarithm, at first: exp(-48) = 1e-21.
_FADED = 48.0
_LEAST_FADED = 30.0
_ACCURACY = 1e-10
_NOTHING = 40.0  # exp(-40) = 4e-18


def saddle_tail(parts: Sequence[Part], n: int, counts: Sequence[int], most: int, *, log_ways: float = 0.0) -> float:
    """Return P(K > most and nothing forbidden) to a relative error below 1e-9, down to 1e-300.

    counts[i] >= 1 of the n processes have fault i, drawn uniformly without overlap; most >= 0. `log_ways`: the
    logarithm of how many choices of which clusters are in which part exclude each other and are all meant.
    Raises: NotExactError where it cannot vouch for the accuracy or the grid would be too large.

    Guarantees:
        It answers to 1e-9 or refuses.
    Source: Cauchy's formula at the saddle point (Good 1957, "Saddle-point methods for the multinomial
        distribution"), with the sum over k > most taken inside the integral.
    """
    check_counts(parts, n, counts)
    laws = [law_of(part, n, counts) for part in parts if part.count]
    if not all(len(law.logs) for law in laws):
        return 0.0
    target = np.array([*counts, most + 1], dtype=np.float64)
    if unreachable(laws, target):
        return 0.0
    whole = log_total(n, tuple(counts)) - log_ways
    complete = all(part.complete for part in parts) and not log_ways

    def settled(law: Tilted, tilt: Floats) -> float | None:
        """Chernoff's bound at any tilt: on the tail for v >= 0, on the rest of a complete law for v < 0."""
        height = law.log_mass - float(tilt @ target) - whole
        if tilt[-1] < 0:
            return 1.0 if complete and height + tilt[-1] < -_NOTHING else None
        return 0.0 if height < -MOST_TILT else None

    law, tilt, answer = newton(laws, target, np.arange(len(target)), settled)
    if answer is None and tilt[-1] < 0:
        # The tail is most of the mass: it is summed where it lies, without a tilt in u. The totals still have to be
        # met.
        law, tilt, answer = newton(laws, target, np.arange(len(target) - 1), settled)
    if answer is not None:
        return answer
    log_scale = law.log_mass - float(tilt @ target) - whole
    share = _share(laws, law, tilt, target)
    return min(1.0, math.exp(min(0.0, log_scale + math.log(share))))


def _share(laws: Sequence[Law], law: Tilted, tilt: Floats, target: Floats) -> float:
    """The integral, as coarse as a normal law's would need it to be; where that does not suffice, a finer one."""
    if len(target) <= 2:  # a small grid in any case
        return _integral(laws, law, tilt, target, _FADED)
    log_determinant = float(np.linalg.slogdet(law.covariance + 1e-6 * np.eye(len(target)))[1])
    typical = 0.5 * (len(target) * math.log(2 * math.pi) + max(0.0, log_determinant))
    faded = min(_FADED, max(_LEAST_FADED, typical - math.log(_ACCURACY) + 6.0))
    try:
        return _integral(laws, law, tilt, target, faded)
    except NotExactError:
        if faded == _FADED:
            raise
        return _integral(laws, law, tilt, target, _FADED)


def _reach(laws: Sequence[Law], law: Tilted, tilt: Floats, direction: Floats, faded: float) -> tuple[int, int]:
    """The range of direction @ (faults, K), but for exp(-faded) of the tilted law at each end (Chernoff)."""
    centre = float(law.mean @ direction)
    deviation = math.sqrt(max(float(direction @ law.covariance @ direction), 1e-6))
    # The best h of a normal law, and some for laws with a few large or rare steps.
    normal = math.sqrt(2 * faded) / deviation
    sizes = np.array([normal, 0.5 * normal, 2.0, 8.0, 32.0])
    steps = np.concatenate([-sizes, sizes])
    grown = _log_masses(laws, tilt + steps[:, None] * direction) - law.log_mass - steps * centre
    widths = (grown + faded) / np.abs(steps)
    return math.floor(centre - float(widths[:5].min())), math.ceil(centre + float(widths[5:].min()))


def _log_masses(laws: Sequence[Law], tilts: Floats) -> Floats:
    """The logarithm of the mass at each of several tilts."""
    total = np.zeros(len(tilts))
    for law in laws:
        logs = law.logs + tilts @ law.points.T
        most = logs.max(axis=1)
        total += law.count * (most + np.log(np.exp(logs - most[:, None]).sum(axis=1)))
    return total


def _damped(axes: Sequence[Axis], laws: Sequence[Law], tilt: Floats, slope: int, faded: float) -> list[Axis]:
    """The axes without the angles at which the integrand is surely below exp(-faded).

    Summed along lines of one variable first, the others' phases are of absolute value 1: whatever these are, |phi| is
    at most the sum over the lines of the absolute values of their own transforms.
    """
    fading = [np.zeros(len(axis.steps)) for axis in axes]
    for law in laws:
        table, lowest = _table(law, tilt, slope)
        for i, axis in enumerate(axes):
            if table.size * len(axis.steps) > _MOST_DAMPED:
                continue
            lines = np.moveaxis(table, i, -1).reshape(-1, table.shape[i])
            lines = lines[lines.any(axis=1)]
            values = np.arange(lowest[i], lowest[i] + table.shape[i], dtype=np.float64)
            most = np.zeros(len(axis.steps))
            waves: Complexes = np.exp(1j * np.multiply.outer(values, axis.angles))
            for start in range(0, len(lines), 4096):
                most += np.abs(lines[start : start + 4096] @ waves).sum(axis=0)
            with np.errstate(divide="ignore"):
                fading[i] += law.count * np.log(most)
    return [Axis(steps=axis.steps[fade > -faded], points=axis.points) for axis, fade in zip(axes, fading, strict=True)]


def _integral(laws: Sequence[Law], law: Tilted, tilt: Floats, target: Floats, faded: float) -> float:
    """Return sum over k >= target of P_tilted(faults = f, K = k) e^{-v (k - target)}."""
    kinds = len(target) - 1
    slope = _slope(law.covariance)
    bases = np.eye(kinds + 1)
    bases[0, -1] = -slope
    reaches = [_reach(laws, law, tilt, basis, faded) for basis in bases]
    m = sum(part.count for part in laws)
    ks = _tail_values(int(target[-1]), min(m, reaches[-1][1]), float(tilt[-1]))
    # The window of each variable holds its law and the values that are read: then no alias falls on them.
    reads = [[int(target[i]) for _ in ks] for i in range(kinds)] + [[int(k) for k in ks]]
    reads[0] = [int(target[0]) - slope * int(k) for k in ks]
    sizes = [max(high, *read) - min(low, *read) + 1 for (low, high), read in zip(reaches, reads, strict=True)]
    pulls = [*_pulls(laws, tilt, kinds), 0.0]
    axes = [axis_of(size, pull, faded, half=i == 0) for i, (size, pull) in enumerate(zip(sizes, pulls, strict=True))]
    points = math.prod(axis.points for axis in axes)
    if math.prod(len(axis.steps) for axis in axes) > _FEW_POINTS:
        axes = _damped(axes, laws, tilt, slope, faded)
    if math.prod(len(axis.steps) for axis in axes) > _MOST_POINTS:
        raise NotExactError("the grid of the saddle-point integral would be too large")
    total, size = _sum_over(laws, axes, tilt, slope, target, ks)
    # Beside the angles left out, what lies beyond the windows falls on the values that are read.
    weights = float(np.exp(-float(tilt[-1]) * (ks - ks[0])).sum())
    outside = math.exp(-faded) * points * (weights + 2 * len(axes))
    if not (total > 0 and outside + 2.0**-48 * size <= _ACCURACY * total):
        raise NotExactError("the saddle-point integral would lose accuracy")
    return total / points


def _pulls(laws: Sequence[Law], tilt: Floats, kinds: int) -> list[float]:
    """For each kind of fault, how strongly pairs of occupancies that differ by one of it damp the integrand.

    1 - |phi|^2 is the sum over pairs of w w' (1 - cos(difference of their phases)), all of it non-negative.
    """
    pulls = [0.0] * kinds
    for law in laws:
        table, _ = _table(law, tilt, 0)
        for i in range(kinds):
            moved = np.moveaxis(table, i, 0)
            pulls[i] += law.count * float(np.sum(moved[1:] * moved[:-1]))
    return pulls


def _slope(covariance: Floats) -> int:
    # Where bad clusters use up the faults, the two move together and the integrand is a thin ridge across the
    # grid; in x - slope K and K, as good a pair of whole numbers, it is a hill along the axes.
    variance = float(covariance[-1, -1])
    return round(float(covariance[0, -1]) / variance) if variance > 1e-9 else 0


def _tail_values(wanted: int, high: int, tilt: float) -> NDArray[np.int64]:
    # Beyond `high` nothing is left of the law; beyond e^-58 = 1e-25 of the first nothing is left of the weights.
    if tilt > 0:
        high = min(high, wanted + math.ceil(58.0 / tilt))
    return np.arange(wanted, max(wanted, high) + 1)


def _sum_over(  # noqa: PLR0917 - the integrand's parts
    laws: Sequence[Law], axes: Sequence[Axis], tilt: Floats, slope: int, target: Floats, ks: NDArray[np.int64]
) -> tuple[float, float]:
    """The sum of the integrand, and the sum of its absolute values, block by block of the first variable."""
    first, *others = axes
    rows = max(1, _BLOCK // math.prod(len(axis.steps) for axis in others))
    tables = [(law.count, *_table(law, tilt, slope)) for law in laws]
    total = size = 0.0
    for start in range(0, len(first.steps), rows):
        block = [Axis(steps=first.steps[start : start + rows], points=first.points), *others]
        part, absolute = _sum_of_block(tables, block, kernel_of(block, target, slope, ks, float(tilt[-1])))
        total, size = total + part, size + absolute
    return total, size


def _sum_of_block(
    tables: Sequence[tuple[int, Floats, list[int]]], axes: Sequence[Axis], kernel: Complexes
) -> tuple[float, float]:
    values = kernel * np.ones([len(axis.steps) for axis in axes])
    for count, weights, lowest in tables:
        values *= _power(_transform(weights, lowest, axes), count)
    mirror = np.where(axes[0].steps == 0, 1.0, 2.0).reshape(-1, *[1] * (len(axes) - 1))
    sizes = np.abs(values) * mirror
    return float(np.sum(values.real * mirror)), float(sizes.sum())


def _power(base: Complexes, exponent: int) -> Complexes:
    """By squaring: several times faster than through logarithms, and as accurate; nothing is larger than 1."""
    result: Complexes | None = None
    while True:
        if exponent & 1:
            result = base if result is None else result * base
        exponent >>= 1
        if not exponent:
            return np.ones_like(base) if result is None else result
        base = base * base


def _transform(weights: Floats, lowest: Sequence[int], axes: Sequence[Axis]) -> Complexes:
    """The tilted characteristic function of one cluster, on the grid."""
    table: Complexes = weights.astype(np.complex128)
    for axis, low, cells in zip(axes, lowest, weights.shape, strict=True):
        values = np.arange(low, low + cells, dtype=np.float64)
        waves: Complexes = np.exp(1j * np.multiply.outer(values, axis.angles))
        table = np.tensordot(table, waves, axes=(0, 0))  # each step moves the new axis to the end
    return table


def _table(law: Law, tilt: Floats, slope: int) -> tuple[Floats, list[int]]:
    """The tilted probabilities of one cluster's (faults less slope K, .., K), and the lowest value of each."""
    logs = law.logs + law.points @ tilt
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    # What is left out weighs less than exp(-_FADED) of all placements, as outside the window.
    kept = weights > math.exp(-_FADED) / (law.count * len(weights))
    places = law.points[kept].astype(np.int64)
    places[:, 0] -= slope * places[:, -1]
    lowest, highest = places.min(axis=0), places.max(axis=0)
    table = np.zeros([int(cells) for cells in highest - lowest + 1])
    table[tuple((places - lowest).T)] = weights[kept]
    return table, [int(low) for low in lowest]
