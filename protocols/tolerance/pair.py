"""The pair recursion: polynomials of the safe and of the some-bad placements, by additions only.

(S, B) * (S', B') = (S S', B (S' + B') + S B') has no subtraction, so however small the probability of a bad
cluster is, it keeps its relative accuracy; a logarithmic scale beside B keeps it from underflowing.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from protocols.tolerance.binomial import Floats
from protocols.tolerance.parts import Part, check_counts, log_weights

__all__ = ["pair_any_bad"]


class _Pair(NamedTuple):
    safe: Floats
    bad: Floats  # to be multiplied by exp(scale)
    scale: float


def pair_any_bad(parts: Sequence[Part], n: int, faulty: int) -> float:
    """Return P(some cluster is bad), relative error below 1e-11 down to 1e-300 (0.0 below what a double holds).

    Time grows with faulty^2 log(m); meant for up to a few thousand faulty processes.

    Source: design notes 2.4; the weights are tilted by f / n (a binomial's), so coefficients stay near 1.
    """
    check_counts(parts, n, (faulty,))
    total = _Pair(np.ones(1), np.zeros(1), -math.inf)
    for part in parts:
        total = _times(total, _power(_cluster(part, n, faulty), part.count, faulty), faulty)
    safe, bad = _coefficient(total.safe, faulty), _coefficient(total.bad, faulty)
    if bad == 0.0:
        return 0.0
    if safe == 0.0:
        return 1.0
    odds = math.log(bad) + total.scale - math.log(safe)
    return 1 / (1 + math.exp(-odds)) if odds > 0 else math.exp(odds) / (1 + math.exp(odds))


def _coefficient(polynomial: Floats, degree: int) -> float:
    return float(polynomial[degree]) if degree < len(polynomial) else 0.0


def _cluster(part: Part, n: int, faulty: int) -> _Pair:
    logs = log_weights(part.size, n, (faulty,))[: faulty + 1]
    safe = np.where(part.safe[: faulty + 1], np.exp(logs), 0.0)
    wrong = np.where(part.bad[: faulty + 1], logs, -np.inf)
    scale = float(wrong.max())
    return _Pair(safe, np.exp(wrong - scale) if scale > -math.inf else np.zeros(1), scale)


def _times(a: _Pair, b: _Pair, degree: int) -> _Pair:
    scale = max(a.scale, b.scale)
    safe = _product(a.safe, b.safe, degree)
    if scale == -math.inf:
        return _Pair(safe, np.zeros(1), scale)
    whole = _sum(b.safe, b.bad * math.exp(b.scale))
    left = _product(a.bad, whole, degree) * math.exp(a.scale - scale)
    bad = _sum(left, _product(a.safe, b.bad, degree) * math.exp(b.scale - scale))
    most = float(bad.max())
    return _Pair(safe, bad / most, scale + math.log(most)) if most > 0 else _Pair(safe, np.zeros(1), -math.inf)


def _product(a: Floats, b: Floats, degree: int) -> Floats:
    return np.convolve(a, b)[: degree + 1]


def _sum(a: Floats, b: Floats) -> Floats:
    out = np.zeros(max(len(a), len(b)))
    out[: len(a)] += a
    out[: len(b)] += b
    return out


def _power(base: _Pair, exponent: int, degree: int) -> _Pair:
    result = _Pair(np.ones(1), np.zeros(1), -math.inf)
    while exponent:
        if exponent & 1:
            result = _times(result, base, degree)
        exponent >>= 1
        if exponent:
            base = _times(base, base, degree)
    return result
