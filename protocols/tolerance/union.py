"""Bounds that need only one cluster's law: the union bound, and the sandwich from negative association."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from protocols.tolerance.binomial import Floats, log_hypergeometric, log_hypergeometric_sum, log_sum, log_total
from protocols.tolerance.parts import Part, check_counts, is_monotone, log_weights, without_absent

__all__ = ["Bounds", "any_bad_bounds", "bad_shares", "bracket", "chernoff", "tail_bounds"]

_MOST_LOG_TILT = 700.0
_SMALL = 1024
_MOST_CELLS = 3_000_000


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """A probability lies between lower and upper (upper is not cut at 1, so that the union bound stays itself)."""

    lower: float
    upper: float


def bad_shares(parts: Sequence[Part], n: int, counts: Sequence[int]) -> Floats:
    """Return for each part the probability h that one of its clusters is bad: a hypergeometric sum."""
    check_counts(parts, n, counts)
    parts, counts = without_absent(parts, counts)
    return np.array([math.exp(_log_share(part, n, counts)) for part in parts])


def _log_share(part: Part, n: int, counts: Sequence[int]) -> float:
    if not counts:
        return 0.0 if part.bad else -math.inf
    # Nobody holds more faulty members of a kind than there are.
    where = np.nonzero(part.bad[tuple(slice(0, count + 1) for count in counts)])
    if len(counts) == 1 and part.size <= _SMALL:
        return log_sum(_law_of_one(part.size, n, counts[0])[where])
    xs = [axis.astype(np.float64) for axis in where]
    return log_hypergeometric_sum(xs, n, counts, part.size)


@lru_cache(maxsize=16)  # the sides of one design ask for the same few
def _law_of_one(size: int, n: int, faulty: int) -> Floats:
    logs = log_hypergeometric([np.arange(min(size, faulty) + 1.0)], n, (faulty,), size)
    logs.setflags(write=False)
    return logs


def any_bad_bounds(parts: Sequence[Part], n: int, counts: Sequence[int]) -> Bounds:
    """Return bounds on P(some cluster is bad): the sum U of the clusters' probabilities above.

    Below: 1 - prod(1 - h) for sets without gaps on one side (negative association), so that U - U^2 / 2 <= P <= U;
    else max(h), which always holds.

    Source: Joag-Dev and Proschan 1983, Theorem 2.11 and property P2 (multivariate hypergeometric counts).
    """
    parts, counts = without_absent(parts, counts)
    shares = bad_shares(parts, n, counts)
    many = np.array([part.count for part in parts])
    upper = float(shares @ many)
    lower = float(shares.max(initial=0.0))
    if len(counts) == 1 and _same_side(parts):
        with np.errstate(divide="ignore"):
            lower = float(-np.expm1(np.sum(many * np.log1p(-np.minimum(shares, 1.0)))))
    return Bounds(lower=min(lower, upper), upper=upper)


def _same_side(parts: Sequence[Part]) -> bool:
    # Increasing events of disjoint counts are negatively associated; so are decreasing ones, but not a mixture.
    if not all(is_monotone(part.bad) for part in parts):
        return False
    sides = {bool(part.bad[-1]) for part in parts if part.bad[-1] != part.bad[0]}
    return len(sides) <= 1


def tail_bounds(parts: Sequence[Part], n: int, counts: Sequence[int], most: int) -> Bounds:
    """Return bounds on P(K > most) of uniform faults: see `bracket`, and any_bad_bounds where one cluster suffices."""
    if most <= 0:
        return any_bad_bounds(parts, n, counts) if most == 0 else Bounds(lower=1.0, upper=1.0)
    parts, counts = without_absent(parts, counts)
    associated = len(counts) == 1 and _same_side(parts)
    found = bracket(bad_shares(parts, n, counts), [part.count for part in parts], most, associated=associated)
    return Bounds(lower=found.lower, upper=min(found.upper, _if_independent(parts, n, counts, most)))


def _if_independent(parts: Sequence[Part], n: int, counts: Sequence[int], most: int) -> float:
    """The bound of members who are faulty independently, over the probability that as many of each kind are.

    Given these numbers, they are placed uniformly: so no event is more likely than the one over the other.
    """
    if any((part.size + 1) ** len(counts) > _MOST_CELLS for part in parts) or not counts:
        return 1.0
    shares = [float(np.exp(log_weights(part.size, n, counts))[part.bad].sum()) for part in parts]
    many = np.array([part.count for part in parts], dtype=np.float64)
    alone = chernoff(np.minimum(np.array(shares), 1.0), many, most + 1)
    log = (math.log(alone) if alone > 0 else -math.inf) - log_total(n, tuple(counts))
    return math.exp(min(0.0, log))


def bracket(shares: Sequence[float] | Floats, many: Sequence[int], most: int, *, associated: bool) -> Bounds:
    """Return bounds on P(K > most) for K bad clusters, many[i] of which are bad with probability shares[i] each.

    Markov's, on the bad clusters and on the others, whatever their joint law; with one cluster that suffices at least
    the largest share; `associated`: Chernoff's too, as for negatively associated events of one direction.

    Guarantees:
        The probability lies between them, and they are no worse than Markov's.
    """
    bad, counts = np.minimum(np.asarray(shares, dtype=np.float64), 1.0), np.asarray(many, dtype=np.float64)
    m, mean = int(counts.sum()), float(bad @ counts)
    if most < 0:
        return Bounds(lower=1.0, upper=1.0)
    if most >= m:
        return Bounds(lower=0.0, upper=0.0)
    upper, lower = mean / (most + 1), (mean - most) / (m - most)
    if most == 0:
        lower = max(lower, float(bad.max(initial=0.0)))
    if associated:
        upper = min(upper, chernoff(bad, counts, most + 1))
        lower = max(lower, 1.0 - chernoff(1.0 - bad, counts, m - most))
    return Bounds(lower=max(0.0, min(lower, upper)), upper=upper)


def chernoff(shares: Floats, many: Floats, least: int) -> float:
    """Return a bound on P(at least `least` of negatively associated events): many[i] of probability shares[i].

    exp(-v least) prod (1 + h (e^v - 1))^m holds for every v >= 0; here the best v for their mean share.
    """
    m, mean = float(many.sum()), float(shares @ many / many.sum())
    if mean * m >= least or least > m:
        return 1.0 if least <= m else 0.0
    if mean == 0.0:
        return 0.0
    v = _MOST_LOG_TILT if least == m else math.log(least / (m - least)) + math.log1p(-mean) - math.log(mean)
    with np.errstate(divide="ignore"):
        logs = np.logaddexp(np.log1p(-shares), np.log(shares) + min(v, _MOST_LOG_TILT))
    return math.exp(min(0.0, float(many @ logs) - min(v, _MOST_LOG_TILT) * least))
