"""Inclusion and exclusion over clusters that are alike: from the joint laws of few of them to the number of bad ones.

Where each stratum puts one member into each cluster, in random order, the joint law of any r clusters follows by one
stratum after the other: of its k faulty members so many fall on these r. The sums S_r of the probabilities that r
clusters are all bad give P(K > F) as an alternating series, whose partial sums are bounds from either side.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from protocols.tolerance.binomial import Floats

__all__ = ["sieved"]

_MOST_WORK = math.log(1e8)  # of additions a term: below a second; a power of clusters by the hundred is no number
_MOST_TERMS = 40
_ENOUGH = 1e-11
_ROUNDING = 1e-14


def sieved(
    strata: Sequence[Sequence[float]], clusters: int, last: int, bad: Sequence[Floats], most: int
) -> tuple[float, float]:
    """Return bounds on P(more than `most` clusters are bad), which meet where the series can be followed to its end.

    strata[s][k] is the probability that k members of stratum s are faulty, each stratum with one for each cluster but
    the last, which has `last` (0: none is smaller). bad[i][x] is how likely a cluster is bad with x faulty members: of
    those with a member of the last stratum first, then of the others (of one kind where none is smaller).

    Guarantees:
        The probability lies between them, whatever the bad sets; additions of joint probabilities that are exact.
    Source: Bonferroni 1936; Galambos and Simonelli 1996, Bonferroni-type Inequalities, for at least k events.
    """
    lower, upper, total, largest = 0.0, 1.0, 0.0, 0.0
    for place, joint in enumerate(_sums(strata, clusters, last, bad, most)):
        r = most + 1 + place
        term = math.comb(r - 1, most) * joint
        total += -term if place % 2 else term
        largest = max(largest, term)
        slack = _ROUNDING * largest * r
        if place % 2:
            lower = max(lower, total - slack)
        else:
            upper = min(upper, total + slack)
        if r == clusters or term == 0.0:
            lower, upper = max(lower, total - slack), min(upper, total + slack)
        if upper - lower <= _ENOUGH * upper:
            break
    return max(0.0, min(lower, upper)), upper


def _sums(
    strata: Sequence[Sequence[float]], clusters: int, last: int, bad: Sequence[Floats], most: int
) -> Iterator[float]:
    """S_r for r = most + 1, most + 2, .., as long as that is quick."""
    caps = [_cap(each) for each in bad]
    for r in range(most + 1, min(clusters, most + _MOST_TERMS) + 1):
        if r * math.log(max(caps) + 1) + math.log((r + 1) ** 2 * len(strata)) > _MOST_WORK:
            return
        total = 0.0
        for larger in range(min(r, last) + 1) if last else (r,):
            many = (larger, r - larger)
            ways = math.comb(last, larger) * math.comb(clusters - last, r - larger) if last else math.comb(clusters, r)
            if ways:
                total += ways * _all_bad(strata, clusters, last, bad, caps, many)
        yield total


def _cap(bad: Floats) -> int:
    """The number of faulty members beyond which one more makes no difference."""
    # One at least where there is one, so that the work grows with r also where none makes a difference.
    return max(min(1, len(bad) - 1), int(np.flatnonzero(bad != bad[-1]).max(initial=-1)) + 1)


def _all_bad(  # noqa: PLR0917 - the strata and the clusters
    strata: Sequence[Sequence[float]],
    clusters: int,
    last: int,
    bad: Sequence[Floats],
    caps: Sequence[int],
    many: tuple[int, int],
) -> float:
    """P(so many clusters with a member of the last stratum, and so many without, are all bad)."""
    held = np.zeros([caps[0] + 1] * many[0] + [caps[-1] + 1] * many[1])
    held[(0,) * held.ndim] = 1.0
    for place, law in enumerate(strata):
        smaller = last > 0 and place == len(strata) - 1
        width, reached = (last, many[0]) if smaller else (clusters, sum(many))
        held = _with_stratum(held, law, width, reached)
    for sort, count in ((bad[0], many[0]), (bad[-1], many[1])):
        for _ in range(count):
            held = np.tensordot(sort[: held.shape[0]], held, axes=(0, 0))
    return float(held)


def _with_stratum(held: Floats, law: Sequence[float], width: int, reached: int) -> Floats:
    """One more stratum, which has a member in each of the first `reached` of these clusters, of `width` in all."""
    rows = [held]  # by how many of these clusters so far have a faulty member of it
    for axis in range(reached):
        moved = [_raised(row, axis) for row in rows]
        rows = [*rows, np.zeros_like(held)]
        for j, row in enumerate(moved, start=1):
            rows[j] = rows[j] + row
    out = np.zeros_like(held)
    for j, row in enumerate(rows):
        out += _chance(law, width, reached, j) * row
    return out


def _chance(law: Sequence[float], width: int, reached: int, j: int) -> float:
    """How likely just the first j of `reached` clusters have a faulty member of the stratum, of `width` in all.

    Of k faulty ones binomial(width - reached, k - j) / binomial(width, k), as a product of `reached` shares: these
    numbers have thousands of digits.
    """
    faulty, chances = np.arange(len(law), dtype=np.float64), np.array(law, dtype=np.float64)
    for i in range(reached):
        chances *= (faulty - i if i < j else width - faulty - (i - j)) / (width - i)
    return float(chances.sum())


def _raised(held: Floats, axis: int) -> Floats:
    moved = np.moveaxis(held, axis, 0)
    out = np.zeros_like(moved)
    out[1:] = moved[:-1]
    out[-1] += moved[-1]
    return np.moveaxis(out, 0, axis)
