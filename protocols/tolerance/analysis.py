"""The answer for one design: how likely a uniformly random placement breaks secrecy, correctness, delivery, or any.

A placement is tolerated when no cluster is exposed, and at most F of the m clusters are tainted or lost, where F
is what the outer rule withstands. Its three sides, each an event of its own:

    private   some cluster is exposed: nothing repairs a leak
    correct   more than F clusters are tainted or lost, so that the rule promises nothing any more
    live      more than F clusters are lost: too few deliver for the rule, even if all that do are right
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.contour import contour_tail
from protocols.tolerance.parts import BadSet, Groups, Mask, NotExactError, clusters_of, parts_of
from protocols.tolerance.solve import Probability, bounds_on, tail
from protocols.tolerance.union import tail_bounds

__all__ = ["Analysis", "Faults", "analyse", "axes_of", "correct_failure", "failure", "private_failure"]

Counts = NDArray[np.int64]
_MOST_CELLS = 20_000_000
_MOST_ADDED = 1000  # clusters and rows for which it is worth to add up at each angle
_NEGLIGIBLE = 1e-12
"""What is this small beside another probability cannot change nine digits of their sum."""


@dataclass(frozen=True, kw_only=True)
class Faults:
    """How many of n processes are Byzantine, crashed and curious, without overlap; the placement is uniform.

    Raises: CloisterError for negative counts or more faulty processes than there are.
    """

    n: int
    byzantine: int
    crashed: int = 0
    curious: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(1, n=self.n)
        check.integer_at_least(0, faulty=self.byzantine, crash=self.crashed, curious=self.curious)
        if self.total > self.n:
            raise CloisterError(
                f"faulty + crash + curious = {self.total} is more than n = {self.n} processes; allowed: 0 to {self.n}"
            )

    @property
    def total(self) -> int:
        """The number of faulty processes of any kind."""
        return self.byzantine + self.crashed + self.curious

    @property
    def colluding(self) -> int:
        """The number of processes that pool what they see."""
        return self.byzantine + self.curious


@dataclass(frozen=True, kw_only=True)
class Analysis:
    """The probabilities that a uniformly random placement fails; `union_bound` is an upper bound on `fail`.

    Guarantees:
        live <= correct <= fail, private <= fail, fail <= private + correct, and fail <= union_bound, up to rounding.
    """

    private: Probability
    correct: Probability
    live: Probability
    fail: Probability
    union_bound: float


def analyse(faults: Faults, groups: Groups, conditions: Conditions, tolerate: int) -> Analysis:
    """Return the four probabilities; `tolerate` is F, the tainted or lost clusters that the outer rule withstands.

    A negative F (too few clusters for the rule) fails with certainty. Where no engine is exact (three kinds of
    fault in clusters of several hundreds), the value is an upper bound and its engine is "bounds".

    Guarantees:
        Equal to counting all placements one by one.
    Source: design notes 2.2 and 2.4; a lost cluster counts like a tainted one, since the rule misses its value.
    """
    private = private_failure(faults, groups, conditions)
    if tolerate < 0:
        sure = Probability.exact(1.0, "certain")
        return Analysis(private=private, correct=sure, live=sure, fail=sure, union_bound=1.0)
    correct = correct_failure(faults, groups, conditions, tolerate)
    lost = _kinds(faults, conditions.lost)
    same = _same_sets(groups, lost, _kinds(faults, conditions.failed))
    # A lost cluster has failed: what cannot happen to the failed ones cannot happen to the lost ones.
    live = correct if same or correct.upper == 0.0 else _probability(faults, groups, tolerate, lost)
    fail = _joined(faults, groups, conditions, tolerate, (private, correct))
    bound = 1.0 if fail.upper == 1.0 else _union_bound(faults, groups, conditions, tolerate)
    return Analysis(private=private, correct=correct, live=live, fail=fail, union_bound=max(bound, fail.upper))


def private_failure(faults: Faults, groups: Groups, conditions: Conditions) -> Probability:
    """Return Analysis.private alone; bounds where crashes matter in clusters too large for two kinds of fault."""
    without, worst = _colluding(faults, conditions, 0), _colluding(faults, conditions, faults.crashed)
    if not faults.crashed or _same_sets(groups, without, worst):
        return _probability(faults, groups, 0, without)
    try:
        event = _colluding_and_crashed(faults, conditions)
        found = _probability(faults, groups, 0, event)
    except NotExactError as error:  # too many occupancies
        found = bounds_on(0.0, 1.0, because=str(error))
    if found.engine != "bounds":
        return found
    lower, upper = (_probability(faults, groups, 0, each) for each in (without, worst))
    return bounds_on(max(lower.lower, found.lower), min(upper.upper, found.upper), because=found.because)


def correct_failure(faults: Faults, groups: Groups, conditions: Conditions, tolerate: int) -> Probability:
    """Return Analysis.correct alone."""
    if tolerate < 0:
        return Probability.exact(1.0, "certain")
    return _probability(faults, groups, tolerate, _kinds(faults, conditions.failed))


Occupancies = Callable[..., Mask]
"""(size, faulty members of each kind, ..) -> mask, elementwise."""


@dataclass(frozen=True, kw_only=True)
class _Event:
    """Bad occupancies, and forbidden ones, over the kinds of fault whose numbers are `counts`."""

    wrong: Occupancies
    counts: tuple[int, ...]
    barred: Occupancies | None = None

    def bad(self, size: int) -> Mask:
        """Return the bad occupancies of a cluster as a table; NotExactError where it would be too large."""
        return self.wrong(size, *axes_of(size, self.counts))

    @property
    def forbidden(self) -> BadSet | None:
        """The forbidden occupancies in the same way."""
        barred = self.barred
        return barred and (lambda size: barred(size, *axes_of(size, self.counts)))

    def cells(self, size: int, held: Sequence[Counts]) -> tuple[Mask, Mask]:
        """Return which occupancies are safe, and which bad, by the members of each kind that somebody has."""
        found = iter(held)
        kinds = [next(found) if count else np.zeros_like(held[0]) for count in self.counts]
        bad = self.wrong(size, *kinds)
        barred = self.barred(size, *kinds) if self.barred else np.zeros_like(bad)
        return ~bad & ~barred, bad & ~barred


def _same_sets(groups: Groups, one: _Event, other: _Event) -> bool:
    try:
        return all(np.array_equal(one.bad(size), other.bad(size)) for size, _ in groups)
    except NotExactError:  # too many occupancies to compare, as to compute
        return False


def _colluding(faults: Faults, conditions: Conditions, crashed: int) -> _Event:
    # Without crashes secrecy depends on a = b + p alone, and those are as uniformly placed as either: one kind.
    # With up to `crashed` of them in every cluster it is what can happen at worst.
    def exposed(c: int, a: Counts) -> Mask:
        return conditions.most_exposed(c, a, crashed)

    return _Event(wrong=exposed, counts=(faults.colluding,))


def _colluding_and_crashed(faults: Faults, conditions: Conditions) -> _Event:
    return _Event(wrong=conditions.exposed, counts=(faults.colluding, faults.crashed))


def _kinds(faults: Faults, cells: Callable[[int, Counts, Counts], Mask]) -> _Event:
    return _Event(wrong=cells, counts=(faults.byzantine, faults.crashed))


def _tainted_unexposed(faults: Faults, conditions: Conditions) -> _Event:
    def failed(c: int, b: Counts, k: Counts, p: Counts) -> Mask:
        return conditions.failed(c, b, k) | (p < 0)

    def exposed(c: int, b: Counts, k: Counts, p: Counts) -> Mask:
        return conditions.exposed(c, b + p, k)

    return _Event(wrong=failed, counts=(faults.byzantine, faults.crashed, faults.curious), barred=exposed)


def axes_of(size: int, counts: tuple[int, ...]) -> list[Counts]:
    """Return the numbers of members of each kind that a cluster can have, one axis a kind, to be broadcast.

    Raises: NotExactError for too many of them.
    """
    # An axis of length 1 for a kind that nobody has keeps a cluster of a million from needing 10^12 cells.
    lengths = [size + 1 if count else 1 for count in counts]
    if math.prod(lengths) > _MOST_CELLS:
        raise NotExactError(f"clusters of {size} have too many occupancies with so many kinds of fault")
    return list(np.meshgrid(*(np.arange(length) for length in lengths), indexing="ij", sparse=True))


def _probability(faults: Faults, groups: Groups, most: int, event: _Event) -> Probability:
    present = [count for count in event.counts if count]
    work = clusters_of(groups) * (most + 2)
    ways: list[Callable[[], Probability]] = [
        lambda: tail(parts_of(groups, event.bad, event.forbidden), faults.n, event.counts, most)
    ]
    if len(present) > 1 and sum(present) < faults.n and work <= _MOST_ADDED:
        # The last resort, but with a third kind of fault, where it is several times faster than any other.
        ways.insert(
            len(present) == 2,
            lambda: Probability.exact(contour_tail(groups, faults.n, present, event.cells, most), "contour of kinds"),
        )
    because = ""
    for way in ways:
        try:
            return way()
        except NotExactError as error:
            because = str(error)
    return bounds_on(0.0, _bound(faults, groups, most, event), because=because)


def _bound(faults: Faults, groups: Groups, most: int, event: _Event) -> float:
    try:
        return tail_bounds(parts_of(groups, event.bad), faults.n, event.counts, most).upper
    except NotExactError:
        return 1.0


def failure(
    faults: Faults, groups: Groups, conditions: Conditions, tolerate: int, *, enough: float = math.inf
) -> Probability:
    """Return Analysis.fail alone, without computing a side whose bound is negligible beside the other.

    Bounds will do where it is at least `enough`, as in a search for the smallest.
    """
    if tolerate < 0:
        return Probability.exact(1.0, "certain")
    private = private_failure(faults, groups, conditions)
    failed = _kinds(faults, conditions.failed)
    upper = _bound(faults, groups, tolerate, failed)
    if upper <= _NEGLIGIBLE * private.lower or private.lower >= 1 - _NEGLIGIBLE:
        return private
    correct = _probability(faults, groups, tolerate, failed)
    least = max(private.lower, correct.lower)
    if least >= enough:
        return bounds_on(least, private.upper + correct.upper, because="a search needs no more")
    return _joined(faults, groups, conditions, tolerate, (private, correct))


def _joined(
    faults: Faults, groups: Groups, conditions: Conditions, tolerate: int, sides: tuple[Probability, Probability]
) -> Probability:
    """P(exposed) + P(not exposed, and too many tainted or lost): additions only."""
    for side, other in (sides, sides[::-1]):
        if other.upper <= _NEGLIGIBLE * side.lower or side.lower >= 1 - _NEGLIGIBLE:
            return side
    private, correct = sides
    rest = _probability(faults, groups, tolerate, _tainted_unexposed(faults, conditions))
    if "bounds" in {private.engine, rest.engine}:
        because = private.because or rest.because
        lower = max(private.lower + rest.lower, correct.lower)
        return bounds_on(lower, private.upper + min(rest.upper, correct.upper), because=because)
    return private.plus(rest)


def _union_bound(faults: Faults, groups: Groups, conditions: Conditions, tolerate: int) -> float:
    # Crashes only add to what is exposed: a bound with all of them wherever they do harm.
    events = ((0, _colluding(faults, conditions, faults.crashed)), (tolerate, _kinds(faults, conditions.failed)))
    return min(1.0, sum(_bound(faults, groups, most, event) for most, event in events))
