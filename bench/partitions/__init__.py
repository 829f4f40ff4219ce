"""Partition plug-ins: one file per way to deal the training rows to the processes, found by its name."""

from typing import Protocol

import numpy as np

from protocols.check import CloisterError, integer_at_least
from protocols.registry import Registry

__all__ = ["Partition", "apportion", "check_request", "partitions", "parts_of"]


class Partition(Protocol):
    """A way to deal the training rows to `n` processes; its fields are its parameters."""

    def __call__(
        self, labels: np.ndarray, groups: np.ndarray | None, n: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return each process's rows as sorted int64 indices: disjoint, together all rows, none empty.

        `labels` (N,) int64 are the rows' classes, `groups` (N,) int64 their natural groups or None. Raises
        CloisterError if the rows cannot be dealt that way.
        """
        ...

    def unfit(self, groups_count: int | None, n: int, classes: int) -> str | None:
        """Return in words why data of so many groups (None: no groups) and classes do not suit, or None."""
        ...


partitions: Registry[Partition] = Registry("partition", ("bench.partitions",), "cloister.partitions")


def check_request(labels: np.ndarray, groups: np.ndarray | None, n: int, unfit: str | None = None) -> None:
    """Raise CloisterError if the arrays do not match, there are fewer rows than processes, or `unfit` says why not."""
    integer_at_least(1, n=n)
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise CloisterError(f"labels of shape {labels.shape} and dtype {labels.dtype}; allowed: (rows,) of integers")
    if groups is not None and (groups.shape != labels.shape or groups.dtype.kind not in "iu"):
        raise CloisterError(
            f"groups of shape {groups.shape} and dtype {groups.dtype}; allowed: {labels.shape} of integers"
        )
    if n > len(labels):
        raise CloisterError(f"n = {n} processes for {len(labels)} training rows; allowed: at most one process per row")
    if unfit:
        raise CloisterError(f"the partition does not suit the data: {unfit}")


def parts_of(owner: np.ndarray, n: int) -> list[np.ndarray]:
    """Return the sorted rows (int64) of each of the `n` processes, given the `owner` (N,) of each row."""
    order = np.argsort(owner, kind="stable").astype(np.int64)
    return np.split(order, np.cumsum(np.bincount(owner, minlength=n))[:-1])


def apportion(total: int, weights: np.ndarray) -> np.ndarray:
    """Return (k,) int64 shares of `total` >= k, proportional to `weights` (k,), positive integers; at least 1 each.

    The method of the largest remainder; what the minimum of 1 costs is taken from the most favoured shares.

    Guarantees:
        The shares are at least 1 and add up to the total.
        With enough for all, each share is its quota rounded down or up.
        A share does not exceed its weight if the total does not exceed the sum of the weights.
    """
    weights = weights.astype(np.int64)
    everything = int(weights.sum())
    shares = np.maximum(total * weights // everything, 1)
    # Whole numbers throughout: lack = (quota - share) * everything, so no rounding decides who gets a unit.
    while shares.sum() < total:
        shares[np.argmax(total * weights - shares * everything)] += 1
    while shares.sum() > total:
        excess = np.where(shares > 1, shares * everything - total * weights, np.iinfo(np.int64).min)
        shares[np.argmax(excess)] -= 1
    return shares
