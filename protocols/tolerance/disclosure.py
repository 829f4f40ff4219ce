"""Privacy over rounds: what all the revealed cluster sums of an epoch say together about single updates.

The worst case: updates that stay the same over the epoch (or change by a known amount). Then every revealed sum is
one linear equation over the honest processes, and what follows from them is their row span over the rationals.
"""

import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Protocol

import numpy as np

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.spans import ModularSpan, RationalSpan, Span

__all__ = ["Clusters", "Difference", "Disclosure", "HonestSupport", "generic_rank", "rounds_until_disclosed"]

_EXACT = 96
"""Up to so many honest processes, rationals take less than a second an epoch."""
_MOST_SUBSETS = 20_000


class Clusters(Protocol):
    """Whatever groups processes, disjoint or not."""

    @property
    def clusters(self) -> Sequence[Sequence[int]]:
        """The members of each cluster."""
        ...


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Two revealed sums that differ, but for colluders, in one process alone: its update is their difference."""

    process: int
    larger_round: int
    smaller_round: int


@dataclass(frozen=True, kw_only=True)
class HonestSupport:
    """The fewest honest updates that some combination of revealed sums mixes: between lower and upper."""

    lower: int
    upper: int

    @property
    def exact(self) -> bool:
        """Whether the two bounds meet."""
        return self.lower == self.upper


def generic_rank(n: int, faulty: int, clusters: int, rounds: int) -> int:
    """Return min(n - f, 1 + r (m - 1)): the rank over the honest processes of r fresh random partitions.

    Every partition adds up to the same total, so each brings m - 1 new equations until there are no unknowns left.
    Source: design notes 4.8; equal to what random partitions give but for rare coincidences.
    """
    _check_sizes(n, faulty, clusters)
    check.integer_at_least(0, rounds=rounds)
    return min(n - faulty, 1 + rounds * (clusters - 1)) if rounds else 0


def rounds_until_disclosed(n: int, faulty: int, clusters: int) -> int | None:
    """Return r* = ceil((n - f - 1) / (m - 1)), after which fresh random partitions determine every honest update.

    None for one cluster, which never does. Before r*, generically, none is determined.
    Raises: CloisterError for numbers that do not fit.
    """
    _check_sizes(n, faulty, clusters)
    if clusters == 1:
        return 1 if n - faulty == 1 else None
    return max(1, math.ceil((n - faulty - 1) / (clusters - 1)))


def _check_sizes(n: int, faulty: int, clusters: int) -> None:
    check.integer_at_least(1, n=n, clusters=clusters)
    check.integer_at_least(0, faulty=faulty)
    if faulty >= n:
        raise CloisterError(f"faulty = {faulty} leaves no honest process of n = {n}; allowed: 0 to {n - 1}")
    if clusters > n:
        raise CloisterError(f"clusters = {clusters} is more than n = {n} processes; allowed: 1 to {n}")


class Disclosure:
    """The revealed sums of an epoch, round by round, seen by those who collude (they know their own updates).

    `exact`: over the rationals; by default up to 96 honest processes. Beyond, modulo a random prime: `error` bounds
    the probability that the rank is too small, and so that something is called determined, or mixed, wrongly.
    Raises: CloisterError for processes that are not 0..n-1.

    Guarantees:
        A process is determined exactly if its update follows from the revealed sums.
        Adding a revealed sum never lowers the rank and never takes a process out of the determined ones.
    """

    def __init__(self, *, n: int, colluding: Iterable[int] = (), exact: bool | None = None, seed: int = 0) -> None:
        check.integer_at_least(1, n=n)
        self.n = n
        hidden = frozenset(colluding)
        self._check_members(hidden)
        self.honest: tuple[int, ...] = tuple(process for process in range(n) if process not in hidden)
        self._column = {process: column for column, process in enumerate(self.honest)}
        small = len(self.honest) <= _EXACT if exact is None else exact
        self._span: Span = RationalSpan(len(self.honest)) if small else ModularSpan(len(self.honest), seed=seed)
        self._seen: dict[int, int] = {}
        self._differences: dict[int, Difference] = {}
        self.rounds = 0

    def _check_members(self, members: Collection[int]) -> None:
        wrong = sorted(process for process in members if not 0 <= process < self.n)
        if wrong:
            raise CloisterError(f"processes {wrong} do not exist; allowed: 0 to {self.n - 1}")

    def add(self, clustering: Clusters, contributors: Collection[int] | None = None) -> None:
        """Add the sums that one round revealed: of every cluster, those members whose updates are in its sum.

        `contributors` are all whose updates were added (None: everyone); a cluster without any revealed nothing.
        Raises: CloisterError for processes that are not 0..n-1.
        """
        inside = frozenset(range(self.n) if contributors is None else contributors)
        for cluster in clustering.clusters:
            members = inside.intersection(cluster)
            self._check_members(members)
            self._add(sorted(self._column[process] for process in members if process in self._column))
        self.rounds += 1

    def _add(self, columns: list[int]) -> None:
        word = sum(1 << column for column in columns)
        if not columns or word in self._seen:
            return
        self._seen[word] = self.rounds
        for column in range(len(self.honest)):
            other = word ^ (1 << column)
            if other and other in self._seen:
                self._note(column, word, other)
        if len(columns) == 1:
            self._note(columns[0], word, 0)
        self._span.add(columns)

    def _note(self, column: int, word: int, other: int) -> None:
        larger, smaller = max(word, other), min(word, other)  # they differ in one bit: the larger number has it
        process = self.honest[column]
        self._differences.setdefault(
            process,
            Difference(
                process=process,
                larger_round=self._seen[larger],
                smaller_round=self._seen.get(smaller, self._seen[larger]),
            ),
        )

    @property
    def rank(self) -> int:
        """How many independent equations over the honest updates are known."""
        return self._span.rank

    @property
    def error(self) -> float:
        """A bound on the probability that the rank is too small; 0 where it is computed over the rationals."""
        return self._span.error

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Processes whose update is the difference of two revealed sums (or stood alone in one), first sight each."""
        return tuple(self._differences[process] for process in sorted(self._differences))

    def determined(self) -> tuple[int, ...]:
        """Return the honest processes whose (static) updates follow from the sums: unit vectors in the row span."""
        pivots, support = self._span.support()
        # In reduced form the unit vector of a column is in the span exactly if it is one of the rows.
        alone = np.flatnonzero(support.sum(axis=1) == 1)
        return tuple(sorted(self.honest[pivots[row]] for row in alone))

    def honest_support(self, most_subsets: int = _MOST_SUBSETS) -> HonestSupport:
        """Return the fewest honest updates in a combination of the sums; exact while that many subsets suffice.

        Before any sum both bounds are n + 1: nothing is revealed.

        Guarantees:
            The least support lies within the bounds, and they meet where every smaller subset was tried.
        """
        check.integer_at_least(0, most_subsets=most_subsets)
        if not self.rank:
            return HonestSupport(lower=self.n + 1, upper=self.n + 1)
        pivots, support = self._span.support()
        upper = int(support.sum(axis=1).min())
        left = most_subsets
        for size in range(1, upper):
            left -= math.comb(len(self.honest), size)
            if size > 1 and left < 0:
                return HonestSupport(lower=size, upper=upper)
            if self._mixed(size, pivots):
                return HonestSupport(lower=size, upper=size)
        return HonestSupport(lower=upper, upper=upper)

    def _mixed(self, size: int, pivots: list[int]) -> bool:
        """Whether some combination vanishes outside of `size` columns (below, none does)."""
        if size == 1:
            return bool(self.determined())
        known = set(pivots)
        free = [column for column in range(len(self.honest)) if column not in known]
        for subset in combinations(range(len(self.honest)), size):
            # Rows whose pivots are outside have no part in it: nothing else could cancel their pivot.
            rows = [column for column in subset if column in known]
            if rows and self._span.dependent(rows, [column for column in free if column not in subset]):
                return True
        return False
