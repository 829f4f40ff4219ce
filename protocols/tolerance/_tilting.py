"""The tilted law of (faults, K), and by Newton's method the tilt at which what is asked about is typical."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance.binomial import Floats
from protocols.tolerance.parts import NotExactError, Part, log_weights

__all__ = ["MOST_TILT", "Law", "Tilted", "law_of", "newton", "unreachable"]

_MOST_WEIGHTS = 3_000_000
MOST_TILT = 745.0
"""The logarithm of the smallest double: a tilt beyond it belongs to a probability that is 0 as a double."""


@dataclass(frozen=True, kw_only=True)
class Law:
    """One part's tilted occupancies: points of shape (values, kinds + 1), the last 1 where bad; log weights; count."""

    points: Floats
    logs: Floats
    count: int
    size: int


@dataclass(frozen=True, kw_only=True)
class Tilted:
    """The whole tilted law: logarithm of its mass, means and covariance of (faults of each kind, K)."""

    log_mass: float
    mean: Floats
    covariance: Floats


def law_of(part: Part, n: int, counts: Sequence[int]) -> Law:
    """Return the occupancies that are not forbidden; NotExactError for too many of them."""
    if (part.size + 1) ** len(counts) > _MOST_WEIGHTS:
        raise NotExactError(f"clusters of {part.size} with {len(counts)} kinds of fault have too many occupancies")
    logs = log_weights(part.size, n, counts)
    held = np.nonzero((part.safe | part.bad) & (logs > -np.inf))
    points = np.stack([*held, part.bad[held]], axis=-1).astype(np.float64)
    return Law(points=points, logs=logs[held], count=part.count, size=part.size)


def unreachable(laws: Sequence[Law], target: Floats) -> bool:
    """Whether too few or too many faulty processes exist for that many bad clusters: the tail is exactly 0."""
    wanted = int(target[-1])
    if wanted > sum(law.count for law in laws if law.points[:, -1].any()):
        return True
    return any(
        _least(laws, axis, wanted, sign) > sign * target[axis] for axis in range(len(target) - 1) for sign in (1, -1)
    )


def _least(laws: Sequence[Law], axis: int, wanted: int, sign: int) -> float:
    """The smallest sum of sign * x over all clusters, at least `wanted` of them bad."""
    total = 0.0
    extra: list[tuple[float, int]] = []
    for law in laws:
        values, bad = sign * law.points[:, axis], law.points[:, -1] > 0
        free = float(values.min())
        total += law.count * free
        if bad.any():
            extra.append((float(values[bad].min()) - free, law.count))
    for cost, count in sorted(extra):
        taken = min(wanted, count)
        total, wanted = total + taken * cost, wanted - taken
    return total


def _tilted(laws: Sequence[Law], tilt: Floats) -> Tilted:
    kinds = len(tilt)
    log_mass, mean, covariance = 0.0, np.zeros(kinds), np.zeros((kinds, kinds))
    for law in laws:
        logs = law.logs + law.points @ tilt
        peak = float(logs.max())
        weights = np.exp(logs - peak)
        mass = float(weights.sum())
        weights /= mass
        centre = weights @ law.points
        spread = law.points - centre
        log_mass += law.count * (peak + math.log(mass))
        mean += law.count * centre
        covariance += law.count * (spread.T @ (weights[:, None] * spread))
    return Tilted(log_mass=log_mass, mean=mean, covariance=covariance)


def newton(
    laws: Sequence[Law], target: Floats, free: NDArray[np.int64], settled: Callable[[Tilted, Floats], float | None]
) -> tuple[Tilted, Floats, float | None]:
    """Return the law at a tilt near the saddle, that tilt, and the answer where a bound on the way settles it."""
    # Any tilt gives the same integral; the saddle only keeps digits, so a rough one is enough.
    tilt = np.zeros(len(target))
    law = _tilted(laws, tilt)
    grid, diagonal = (free[:, None], free), np.arange(len(free))
    for _ in range(200):
        gap = (target - law.mean)[free]
        damped = law.covariance[grid]
        damped[diagonal, diagonal] *= 1 + 1e-9
        damped[diagonal, diagonal] += 1e-12
        step: Floats = np.linalg.solve(damped, gap).astype(np.float64)
        if float(gap @ step) < 1e-6:
            break
        # At most a factor of e^3 in any variable at a time: far from the saddle the quadratic model is blind.
        step *= min(1.0, 3.0 / float(np.abs(step).max()))
        tilt, law = _descend(laws, target, tilt, law, free, step)
        answer = settled(law, tilt)
        if answer is not None:
            return law, tilt, answer
        if float(np.abs(tilt).max()) >= MOST_TILT:
            break
    return law, tilt, settled(law, tilt)


def _descend(  # noqa: PLR0917 - one step of the loop above
    laws: Sequence[Law], target: Floats, tilt: Floats, law: Tilted, free: NDArray[np.int64], step: Floats
) -> tuple[Floats, Tilted]:
    height = law.log_mass - float(tilt @ target)
    for _ in range(30):
        trial = tilt.copy()
        trial[free] += step
        moved = _tilted(laws, trial)
        if moved.log_mass - float(trial @ target) <= height + 1e-12 * abs(height):
            return trial, moved
        step = step / 2
    return tilt, law
