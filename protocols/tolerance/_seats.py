"""Predicates of protocols in which it matters who has a seat: the worst over where the faulty members sit.

A cluster of c members holds b Byzantine, k crashed and p curious ones; a = b + p collude. Clusters in which a
protocol cannot run deliver nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.check import CloisterError
from protocols.tolerance.parts import Mask
from protocols.types import balanced_sizes

__all__ = ["Committees", "Hierarchies"]

Counts = NDArray[np.int64]
OnServers = Callable[[Counts, Counts, int, int], Mask]
"""(b, k, servers, t) -> bad: with all the faulty among the servers."""


@dataclass(frozen=True, kw_only=True)
class Committees:
    """Sums by `servers` of the members, who share with threshold t; `least` inputs open."""

    servers: int
    threshold: int
    least: int
    wrong_on_servers: OnServers
    stopped_on_servers: OnServers

    def private(self, a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG002
        """Return where a colluding members, as servers, have t + 1 shares, or are all but one."""
        return a > (min(self.threshold, c - 2) if revealed else self.threshold)

    def wrong(self, b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG002
        """Return where b Byzantine and k crashed servers can make a sum wrong."""
        return self.wrong_on_servers(b, k, self.servers, self.threshold)

    def stopped(self, b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG002
        """Return where they can stop it, as servers or by withholding their inputs."""
        few = c - b - k < self.least
        return self.stopped_on_servers(b, k, self.servers, self.threshold) | few | (c < self.servers)


@dataclass(frozen=True, kw_only=True)
class Hierarchies:
    """Sums of groups that stay shared among delegates, one a group.

    `inner` and `outer` are the thresholds in a group and among delegates, as functions of their sizes.
    """

    group_size: int
    inner: Callable[[int], int]
    outer: Callable[[int], int]
    least_honest: int

    def sizes(self, c: int) -> tuple[int, ...]:
        """Return the sizes of the groups; CloisterError unless there are at least two."""
        sizes = balanced_sizes(c, self.group_size)
        if len(sizes) < 2:
            raise CloisterError(
                f"group_size = {self.group_size} makes one group of {c}; allowed: clusters of two groups or more, "
                f"{2 * self.group_size} members"
            )
        return sizes

    def tolerated(self, c: int, *, revealed: bool = True) -> int:
        """Return how many colluding members learn nothing, wherever they sit; `revealed`: but the opened sum."""
        sizes = self.sizes(c)
        # Where a group's threshold is its size less one, whoever exceeds it is the whole group.
        inner = [self.inner(n) for n in sizes if self.inner(n) <= n - 2]
        return min([*inner, self.outer(len(sizes)), *([c - 2] if revealed else [])])

    def runs(self, c: int) -> bool:
        """Return whether a cluster of c members can run it."""
        try:
            sizes = self.sizes(c)
        except CloisterError:
            return False
        fits = 0 <= self.outer(len(sizes)) < len(sizes) and all(0 <= self.inner(n) < n for n in sizes)
        return fits and self.tolerated(c) + self.least_honest <= c

    def private(self, a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG002
        """Return where a colluding members learn more than the global sum: in one group, or as delegates."""
        return a > self.tolerated(c, revealed=revealed) if self.runs(c) else a >= 0

    def wrong(self, b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG002
        """Return where Byzantine members can change the sum: one can."""
        return b + 0 * k > 0

    def stopped(self, b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG002
        """Return where they can stop it: one Byzantine member, too few of a group, delegates or inputs."""
        if not self.runs(c):
            return b + k >= 0
        sizes = self.sizes(c)
        spare = min([n - self.inner(n) for n in sizes] + [len(sizes) - self.outer(len(sizes))]) - 1
        return (b > 0) | (k > spare) | (c - k < self.tolerated(c) + self.least_honest)
