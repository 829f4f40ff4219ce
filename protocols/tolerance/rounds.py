"""Other laws than one uniform draw: independent faults, and many rounds."""

import math
from collections.abc import Sequence

import numpy as np

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.binomial import Floats, log_binomial, log_sum
from protocols.tolerance.parts import Part

__all__ = ["iid_any_bad", "iid_tail", "over_rounds", "poisson_binomial_tail"]


def over_rounds(probability: float, rounds: int) -> float:
    """Return 1 - (1 - P)^T, the probability that one of T independent re-clusterings fails, to full relative accuracy.

    Exact for faults that stay where they are or move without looking at the clusters; for clusters that are kept,
    the probability over all rounds is P itself.
    Raises: CloisterError unless 0 <= P <= 1 and T >= 1.
    """
    check.integer_at_least(1, rounds=rounds)
    if not 0 <= probability <= 1:
        raise CloisterError(f"probability = {probability!r} is not allowed; allowed: 0 to 1")
    return 1.0 if probability == 1 else -math.expm1(rounds * math.log1p(-probability))


def _iid_shares(parts: Sequence[Part], faulty_share: float) -> Floats:
    if not 0 <= faulty_share <= 1:
        raise CloisterError(f"faulty = {faulty_share!r} is not allowed; allowed: a probability from 0 to 1")
    shares: list[float] = []
    for part in parts:
        logs = log_binomial(np.flatnonzero(part.bad).astype(np.float64), np.asarray(float(part.size)), faulty_share)
        shares.append(min(1.0, math.exp(log_sum(logs))))
    return np.array(shares)


def iid_any_bad(parts: Sequence[Part], faulty_share: float) -> float:
    """Return P(some cluster is bad) when each process is faulty independently: 1 - prod (1 - h), h a binomial sum."""
    shares = _iid_shares(parts, faulty_share)
    with np.errstate(divide="ignore"):
        return float(-np.expm1(sum(part.count * np.log1p(-h) for part, h in zip(parts, shares, strict=True))))


def iid_tail(parts: Sequence[Part], faulty_share: float, most: int) -> float:
    """Return P(K > most) when each process is faulty independently."""
    shares = _iid_shares(parts, faulty_share)
    return poisson_binomial_tail(np.repeat(shares, [part.count for part in parts]), most)


def poisson_binomial_tail(shares: Floats, most: int) -> float:
    """Return P(more than `most` of independent events of these probabilities happen), by additions only.

    Accurate to 1e-11 relative for results above 1e-300; time grows with len(shares)^2.
    """
    if most < 0:
        return 1.0
    law = np.zeros(len(shares) + 1)
    law[0] = 1.0
    for share in shares:
        law[1:], law[0] = law[1:] * (1 - share) + law[:-1] * share, law[0] * (1 - share)
    return min(1.0, float(law[most + 1 :].sum()))
