"""What every engine computes with: clusters of one size together, and which occupancies of them are bad."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.binomial import Floats, log_multinomial

__all__ = [
    "BadSet",
    "Groups",
    "Mask",
    "NotExactError",
    "Part",
    "check_counts",
    "clusters_of",
    "is_monotone",
    "is_rising",
    "log_weights",
    "parts_of",
    "size_groups",
    "without_absent",
]

Mask = NDArray[np.bool_]
Groups = tuple[tuple[int, int], ...]
"""(size, how many clusters of it), sizes ascending."""
BadSet = Callable[[int], Mask]
"""Size of a cluster -> which occupancies are bad: a mask with one axis of length size + 1 for each kind of fault."""


class NotExactError(CloisterError):
    """An engine's own check says that its result would not be accurate, or would take too long."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """`count` clusters of one size: masks of the safe and of the bad occupancies; what is neither is forbidden."""

    size: int
    count: int
    safe: Mask
    bad: Mask

    @property
    def complete(self) -> bool:
        """Whether every occupancy is either safe or bad."""
        return bool(np.all(self.safe ^ self.bad))


def size_groups(n: int, cluster_size: int) -> Groups:
    """Return the groups of `types.balanced_sizes` without listing the clusters.

    Guarantees:
        The groups hold the same sizes as balanced_sizes.
    """
    check.integer_at_least(1, n=n, cluster_size=cluster_size)
    if cluster_size > n:
        raise CloisterError(f"cluster_size = {cluster_size} does not fit n = {n} processes; allowed: 1 to {n}")
    m = n // cluster_size
    small, larger = divmod(n, m)
    return ((small, m - larger), (small + 1, larger)) if larger else ((small, m),)


def clusters_of(groups: Groups) -> int:
    """Return the number of clusters."""
    return sum(count for _, count in groups)


def parts_of(groups: Groups, bad: BadSet, forbidden: BadSet | None = None) -> tuple[Part, ...]:
    """Return the parts of the groups: bad where `bad` says so, unless forbidden."""
    parts: list[Part] = []
    for size, count in groups:
        wrong = bad(size)
        barred = forbidden(size) if forbidden else np.zeros_like(wrong)
        parts.append(Part(size=size, count=count, safe=~wrong & ~barred, bad=wrong & ~barred))
    return tuple(parts)


def check_counts(parts: Sequence[Part], n: int, counts: Sequence[int]) -> None:
    """Raise CloisterError unless the parts hold n processes and the counts of faulty ones fit."""
    check.integer_at_least(1, n=n)
    for count in counts:
        check.integer_at_least(0, faulty=count)
    if sum(counts) > n:
        raise CloisterError(f"faulty = {sum(counts)} is more than n = {n} processes; allowed: 0 to {n}")
    held = sum(part.size * part.count for part in parts)
    if held != n:
        raise CloisterError(f"the clusters hold {held} processes, not n = {n}; allowed: sizes that add up to n")


def log_weights(size: int, n: int, counts: Sequence[int]) -> Floats:
    """Return the log probability of each occupancy of a cluster whose members are faulty independently, f_i / n each.

    One axis of length size + 1 for each count. Conditioned on the totals, products of these are exactly the
    placements drawn uniformly, which is why every engine may start from them.
    """
    return _log_weights(size, n, tuple(counts))


@lru_cache(maxsize=16)  # one design asks for the same few several times
def _log_weights(size: int, n: int, counts: tuple[int, ...]) -> Floats:
    axes = np.meshgrid(*[np.arange(size + 1.0)] * len(counts), indexing="ij", sparse=True)
    logs = log_multinomial(axes, np.asarray(float(size)), [count / n for count in counts])
    logs.setflags(write=False)
    return logs


def is_monotone(mask: Mask) -> bool:
    """Return whether a set of counts is an initial or a final segment (what the sandwich needs)."""
    return mask.ndim == 1 and int(np.count_nonzero(mask[1:] != mask[:-1])) <= 1


def is_rising(mask: Mask) -> bool:
    """Return whether a set of counts is a final segment, or empty: more faulty members are never better."""
    return is_monotone(mask) and (bool(mask[-1]) or not mask.any())


def without_absent(parts: Sequence[Part], counts: Sequence[int]) -> tuple[list[Part], tuple[int, ...]]:
    """Return the parts and counts without the kinds of fault that nobody has: only occupancies without them occur."""
    index = tuple(slice(None) if count else 0 for count in counts)
    kept = [
        Part(size=part.size, count=part.count, safe=np.asarray(part.safe[index]), bad=np.asarray(part.bad[index]))
        for part in parts
        if part.count
    ]
    return kept, tuple(count for count in counts if count)
