"""Faulty members counted by cluster, and the verdict on a round from these counts: no loop over clusters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.check import CloisterError
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.parts import Groups

__all__ = [
    "BYZANTINE",
    "CRASHED",
    "CURIOUS",
    "HONEST",
    "CountVerdict",
    "Kinds",
    "Occupancy",
    "Owner",
    "groups_of",
    "occupancy",
    "verdict_of_counts",
]

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]
Owner = NDArray[np.int64]
"""The cluster (n,) of each process."""
Kinds = NDArray[np.int8]
"""The kind of fault (n,) of each process."""
HONEST, BYZANTINE, CRASHED, CURIOUS = range(4)


@dataclass(frozen=True, kw_only=True, eq=False)
class Occupancy:
    """How many members each of m clusters has, and how many of each kind of fault: all int64 (m,)."""

    size: Counts
    byzantine: Counts
    crashed: Counts
    curious: Counts

    @property
    def groups(self) -> Groups:
        """The sizes, ascending, each with how many clusters have it."""
        return groups_of(self.size)


def groups_of(sizes: Counts) -> Groups:
    """Return the sizes (m,), ascending, each with how many clusters have it."""
    found, counts = np.unique(sizes, return_counts=True)
    return tuple(zip(found.tolist(), counts.tolist(), strict=True))


def occupancy(owner: Owner, kinds: Kinds, m: int) -> Occupancy:
    """Return the counts of m clusters; one pass over the processes.

    Raises: CloisterError where a cluster has no member, or owners and kinds differ in number.
    """
    if owner.shape != kinds.shape:
        raise CloisterError(f"kinds of shape {kinds.shape} do not fit {owner.shape} owners; allowed: the same shape")
    table = np.bincount(kinds.astype(np.int64) * m + owner, minlength=4 * m).reshape(4, m)
    size = table.sum(axis=0)
    if not size.all():
        raise CloisterError(f"cluster {int(np.argmin(size))} of {m} is empty; allowed: clusters with members")
    return Occupancy(size=size, byzantine=table[BYZANTINE], crashed=table[CRASHED], curious=table[CURIOUS])


@dataclass(frozen=True, kw_only=True, eq=False)
class CountVerdict:
    """Which of the m clusters are exposed, tainted or lost, bool (m,), and the three sides of the whole."""

    exposed: Mask
    tainted: Mask
    lost: Mask
    private: bool
    correct: bool
    live: bool

    @property
    def broken(self) -> int:
        """K, the clusters that count against the outer rule: tainted or lost."""
        return int(np.count_nonzero(self.tainted | self.lost))

    @property
    def safe(self) -> bool:
        """Whether the round is tolerated on all three sides."""
        return self.private and self.correct and self.live


def verdict_of_counts(
    counts: Occupancy, conditions: Conditions, breakdown: int, *, tolerate: int | None = None
) -> CountVerdict:
    """Return the verdict; `breakdown` and `tolerate` as for protocols.tolerance.verdict.verdict.

    Guarantees:
        Exposed, tainted and lost clusters and the three sides are those of `verdict`.
    """
    exposed, tainted, lost = (np.zeros(len(counts.size), dtype=np.bool_) for _ in range(3))
    for size in np.unique(counts.size).tolist():  # two at most where clusters are balanced
        at = np.flatnonzero(counts.size == size)
        b, k = counts.byzantine[at], counts.crashed[at]
        a = b + counts.curious[at]
        exposed[at] = conditions.exposed(size, a, k)
        tainted[at] = conditions.tainted(size, b, k)
        lost[at] = conditions.lost(size, b, k)
    told = breakdown if tolerate is None else min(breakdown, tolerate)
    failed = int(np.count_nonzero(tainted | lost))
    return CountVerdict(
        exposed=exposed,
        tainted=tainted,
        lost=lost,
        private=not exposed.any(),
        correct=failed <= breakdown and int(np.count_nonzero(tainted)) <= told,
        live=int(np.count_nonzero(lost)) <= breakdown,
    )
