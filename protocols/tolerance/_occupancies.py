"""Clusters of one size by their occupancies: weights of the safe and of the bad ones, tilted, thinned and boxed."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance.binomial import Floats, log_binomial
from protocols.tolerance.parts import Mask, NotExactError

__all__ = [
    "FADED",
    "LIGHT",
    "Box",
    "Cells",
    "Size",
    "Ways",
    "boxed",
    "log_tail",
    "moments",
    "size_of",
    "thinned",
    "ways",
]

Counts = NDArray[np.int64]
Cells = Callable[[int, Sequence[Counts]], tuple[Mask, Mask]]
"""(size, faulty members of each kind) -> which occupancies are safe, and which are bad."""
Ways = dict[tuple[int, ...], float]
"""How many clusters of each size are bad -> logarithm of its weight."""
_MOST_CELLS = 4_000_000
FADED = 48.0
LIGHT = -1500.0
"""A weight of exp(-1500) is nothing beside 1e-300, tilted or not."""
_MOST_TILTED = 40_000
_USED_UP = 1e-13  # what rounding leaves of a mass of which nobody is left


@dataclass(frozen=True, kw_only=True)
class Side:
    """The safe or the bad occupancies of one size: faulty members (values, kinds), and logarithms of weights."""

    points: Floats
    logs: Floats

    def at(self, tilt: Floats) -> tuple[float, Floats, Floats]:
        """The logarithm of the tilted mass, its mean and its covariance."""
        kinds = int(self.points.shape[1])
        if not len(self.logs):
            return -math.inf, np.zeros(kinds), np.zeros((kinds, kinds))
        logs = self.logs + self.points @ tilt
        peak = float(logs.max())
        weights: Floats = np.exp(logs - peak)
        mass = float(weights.sum())
        mean = np.array([float(weights @ column) / mass for column in self.points.T])
        spread: Floats = self.points - mean
        covariance: Floats = spread.T @ (spread * (weights / mass)[:, None])
        return peak + math.log(mass), mean, covariance

    def mass(self, tilt: Floats) -> float:
        """The logarithm of the tilted mass."""
        if not len(self.logs):
            return -math.inf
        logs = self.logs + self.points @ tilt
        peak = float(logs.max())
        return peak + math.log(float(np.exp(logs - peak).sum()))


def thinned(side: Side) -> Side:
    """Return one of every few occupancies, heavier by as much: enough to find a tilt by."""
    step = -(-len(side.logs) // _MOST_TILTED) if len(side.logs) else 1
    step += step % 2 == 0  # in step with no axis of even length
    return Side(points=side.points[::step], logs=side.logs[::step] + math.log(step))


@dataclass(frozen=True, kw_only=True)
class Size:
    """Clusters of one size: how many, and their safe and bad occupancies."""

    count: int
    safe: Side
    bad: Side


def size_of(size: int, count: int, n: int, counts: Sequence[int], cells: Cells) -> Size:
    """Return the occupancies of clusters of a size, but those of no weight; NotExactError for too many."""
    lengths = [min(size, number) + 1 for number in counts]
    if math.prod(lengths) > _MOST_CELLS:
        raise NotExactError(f"clusters of {size} with {len(counts)} kinds of fault have too many occupancies")
    axes = [axis.reshape(-1) for axis in np.indices(lengths)]
    inside = sum(axes) <= size
    held = [np.asarray(axis[inside], dtype=np.int64) for axis in axes]
    safe, bad = cells(size, held)
    logs = _log_weights(size, n, counts, held)
    points = np.stack(held, axis=-1).astype(np.float64)

    def side(mask: Mask) -> Side:
        kept = mask & (logs > LIGHT)
        return Side(points=points[kept], logs=logs[kept])

    return Size(count=count, safe=side(safe), bad=side(bad))


def _log_weights(size: int, n: int, counts: Sequence[int], held: Sequence[Counts]) -> Floats:
    """As parts.log_weights, at these occupancies: one kind after the other, each from a table by how many are left."""
    logs, left, mass = np.zeros(len(held[0])), np.full(len(held[0]), size), 1.0
    members = np.arange(size + 1.0)[:, None]
    for x, number in zip(held, counts, strict=True):
        table = log_binomial(np.arange(min(size, number) + 1.0)[None, :], members, min(1.0, number / n / mass))
        logs, left, mass = logs + table[left, x], left - x, mass - number / n
        mass = max(mass, _USED_UP)
    return logs


def ways(sizes: Sequence[Size], safe: Sequence[float], bad: Sequence[float], most: int) -> Ways:
    """The logarithm of the weight of each way to have more than `most` bad clusters: how many of each size."""
    terms: Ways = {}
    for way in np.ndindex(*(each.count + 1 for each in sizes)):
        if sum(way) <= most:
            continue
        log = 0.0
        for each, k, s, f in zip(sizes, way, safe, bad, strict=True):
            log += math.lgamma(each.count + 1) - math.lgamma(k + 1) - math.lgamma(each.count - k + 1)
            log += (k * f if k else 0.0) + ((each.count - k) * s if each.count > k else 0.0)
        if log > -math.inf:
            terms[way] = log
    return terms


def log_tail(sizes: Sequence[Size], tilt: Floats, most: int) -> float:
    """Return the logarithm of the tilted weight of more than `most` bad clusters."""
    terms = ways(sizes, [s.safe.mass(tilt) for s in sizes], [s.bad.mass(tilt) for s in sizes], most)
    return _log_sum(list(terms.values()))


def _log_sum(logs: Sequence[float]) -> float:
    top = max(logs, default=-math.inf)
    return top if top == -math.inf else top + math.log(math.fsum(math.exp(log - top) for log in logs))


def moments(sizes: Sequence[Size], tilt: Floats, most: int) -> tuple[float, Floats, Floats]:
    """Return that, and the mean and the covariance of the faulty of each kind, given more than `most` bad clusters."""
    safe, bad = [each.safe.at(tilt) for each in sizes], [each.bad.at(tilt) for each in sizes]
    terms = ways(sizes, [s[0] for s in safe], [f[0] for f in bad], most)
    height = _log_sum(list(terms.values()))
    kinds = len(tilt)
    mean, second, within = np.zeros(kinds), np.zeros((kinds, kinds)), np.zeros((kinds, kinds))
    for way, log in terms.items():
        weight = math.exp(log - height)
        centre = np.zeros(kinds)
        for each, k, s, f in zip(sizes, way, safe, bad, strict=True):
            centre = centre + (each.count - k) * s[1] + k * f[1]
            within = within + weight * ((each.count - k) * s[2] + k * f[2])
        mean = mean + weight * centre
        second = second + weight * np.outer(centre, centre)
    return height, mean, within + second - np.outer(mean, mean)


@dataclass(frozen=True, kw_only=True)
class Box:
    """Tilted shares of occupancies in a table that holds all but 1e-21 of them; lowest: where it starts."""

    table: Floats
    lowest: tuple[int, ...]

    def pull(self, axis: int) -> float:
        """|transform|^2 <= 1 - 2 pull (1 - cos angle), whatever the other angles: neighbours are out of step."""
        moved = np.moveaxis(self.table, axis, 0)
        return float(np.sum(moved[1:] * moved[:-1]))


def boxed(side: Side, tilt: Floats) -> Box | None:
    """Return the tilted occupancies as a table; None where there are none."""
    if not len(side.logs):
        return None
    logs = side.logs + side.points @ tilt
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    kept = weights > math.exp(-FADED - 4) / len(weights)
    places = side.points[kept].astype(np.int64)
    lowest, highest = places.min(axis=0), places.max(axis=0)
    table = np.zeros([int(cells) for cells in highest - lowest + 1])
    table[tuple((places - lowest).T)] = weights[kept]
    return Box(table=table, lowest=tuple(int(low) for low in lowest))
