"""The number K of bad clusters: its whole law by additions only, for moderate n and any kinds of fault."""

import math
from collections.abc import Sequence
from itertools import product

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance.binomial import Floats, log_total
from protocols.tolerance.parts import NotExactError, Part, check_counts, log_weights

__all__ = ["distribution", "distribution_work"]

_MOST_WORK = 4e9


def distribution_work(parts: Sequence[Part], counts: Sequence[int]) -> float:
    """Return the additions that `distribution` makes, about 1e9 a second."""
    m = sum(part.count for part in parts)
    occupancies = sum(part.count * math.prod(min(part.size, f) + 1 for f in counts) for part in parts)
    return float(occupancies) * (m + 1) * math.prod(f + 1 for f in counts)


def distribution(parts: Sequence[Part], n: int, counts: Sequence[int]) -> Floats:
    """Return P(K = k and nothing forbidden), float64 of shape (m + 1,), each to a relative error below 1e-10.

    counts[i] of the n processes have fault i, drawn uniformly without overlap. Entries below 1e-300 may be 0.
    Raises: NotExactError where it would take more than seconds.

    Guarantees:
        With nothing forbidden the probabilities add up to 1 and their mean is the union bound's sum.
    Source: E[u^K] = [z^f] prod (g_j(z) + u gbar_j(z)) / C(n, f), design notes 2.4, row by row in u.
    """
    check_counts(parts, n, counts)
    if distribution_work(parts, counts) > _MOST_WORK:
        raise NotExactError(f"n = {n} is too large for the whole law of K; allowed: a tail, or fewer kinds of fault")
    m = sum(part.count for part in parts)
    rows = np.zeros((m + 1, *(f + 1 for f in counts)))
    rows[(0,) * rows.ndim] = 1.0
    scales = np.full(m + 1, -np.inf)
    scales[0] = 0.0
    for part in parts:
        logs = log_weights(part.size, n, counts)
        for _ in range(part.count):
            rows, scales = _add_cluster(rows, scales, logs, part)
    with np.errstate(divide="ignore"):
        logs = np.log(rows[(slice(None), *counts)]) + scales - log_total(n, tuple(counts))
    return np.minimum(np.exp(logs), 1.0)


def _add_cluster(rows: Floats, scales: Floats, logs: Floats, part: Part) -> tuple[Floats, Floats]:
    """Multiply by g(z) + u gbar(z); each row keeps a logarithmic scale, so that rare rows do not underflow."""
    stay, safest = _convolved(rows, logs, part.safe)
    move, worst = _convolved(rows, logs, part.bad)
    stayed, moved = scales + safest, np.concatenate([[-np.inf], scales[:-1]]) + worst
    target = np.maximum(stayed, moved)
    reached = target > -np.inf
    safe_target = np.where(reached, target, 0.0)
    shape = (-1, *[1] * (rows.ndim - 1))
    out = stay * np.exp(stayed - safe_target).reshape(shape)
    out[1:] += move[:-1] * np.exp(moved - safe_target)[1:].reshape(shape)
    peak = out.reshape(len(out), -1).max(axis=1)
    kept = np.where(peak > 0, peak, 1.0)
    with np.errstate(divide="ignore"):
        return out / kept.reshape(shape), np.where(peak > 0, safe_target + np.log(kept), -np.inf)


def _convolved(rows: Floats, logs: Floats, mask: NDArray[np.bool_]) -> tuple[Floats, float]:
    """Each row times the masked weights, and the logarithm of the factor that was taken out of them."""
    out = np.zeros_like(rows)
    limits = rows.shape[1:]
    held = [x for x in product(*(range(min(a, b)) for a, b in zip(mask.shape, limits, strict=True))) if mask[x]]
    most = max((float(logs[x]) for x in held), default=-math.inf)
    if most == -math.inf:
        return out, most
    for x in held:
        weight = math.exp(float(logs[x]) - most)
        if weight > 0:
            into = (slice(None), *(slice(i, None) for i in x))
            source = (slice(None), *(slice(None, limit - i) for i, limit in zip(x, limits, strict=True)))
            out[into] += weight * rows[source]
    return out, most
