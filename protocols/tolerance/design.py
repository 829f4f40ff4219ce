"""Design: which cluster size, which window of sizes, and how many faulty processes a target allows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from protocols import check
from protocols.tolerance.analysis import Faults, correct_failure, failure, private_failure
from protocols.tolerance.binomial import log_hypergeometric_sum
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.parts import Groups, clusters_of, size_groups
from protocols.tolerance.screen import Breakdown, Ranges, screen

__all__ = ["Best", "Window", "best_size", "distinct_sizes", "largest_faulty", "smallest_committee", "window"]

_HOPELESS = 1 - 1e-9


@dataclass(frozen=True, kw_only=True)
class Window:
    """Cluster sizes that meet a target: private from `private` on, correct up to `correct`; None where none does.

    Sizes between them need not all do: thresholds round. `sizes` are those that meet both.
    """

    private: int | None
    correct: int | None
    sizes: tuple[int, ...]


def distinct_sizes(n: int) -> list[int]:
    """Return the smallest cluster sizes of all different balanced partitions of n, ascending."""
    check.integer_at_least(1, n=n)
    sizes: list[int] = []
    c = 1
    while c <= n:
        m = n // c
        sizes.append(n // m)
        c = n // m + 1
    return sizes


@dataclass(frozen=True, kw_only=True)
class Best:
    """The best cluster size and its probability of failure; `size` is None where every size fails, up to 1e-9."""

    size: int | None
    fail: float


def best_size(faults: Faults, conditions: Conditions, breakdown: Breakdown, *, target: float | None = None) -> Best:
    """Return the smallest cluster size whose failure meets the target; without one, or where none does, the safest.

    Sizes at which the threshold cannot be set up are left out. Cost per process grows with the size in every
    protocol here, which is why the smallest is the best.
    Raises: CloisterError unless 0 < target < 1.

    Guarantees:
        Equal to trying every size.
    """
    if target is not None:
        check.fraction(target=target)
    bounds = screen(faults, conditions, breakdown, distinct_sizes(faults.n))
    least = np.maximum(bounds.private.lower, bounds.correct.lower).tolist()
    if target is not None:
        for lower, size in zip(least, bounds.sizes, strict=True):
            if lower <= target:
                fail = _fail_at(faults, size, conditions, breakdown, math.nextafter(target, 1.0))
                if fail <= target:
                    return Best(size=size, fail=fail)
    best = Best(size=None, fail=_HOPELESS)
    for lower, size in sorted(zip(least, bounds.sizes, strict=True)):
        if lower >= best.fail:
            break
        fail = _fail_at(faults, size, conditions, breakdown, best.fail)
        if fail < best.fail:
            best = Best(size=size, fail=fail)
    return best if best.size is not None else Best(size=None, fail=1.0)


def _fail_at(faults: Faults, size: int, conditions: Conditions, breakdown: Breakdown, enough: float) -> float:
    """The probability of failure, or one that is at least `enough` where that is."""
    groups = size_groups(faults.n, size)
    return failure(faults, groups, conditions, breakdown(clusters_of(groups)), enough=enough).upper


def window(faults: Faults, conditions: Conditions, breakdown: Breakdown, target: float) -> Window:
    """Return the cluster sizes that meet the target: c_priv, the smallest that is private; c_rob, the largest correct.

    Raises: CloisterError unless 0 < target < 1.
    """
    check.fraction(target=target)
    bounds = screen(faults, conditions, breakdown, distinct_sizes(faults.n))
    groups = [size_groups(faults.n, size) for size in bounds.sizes]
    private = _meeting(
        bounds.sizes, bounds.private, target, lambda i: private_failure(faults, groups[i], conditions).upper
    )
    correct = _meeting(
        bounds.sizes,
        bounds.correct,
        target,
        lambda i: correct_failure(faults, groups[i], conditions, breakdown(clusters_of(groups[i]))).upper,
    )
    return Window(
        private=min(private, default=None),
        correct=max(correct, default=None),
        sizes=tuple(sorted(set(private) & set(correct))),
    )


def _meeting(sizes: Sequence[int], bounds: Ranges, target: float, exact: Callable[[int], float]) -> list[int]:
    """The sizes at which one side meets the target: by its bounds where these tell, else by its exact probability."""
    return [
        size
        for i, size in enumerate(sizes)
        if bounds.upper[i] <= target or (bounds.lower[i] <= target and exact(i) <= target)
    ]


def largest_faulty(faults: Faults, groups: Groups, conditions: Conditions, tolerate: int, target: float) -> int:
    """Return the most Byzantine processes up to which failure meets the target (-1: not even without any).

    The crashed and curious ones of `faults` stay. Failure grows with f where it is small, so the first f that
    misses the target is searched by doubling and halving.
    Raises: CloisterError unless 0 < target < 1.
    """
    check.fraction(target=target)

    @cache
    def meets(byzantine: int) -> bool:
        among = replace(faults, byzantine=byzantine)
        enough = math.nextafter(target, 1.0)
        return failure(among, groups, conditions, tolerate, enough=enough).upper <= target

    top = faults.n - faults.crashed - faults.curious
    low, step = -1, 1
    while low < top and meets(min(top, low + step)):
        low, step = min(top, low + step), step * 2
    high = min(top + 1, low + step)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if meets(middle) else (low, middle)
    return low


def smallest_committee(n: int, faulty: int, threshold: Callable[[int], int], target: float) -> int | None:
    """Return the smallest size from which on one committee, drawn from n, has more than threshold(c) faulty members
    with probability at most `target`; None where no size does.

    Source: Kokoris-Kogias et al. 2018, S&P (OmniLedger), Figure 6; David et al. 2022, CCS (GearBox), Table 1.
    """
    check.fraction(target=target)
    smallest = None
    for size in range(n, 0, -1):
        if _committee_fails(n, faulty, size, threshold(size)) > target:
            break
        smallest = size
    return smallest


def _committee_fails(n: int, faulty: int, size: int, threshold: int) -> float:
    bad = np.arange(max(0, threshold + 1), min(size, faulty) + 1, dtype=np.float64)
    return math.exp(log_hypergeometric_sum([bad], n, (faulty,), size))
