"""Bounds for all cluster sizes at once, from one cluster's law alone: what a search of designs computes first.

A run of occupancies away from the mode is summed from its first term by the ratios of neighbours, 48 of them and a
geometric bound on the rest, for thousands of sizes in one array.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.check import CloisterError
from protocols.tolerance.analysis import Faults
from protocols.tolerance.binomial import Floats, log_binomial, log_total
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.parts import Mask, clusters_of, size_groups

__all__ = ["Breakdown", "Ranges", "Screen", "screen"]

Breakdown = Callable[[int], int]
"""Number of clusters m -> how many of them the outer rule withstands."""
Integers = NDArray[np.int64]
_TERMS = 48
_ROOM = 1e-9  # more than the rounding of any of these sums


@dataclass(frozen=True, kw_only=True)
class Ranges:
    """Probabilities between `lower` and `upper`, one for each size."""

    lower: Floats
    upper: Floats


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The sizes at which a protocol can run, ascending, with bounds on two sides of failure.

    Guarantees:
        The probability of each side lies within its range.
    """

    sizes: tuple[int, ...]
    private: Ranges
    correct: Ranges


@dataclass(frozen=True, kw_only=True)
class _Runs:
    """For each size (rows) and its one or two groups (columns): cluster size, how many, first and last bad number.

    `known`: the bad numbers are all from `first` to `last`; else nothing is known of them.
    """

    size: Integers
    count: Integers
    first: Integers
    last: Integers
    known: Mask


def screen(faults: Faults, conditions: Conditions, breakdown: Breakdown, sizes: Iterable[int]) -> Screen:
    """Return bounds for each of the sizes, without those at which the threshold cannot be set up.

    Guarantees:
        The exact probabilities lie within the ranges.
    """
    numbers, none = np.arange(faults.n + 1), np.array(0)
    kept: list[int] = []
    tolerated: list[int] = []
    exposed: list[list[tuple[int, ...]]] = []
    exposed_at_worst: list[list[tuple[int, ...]]] = []
    failed: list[list[tuple[int, ...]]] = []
    for size in sizes:
        groups = size_groups(faults.n, size)
        try:
            opened = [(c, count, *_run(conditions.exposed(c, numbers[: c + 1], none))) for c, count in groups]
            worst = [
                (c, count, *_run(conditions.most_exposed(c, numbers[: c + 1], faults.crashed))) for c, count in groups
            ]
            broken = [(c, count, *_run(conditions.failed(c, numbers[: c + 1], none))) for c, count in groups]
        except CloisterError:
            continue  # a threshold that clusters of this size cannot have
        kept.append(size)
        tolerated.append(breakdown(clusters_of(groups)))
        exposed.append(opened)
        exposed_at_worst.append(worst)
        failed.append(broken)
    most = np.array(tolerated, dtype=np.int64)
    private = _tail(_runs(exposed), faults.n, faults.colluding, np.zeros_like(most))
    correct = _tail(_runs(failed), faults.n, faults.byzantine, most)
    if faults.crashed:  # these only add failures
        worst_private = _tail(_runs(exposed_at_worst), faults.n, faults.colluding, np.zeros_like(most))
        private = Ranges(lower=private.lower, upper=worst_private.upper)
        correct = Ranges(lower=correct.lower, upper=np.ones(len(most)))
    return Screen(sizes=tuple(kept), private=private, correct=correct)


def _run(bad: Mask) -> tuple[int, int, int]:
    first = int(np.argmax(bad))
    if not bad[first]:
        return 1, 0, 1
    last = len(bad) - 1 - int(np.argmax(bad[::-1]))
    return first, last, int(np.count_nonzero(bad) == last - first + 1)


def _runs(rows: list[list[tuple[int, ...]]]) -> _Runs:
    # A second group of no clusters stands where sizes are all equal.
    table = np.array([row if len(row) == 2 else [row[0], (row[0][0], 0, *row[0][2:])] for row in rows], dtype=np.int64)
    size, count, first, last, known = np.moveaxis(table.reshape(-1, 2, 5), 2, 0)
    return _Runs(size=size, count=count, first=first, last=last, known=known > 0)


def _log_weight(x: Integers, size: Integers, p: float) -> Floats:
    return log_binomial(x.astype(np.float64), size.astype(np.float64), p)


def _climb(runs: _Runs, n: int, faulty: int, start: Integers, stop: Integers, used: Mask, step: int) -> Ranges:  # noqa: PLR0917
    """P(X is one of start, start + step, .., stop), which lead away from the mode; 0 where not used or empty."""
    p = faulty / n
    logs = _log_weight(start, runs.size, p) + _log_weight(faulty - start, n - runs.size, p) - log_total(n, (faulty,))
    empty = ~used | ((stop - start) * step < 0)
    x = start[..., None] + step * np.arange(_TERMS)
    c = runs.size[..., None]
    up, down = (faulty - x) * (c - x), x * (n - faulty - c + x)
    # The two products count placements: both are whole numbers, and exact as floats far beyond n = 10^7.
    back_up, back_down = (x + 1) * (n - faulty - c + x + 1), (faulty - x + 1) * (c - x + 1)
    grow, shrink = (up, back_up) if step > 0 else (down, back_down)
    # Where it is not used, terms towards the mode would grow without a bound.
    inside = ((x - stop[..., None]) * step < 0) & ~empty[..., None]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(inside, np.maximum(grow, 0) / np.maximum(shrink, 1), 0.0)
    factors = np.cumprod(ratio[..., :-1], axis=-1)
    first = np.where(empty, 0.0, np.exp(logs))
    total = first * (1 + factors.sum(axis=-1))
    last, rest = first * factors[..., -1], ratio[..., -1]
    with np.errstate(divide="ignore", invalid="ignore"):
        beyond = np.where(rest == 0, 0.0, np.where(rest < 1, last * rest / (1 - rest), np.inf))
    return Ranges(lower=total * (1 - _ROOM), upper=np.minimum(1.0, (total + beyond) * (1 + _ROOM)))


def _shares(runs: _Runs, n: int, faulty: int) -> Ranges:
    """The probability that one cluster of each group is bad."""
    none = runs.first > runs.last
    mode = (runs.size + 1) * (faulty + 1) // (n + 2)
    above, below = runs.first > mode, runs.last < mode
    # A run on one side of the mode is summed from its near end; one that holds the mode by what it leaves out.
    near, far = np.where(above, runs.first, runs.last + 1), np.where(above, runs.last, runs.size)
    up = _climb(runs, n, faulty, near, far, ~below, 1)
    near, far = np.where(below, runs.last, runs.first - 1), np.where(below, runs.first, 0)
    down = _climb(runs, n, faulty, near, far, ~above, -1)
    lower = np.where(above, up.lower, np.where(below, down.lower, 1 - up.upper - down.upper))
    upper = np.where(above, up.upper, np.where(below, down.upper, 1 - up.lower - down.lower + _ROOM))
    lower = np.where(none | ~runs.known, 0.0, np.maximum(lower, 0.0))
    upper = np.where(none, 0.0, np.where(runs.known, np.minimum(upper, 1.0), 1.0))
    return Ranges(lower=lower, upper=upper)


def _tail(runs: _Runs, n: int, faulty: int, most: Integers) -> Ranges:
    """P(K > most) for each size: the sandwich and the pair terms, Chernoff above, Cantelli below."""
    if not len(most):
        return Ranges(lower=np.zeros(0), upper=np.zeros(0))
    if not 0 < faulty < n:
        bad = (runs.first == 0) if faulty == 0 else (runs.last == runs.size)
        bad &= runs.known & (runs.first <= runs.last)
        sure = ((bad * runs.count).sum(axis=1) > most).astype(np.float64)
        unknown = (~runs.known & (runs.count > 0)).any(axis=1)
        return Ranges(lower=np.where(unknown, 0.0, sure), upper=np.where(unknown, 1.0, sure))
    shares = _shares(runs, n, faulty)
    associated = _same_side(runs)
    several = _several(runs, shares, most, associated)
    whole = _any(runs, shares, n, faulty, associated)
    lower = np.where(most == 0, whole.lower, np.where(most < 0, 1.0, several.lower))
    upper = np.where(most == 0, whole.upper, np.where(most < 0, 1.0, several.upper))
    return Ranges(lower=lower, upper=np.minimum(1.0, upper))


def _same_side(runs: _Runs) -> Mask:
    """Whether a size's groups are all bad from some number on, or all up to some number: negatively associated."""
    used = (runs.count > 0) & (runs.first <= runs.last)
    rising, falling = runs.known & (runs.last == runs.size), runs.known & (runs.first == 0)
    return (rising | ~used).all(axis=1) | (falling | ~used).all(axis=1)


def _any(runs: _Runs, shares: Ranges, n: int, faulty: int, associated: Mask) -> Ranges:
    upper = (runs.count * shares.upper).sum(axis=1)
    used = runs.count > 0
    lower = np.where(used, shares.lower, 0.0).max(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.where(used, runs.count * np.log1p(-np.minimum(shares.lower, 1.0)), 0.0).sum(axis=1)
    lower = np.maximum(lower, np.where(associated, -np.expm1(logs), 0.0))
    points = (runs.known & (runs.first == runs.last)).all(axis=1)
    pairs = (runs.count * shares.lower).sum(axis=1) - _pairs(runs, n, faulty)
    return Ranges(lower=np.maximum(lower, np.where(points, pairs, 0.0)) * (1 - _ROOM), upper=upper)


def _pairs(runs: _Runs, n: int, faulty: int) -> Floats:
    """The sum over pairs of clusters of P(both hold their first bad number): Bonferroni's second term."""
    p, total = faulty / n, np.zeros(len(runs.size))
    for i, j in ((0, 0), (0, 1), (1, 1)):
        many = runs.count[:, i] * (runs.count[:, i] - 1) / 2 if i == j else runs.count[:, i] * runs.count[:, j]
        held, seats = runs.first[:, i] + runs.first[:, j], runs.size[:, i] + runs.size[:, j]
        logs = _log_weight(runs.first[:, i], runs.size[:, i], p) + _log_weight(runs.first[:, j], runs.size[:, j], p)
        with np.errstate(invalid="ignore"):
            logs = logs + _log_weight(faulty - held, np.maximum(n - seats, 0), p) - log_total(n, (faulty,))
        total += np.where(many > 0, many * np.exp(logs), 0.0)
    return total * (1 + _ROOM)


def _several(runs: _Runs, shares: Ranges, most: Integers, associated: Mask) -> Ranges:
    m = runs.count.sum(axis=1)
    expected = [(runs.count * side).sum(axis=1) for side in (shares.lower, shares.upper)]
    least = np.maximum(most + 1, 1)
    upper = expected[1] / least
    upper = np.minimum(upper, np.where(associated, _chernoff(runs, shares.upper, m, least), 1.0))
    # Negatively associated events have a variance below the independent one's; Cantelli's one-sided form.
    ends = np.stack([shares.lower * (1 - shares.lower), shares.upper * (1 - shares.upper)])
    holds_half = (shares.lower <= 0.5) & (shares.upper >= 0.5)
    variance = (runs.count * np.where(holds_half, 0.25, ends.max(axis=0))).sum(axis=1)
    above = expected[0] - most
    with np.errstate(divide="ignore", invalid="ignore"):
        cantelli = np.where((above > 0) & associated, 1 - variance / (variance + above**2), 0.0)
    # The clusters that are not bad are associated as well: too many of them is Chernoff's case again.
    fine = np.where(associated, _chernoff(runs, 1 - shares.lower, m, np.maximum(m - most, 1)), 1.0)
    # What is left of 1 is only known to within rounding.
    lower = np.where(least > m, 0.0, np.maximum(np.maximum(cantelli, 1 - fine) - _ROOM, 0.0))
    return Ranges(lower=lower, upper=np.where(least > m, 0.0, upper))


def _chernoff(runs: _Runs, shares: Floats, m: Integers, least: Integers) -> Floats:
    """exp(-v least) prod (1 + h (e^v - 1))^m at the best v >= 0 for the mean share; 1 where that is none."""
    mean = (runs.count * shares).sum(axis=1) / m
    with np.errstate(divide="ignore", invalid="ignore"):
        v = np.log(least / np.maximum(m - least, 1e-9)) + np.log1p(-mean) - np.log(mean)
        v = np.clip(np.nan_to_num(v, nan=0.0, posinf=600.0, neginf=0.0), 0.0, 600.0)
        logs = np.logaddexp(np.log1p(-shares), np.log(shares) + v[:, None])
        total = np.where(runs.count > 0, runs.count * logs, 0.0).sum(axis=1) - v * least
    return np.exp(np.minimum(0.0, np.nan_to_num(total, nan=0.0)))
