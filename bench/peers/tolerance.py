"""Exact failure probabilities against drawing placements: what a simulation could do in the same time."""

from collections.abc import Iterator

import numpy as np

from bench.peers import Comparison, interleave
from protocols.aggregators import majority_breakdown
from protocols.randomness import public_stream
from protocols.tolerance.analysis import Faults, analyse, failure
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.tolerance.design import best_size, distinct_sizes
from protocols.tolerance.parts import clusters_of, size_groups

__all__ = ["compare_tolerance", "sweep"]

_DRAWS = 100


def compare_tolerance(*, turns: int = 5, n: int = 1000, designs: int = 500, large: int = 1_000_000) -> list[Comparison]:
    """Return the comparisons: a sweep of different designs, all four sides; one value, and one search, at large n.

    The peer draws placements: 100 of each design of the sweep, one at large n, which tells nothing below 1e-2.
    Raises: AssertionError where a value at large n is not the published one.
    """
    found: list[Comparison] = []
    for name in ("additive", "shamir"):
        conditions = conditions_of(name)
        asked = list(_designs(n, designs))
        found.append(
            interleave(
                f"sweep of {len(asked)} designs ({name}, n = {n:,})",
                f"{_DRAWS} placements drawn of each",
                lambda asked=asked, conditions=conditions: sweep(n, asked, conditions),
                lambda asked=asked: [_draw(n, f, size, _DRAWS) for f, size in asked],
                turns=turns,
            )
        )
    conditions = conditions_of("additive")
    groups, faults = size_groups(large, 8), Faults(n=large, byzantine=large // 20)
    most = majority_breakdown(clusters_of(groups))
    exposed = failure(faults, groups, conditions, most).value
    assert large != 1_000_000 or abs(exposed / 7.4162172e-4 - 1) < 1e-7, f"P(fail) = {exposed}"
    peer = "one placement drawn"
    found.append(
        interleave(
            f"one design, four sides (n = {large:,})",
            peer,
            lambda: analyse(faults, groups, conditions, most),
            lambda: _draw(large, faults.byzantine, 8, 1),
            turns=turns,
        )
    )
    few = Faults(n=large, byzantine=large // 100)
    found.append(
        interleave(
            f"best of all sizes at 1e-6 (n = {large:,})",
            peer,
            lambda: best_size(few, conditions, majority_breakdown, target=1e-6),
            lambda: _draw(large, few.byzantine, 8, 1),
            turns=turns,
        )
    )
    return found


def _designs(n: int, count: int) -> Iterator[tuple[int, int]]:
    """(faulty, size): all different clusters, with more and more shares of faults until there are enough."""
    shares = (0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.33, 0.4)
    every = [(int(share * n), size) for share in shares for size in distinct_sizes(n)]
    return iter(every[:count])


def sweep(n: int, designs: list[tuple[int, int]], conditions: Conditions) -> list[float]:
    """Return P(fail) of each design, all four sides computed."""
    found: list[float] = []
    for f, size in designs:
        groups = size_groups(n, size)
        most = majority_breakdown(clusters_of(groups))
        found.append(analyse(Faults(n=n, byzantine=f), groups, conditions, most).fail.value)
    return found


def _draw(n: int, faulty: int, size: int, draws: int) -> np.ndarray:
    """The number of faulty members of each cluster, in so many placements."""
    stream = public_stream(0, "peers", "tolerance", n)
    labels = np.minimum(np.arange(n) // size, n // size - 1)
    counts = [np.bincount(labels[stream.permutation(n)[:faulty]], minlength=n // size) for _ in range(draws)]
    return np.stack(counts)
