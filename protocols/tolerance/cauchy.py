"""The contour integral: P(some cluster is bad) in about a millisecond, at a million processes and beyond."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance.binomial import Floats, log_total
from protocols.tolerance.parts import NotExactError, Part, check_counts, is_monotone, log_weights
from protocols.tolerance.union import any_bad_bounds

__all__ = ["Complexes", "cauchy_any_bad"]

Complexes = NDArray[np.complex128]
# Below this the union bound U is itself the answer: U - U^2 / 2 <= P <= U, a relative error of at most 5e-11.
_UNION_IS_ENOUGH = 1e-10
_ACCURACY = 1e-10
_FADED = 48.0  # exp(-48) = 1e-21
# Bernstein's bound on what lies 64 standard deviations off, exp(-90) at the least, and ten digits of room.
_LEAST = 1e-25
_MOST_TERMS = 30_000_000


def cauchy_any_bad(parts: Sequence[Part], n: int, faulty: int) -> float:
    """Return P(some cluster is bad), relative error below 1e-9; sets without gaps below 1e-10 by the union bound.

    Time is O(standard deviation of the total * bad values), whatever the number of clusters of a size.
    Raises: NotExactError where the terms cancel so much that the accuracy is lost (few, large clusters; rare sets
    with gaps).

    Guarantees:
        It answers to 1e-9 or refuses.
    Source: Cauchy's coefficient formula on the circle of radius 1 after tilting by f / n; design notes 2.4.
    """
    check_counts(parts, n, (faulty,))
    if not 0 < faulty < n:
        held = [part.bad[0 if faulty == 0 else part.size] for part in parts]
        return 1.0 if any(held) else 0.0
    if all(is_monotone(part.bad) for part in parts):
        upper = any_bad_bounds(parts, n, (faulty,)).upper
        if upper < _UNION_IS_ENOUGH:
            return upper
    steps, points = _contour(n, faulty, _pull(parts, n, faulty))
    if len(steps) * max(part.size for part in parts) > _MOST_TERMS:
        raise NotExactError(f"the contour integral would be too long at n = {n}, faulty = {faulty}")
    theta = 2 * math.pi * steps / points
    p = faulty / n
    base = np.log1p(p * np.expm1(1j * theta))
    # log of the product of safe / full, at each angle.
    sums = np.zeros(len(theta), dtype=np.complex128)
    for part in parts:
        sums += part.count * _log_safe_share(part, log_weights(part.size, n, (faulty,)), theta, base)
    everything = np.exp(n * base)
    near = np.abs(sums) < 1
    safe = np.exp(n * base + sums)
    failing = np.where(near, -everything * np.expm1(np.where(near, sums, 0)), everything - safe)
    # Far from 1 the two are formed apart, each with the rounding of its phase.
    sizes = np.where(near, np.abs(failing), (np.abs(everything) + np.abs(safe)) * (1 + np.abs(n * base)))
    turn = np.exp(-2j * math.pi * (steps * faulty % points) / points)
    terms = turn * failing * np.where(steps == 0, 1.0, 2.0)
    return _checked(terms, sizes, points, n, faulty)


def _pull(parts: Sequence[Part], n: int, faulty: int) -> float:
    """The product of the safe polynomials is below exp(-pull (1 - cos theta)), whatever their gaps.

    With w the weights of one, 1 - |S|^2 >= 2 sum w_x w_{x+1} (1 - cos theta): neighbours are out of step. Where
    only every other value is safe there are none, and the product does come back, at pi.
    """
    pull = 0.0
    for part in parts:
        weights: Floats = np.where(part.safe, np.exp(log_weights(part.size, n, (faulty,))), 0.0)
        pull += part.count * float(weights[1:] @ weights[:-1])
    return pull


def _contour(n: int, faulty: int, pull: float) -> tuple[NDArray[np.int64], int]:
    # The binomial law of the total has standard deviation sigma: 64 of them off, aliases weigh below exp(-90), and
    # an angle of 14 / sigma damps it by exp(-98). Conjugate symmetry leaves the upper half; N odd has no middle.
    sigma = math.sqrt(faulty * (n - faulty) / n)
    points = min(n + 1, 64 * math.ceil(sigma)) | 1
    reach = math.acos(1 - _FADED / pull) if 2 * pull > _FADED else math.pi
    last = min(points // 2, math.ceil(points * max(14 / sigma, reach) / (2 * math.pi)))
    return np.arange(last + 1), points


def _log_safe_share(part: Part, logs: Floats, theta: Floats, base: Complexes) -> Complexes:
    """log(safe / full) of one cluster: log(1 - bad / full) where that is small, else from the safe terms."""
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        share = _waves(np.flatnonzero(part.bad), logs, theta) * np.exp(-part.size * base)
        small = np.abs(share) < 0.5
        out = _log1p(-np.where(small, share, 0))
        safe = _waves(np.flatnonzero(part.safe), logs, theta[~small])
        # A product that vanishes somewhere is exp(-inf): a real logarithm low enough, as -inf has no phase.
        out[~small] = np.where(safe == 0, -1e6, np.log(np.where(safe == 0, 1, safe)) - part.size * base[~small])
    return out


def _waves(values: NDArray[np.int64], logs: Floats, theta: Floats) -> Complexes:
    values = values[logs[values] > -745.0]  # exp of less is 0
    return np.exp(1j * np.multiply.outer(theta, values)) @ np.exp(logs[values])


def _log1p(z: Complexes) -> Complexes:
    # numpy's complex log1p forms 1 + z and loses small z.
    real = 0.5 * np.log1p(z.real * (2 + z.real) + z.imag**2)
    return real + 1j * np.arctan2(z.imag, 1 + z.real)


def _checked(terms: Complexes, sizes: Floats, points: int, n: int, faulty: int) -> float:
    total = float(terms.real.sum())
    whole = math.exp(log_total(n, (faulty,)))
    rounding = 2.0**-50 * 2 * float(sizes.sum())
    if not (math.isfinite(total) and total > 0 and rounding <= _ACCURACY * total):
        raise NotExactError(f"the contour integral loses accuracy at n = {n}, faulty = {faulty}")
    found = min(1.0, total / points / whole)
    if found < _LEAST:
        raise NotExactError(f"the contour integral cannot tell {found:.3g} from its aliases")
    return found
