"""Chi-squared tests of whether words are uniform: the bins' exact chances, p-values, and what deviation they see.

A word falls into one of 32 parts of its ring by its highest digits, and into one of 32 classes by its lowest. Where
bins have the chances q(1), q(2), ... and words fall into them with (1 + e(i)) q(i), the deviation of the words is the
root of sum q(i) e(i)^2: the root mean square of the bins' relative deviations. Of N words the statistic has in the
limit the non-central chi-squared law with N times its square; nothing else of the deviation counts. A single bin that
is too large or too small by d, at the others' even cost, is a deviation of d / sqrt(31).

Source: Cochran 1952, The chi-squared test of goodness of fit, Annals of Mathematical Statistics 23 (the statistic's law
and its power).
"""

from functools import cache
from typing import cast

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats

__all__ = [
    "BINS",
    "POWER",
    "detectable_deviation",
    "highest_chances",
    "highest_parts",
    "lowest_chances",
    "lowest_parts",
    "p_values",
    "part_counts",
    "power_of",
]

BINS = 32
POWER = 0.999
"""The probability with which a test sees the deviation that it is said to see."""

Words = NDArray[np.uint64]
Chances = NDArray[np.float64]


def highest_parts(words: Words, modulus: int) -> Words:
    """Return which of at most 32 parts of one width, the last perhaps smaller, each residue lies in."""
    return words // np.uint64(_width(modulus))


def highest_chances(modulus: int) -> Chances:
    """Return the chance (BINS,) of each part of a uniform residue.

    Guarantees:
        A uniform residue of any modulus falls into each of its highest and lowest parts with exactly these chances.
    """
    width = _width(modulus)
    return np.array([min(max(modulus - part * width, 0), width) / modulus for part in range(BINS)])


def lowest_parts(words: Words, modulus: int) -> Words:
    """Return each residue modulo 32, or modulo a smaller modulus."""
    return words % np.uint64(min(BINS, modulus))


def lowest_chances(modulus: int) -> Chances:
    """Return the chance (BINS,) of each class of a uniform residue; see highest_chances."""
    classes = min(BINS, modulus)
    whole, rest = divmod(modulus, classes)
    return np.array([(whole + (part < rest)) / modulus if part < classes else 0.0 for part in range(BINS)])


def _width(modulus: int) -> int:
    return -(-modulus // BINS)


def part_counts(parts: Words) -> NDArray[np.int64]:
    """Return how often each part occurs in each column of parts (samples, columns): (columns, BINS)."""
    columns = parts.shape[1]
    places = np.add(parts.astype(np.int64), BINS * np.arange(columns, dtype=np.int64))
    return np.bincount(places.ravel(), minlength=BINS * columns).reshape(columns, BINS)


def p_values(counts: NDArray[np.int64], chances: Chances) -> Chances:
    """Return the p-value (tests,) of each row of counts (tests, BINS) under these chances.

    Bins without a chance are left out: where the modulus is small there are fewer than 32.
    """
    kept = chances > 0
    expected = counts.sum(axis=1, keepdims=True) * chances[kept]
    statistic = np.square(counts[:, kept] - expected) / expected
    return np.asarray(stats.chi2.sf(statistic.sum(axis=1), max(int(kept.sum()) - 1, 1)))


def power_of(deviation: float, *, samples: int, level: float) -> float:
    """Return the probability that a test of 32 bins at this level sees this deviation in so many words."""
    threshold = stats.chi2.isf(level, BINS - 1)
    return float(stats.ncx2.sf(threshold, BINS - 1, samples * deviation**2))


@cache
def detectable_deviation(*, samples: int, level: float) -> float:
    """Return the deviation that a test of 32 bins at this level sees in so many words with probability POWER.

    Guarantees:
        A test sees it with probability POWER, by the non-central chi-squared law, and a smaller one less often.
    """

    def missing(deviation: float) -> float:
        return power_of(deviation, samples=samples, level=level) - POWER

    return float(cast(float, optimize.brentq(missing, 1e-9, 1e3)))
