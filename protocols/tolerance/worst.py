"""The worst case: how many faulty processes are tolerated wherever they sit, against an adversary who places them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from protocols import check
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.parts import Groups

__all__ = ["WorstCase", "tolerated", "worst_case"]


@dataclass(frozen=True, kw_only=True)
class WorstCase:
    """The most Byzantine processes that every placement tolerates, by side and over all; -1: not even none."""

    private: int
    correct: int
    live: int

    @property
    def all(self) -> int:
        """What every side tolerates."""
        return min(self.private, self.correct, self.live)


def tolerated(thresholds: Sequence[int], most: int) -> int:
    """Return the largest f of which every placement leaves at most `most` clusters with more than thresholds[j].

    Where `most` is at least the number of clusters, every f is tolerated: the sum of what breaks them all.

    Guarantees:
        Equal to trying every placement.
    Source: design notes 2.3: the adversary breaks the cheapest clusters first.
    """
    check.integer_at_least(-1, most=most)
    return sum(sorted(threshold + 1 for threshold in thresholds)[: most + 1]) - 1


def worst_case(
    groups: Groups, conditions: Conditions, tolerate: int, *, crashed: int = 0, curious: int = 0
) -> WorstCase:
    """Return the most Byzantine processes tolerated wherever the adversary puts them, the crashed and the curious.

    Guarantees:
        Equal to trying every placement.
    Source: design notes 2.3, with crashes spent where they save the most Byzantine processes.
    """
    most = sum(size * count for size, count in groups) - crashed - curious
    private = min(_least_colluding(conditions, size, crashed) for size, _ in groups) - curious - 1
    correct = _cheapest(groups, conditions, tolerate, crashed, lost_only=False) - 1
    live = _cheapest(groups, conditions, tolerate, crashed, lost_only=True) - 1
    return WorstCase(
        **{side: max(-1, min(most, f)) for side, f in (("private", private), ("correct", correct), ("live", live))}
    )


def _least_colluding(conditions: Conditions, size: int, crashed: int) -> int:
    bad = np.flatnonzero(conditions.most_exposed(size, np.arange(size + 1), crashed))
    return int(bad[0]) if len(bad) else 2**62


def _byzantine_needed(conditions: Conditions, size: int, crashed: int, *, lost_only: bool) -> list[int]:
    """The fewest Byzantine members that break a cluster with 0, 1, .. crashed ones, until none are needed."""
    rule = conditions.lost if lost_only else conditions.failed
    needed: list[int] = []
    for k in range(min(size, crashed) + 1):
        bad = np.flatnonzero(rule(size, np.arange(size - k + 1), np.array(k)))
        if not len(bad):
            break
        needed.append(int(bad[0]))
        if not needed[-1]:
            break
    return needed


def _cheapest(groups: Groups, conditions: Conditions, tolerate: int, crashed: int, *, lost_only: bool) -> int:
    """The fewest Byzantine processes that break tolerate + 1 clusters, the crashed ones put where they save most."""
    left, total = tolerate + 1, 0
    savings: list[tuple[int, int]] = []
    offers = [(_byzantine_needed(conditions, size, crashed, lost_only=lost_only), count) for size, count in groups]
    for needed, count in sorted(offer for offer in offers if offer[0]):
        taken = min(left, count)
        total, left = total + taken * needed[0], left - taken
        savings += [(price, taken) for price in _prices(needed)]
    if left > 0:
        return 2**62
    # A process saved costs more crashes the later it is saved in a cluster, so the cheapest first is the best.
    for price, many in sorted(savings):
        bought = min(many, crashed // price)
        total, crashed = total - bought, crashed - bought * price
    return total


def _prices(needed: Sequence[int]) -> list[int]:
    """How many crashes each saved Byzantine process costs, one after the other (no crash saves two)."""
    prices: list[int] = []
    since = 0
    for before, after in pairwise(needed):
        since += 1
        if after < before:
            prices.append(since)
            since = 0
    return prices
