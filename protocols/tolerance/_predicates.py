"""The occupancies of a cluster that break a promise: predicates of colluding, Byzantine and crashed members.

Each takes the cluster's size c and the sharing's threshold t; a colluding member is a Byzantine or a curious one.
"""

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance.parts import Mask

__all__ = [
    "any_absent",
    "any_byzantine",
    "any_colluding",
    "any_crashed",
    "detected_or_few",
    "never",
    "not_corrected",
    "opens_all",
    "opens_the_last",
    "shared",
    "too_few_shares",
    "uncorrected",
    "undetected",
]

Counts = NDArray[np.int64]


def opens_all(a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG001
    """Every input is sent in the clear."""
    return a < c


def any_colluding(a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG001
    """One colluding member is enough."""
    return a > 0


def opens_the_last(a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG001
    """All but one subtract their own inputs from an opened sum; with a = c nobody is left to be exposed."""
    return (a == c - 1) & revealed


def shared(a: Counts, c: int, t: int, revealed: bool) -> Mask:
    """More than t colluding members open the shares; all but one subtract from an opened sum."""
    return a > (min(t, c - 2) if revealed else t)


def any_byzantine(b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG001
    """One Byzantine member is enough."""
    return b + 0 * k > 0


def any_crashed(b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG001
    """One crashed member is enough; Byzantine ones take part."""
    return k + 0 * b > 0


def never(b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG001
    """Nothing breaks it."""
    return b + k < 0


def any_absent(b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG001
    """One member that is absent or Byzantine is enough."""
    return b + k > 0


def too_few_shares(b: Counts, k: Counts, c: int, t: int) -> Mask:
    """Fewer than t + 1 shares are left."""
    return b + k > c - t - 1


def undetected(b: Counts, k: Counts, c: int, t: int) -> Mask:
    """Byzantine shares that too few right ones contradict."""
    return (b > 0) & (b + k > c - t - 1)


def detected_or_few(b: Counts, k: Counts, c: int, t: int) -> Mask:
    """Byzantine shares are noticed and stop it, or too few are left."""
    return (b > 0) | (k > c - t - 1)


def uncorrected(b: Counts, k: Counts, c: int, t: int) -> Mask:
    """Byzantine shares beyond the radius of the code."""
    return (b > 0) & (2 * b + k > c - t - 1)


def not_corrected(b: Counts, k: Counts, c: int, t: int) -> Mask:
    """Byzantine or absent shares beyond the radius of the code."""
    return 2 * b + k > c - t - 1
