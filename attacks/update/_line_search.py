"""The largest value of a function on x >= 0, by few evaluations."""

import math
from collections.abc import Callable

__all__ = ["maximise"]


def maximise(
    score: Callable[[float], float], *, evaluations: int, start: float = 0.0, step: float = 1.0, ratio: float = 0.8
) -> float:
    """Return the best x >= 0 that was tried: steps that double while they help, then steps that shrink by `ratio`.

    Best effort: nothing is promised of a function with several peaks. A score that is NaN counts as the lowest.
    """
    first = score(start)
    best, best_score = start, -math.inf if math.isnan(first) else first
    tried, left = start + step, evaluations - 1
    while left > 0:
        found = score(tried)
        left -= 1
        if not found > best_score:
            break
        best, best_score = tried, found
        step *= 2
        tried = best + step
    while left > 0:
        step *= ratio
        # Towards the best from where the last try was, and past it: the peak may lie on either side.
        tried = tried + step if tried < best else max(tried - step, 0.5 * tried)
        found = score(tried)
        left -= 1
        if found > best_score:
            best, best_score = tried, found
    return best
