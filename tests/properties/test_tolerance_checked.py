"""Hidden sums whose inputs are checked: probabilities are shares of all placements and draws, by the protocol's rules.

Every placement of some members and every draw of delegates is put to `outcome_of`, which says of itself what a run
shows; see tests/properties/test_hidden_range.py for runs that hold it to that.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import Literal

import pytest

from protocols.hidden_sums._promises import Faulty, outcome_of
from protocols.hidden_sums.hidden import Hidden, group_conditions
from protocols.network import TooFewPartiesError
from protocols.secure_sum._verdict import Verdict
from protocols.tolerance import hidden_private, tallies
from protocols.tolerance.analysis import Faults
from protocols.tolerance.delegates import Delegates
from protocols.tolerance.hidden import hidden_bound, hidden_sides, hidden_worst, private_hidden, sums_shown
from protocols.tolerance.hidden_states import states
from protocols.tolerance.parts import Groups, size_groups
from protocols.tolerance.tallies import tally
from tests.seated import Seated

CONDITIONS = group_conditions()
Kinds = tuple[frozenset[int], frozenset[int], frozenset[int]]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One placement and draw: its weight, what the protocol says of it, and how many groups are lost or failed."""

    weight: float
    said: Verdict
    lost: int
    failed: int


def placements(n: int, faults: Faults) -> Iterator[Kinds]:
    for liars in map(frozenset, combinations(range(n), faults.byzantine)):
        rest = sorted(set(range(n)) - liars)
        for gone in map(frozenset, combinations(rest, faults.crashed)):
            for spies in map(frozenset, combinations(sorted(set(rest) - gone), faults.curious)):
                yield liars, gone, spies


def cases(protocol: Hidden, faults: Faults) -> Iterator[Case]:
    """Every placement and draw; the weights of the draws of one placement add up to 1."""
    n = faults.n
    groups = protocol.groups_of(parties=n)
    for liars, gone, spies in placements(n, faults):
        complete = [group for group in groups if gone.isdisjoint(group)]
        failed = sum(not (liars | gone).isdisjoint(group) for group in groups)
        faulty = Faulty(byzantine=liars, crashed=gone, curious=spies, late=frozenset())
        try:
            protocol.seats(parties=n, present=frozenset(range(n)) - gone, use=1)
            draws = list(combinations(complete, protocol.delegates))
        except TooFewPartiesError:
            draws = [()]
        for drawn in draws:
            chance = 1.0 / len(draws) / math.prod(len(group) for group in drawn)
            for delegates in product(*drawn):
                said = outcome_of(Seated(protocol=protocol, delegates=delegates), faulty, parties=n, use=1)
                yield Case(weight=chance, said=said, lost=len(groups) - len(complete), failed=failed)


def asked(protocol: Hidden, n: int) -> tuple[Groups, Delegates, int]:
    """What the analysis is asked about this protocol."""
    groups = size_groups(n, protocol.group_size)
    delegates = Delegates(
        count=protocol.delegates,
        threshold=protocol.access.threshold,
        checked=protocol.checks_inputs,
        shows_total=protocol.rule.by_members,
    )
    return groups, delegates, protocol.breakdown(n)


DESIGNS = [
    (2, "median", "range", 3, 7, (2, 0, 0)),
    (2, "median", "range", 3, 8, (2, 2, 0)),
    (2, "trimmed_mean", "range", 3, 7, (1, 2, 1)),
    (1, "median", "range", 3, 5, (1, 1, 1)),
    (2, "mean", "range", 3, 6, (3, 0, 1)),
    (2, "mean", "range", 3, 8, (1, 0, 5)),
    (2, "mean", "range", 3, 7, (2, 1, 3)),
    (1, "mean", "range", 3, 5, (1, 1, 2)),
    (1, "median", "none", 3, 5, (1, 1, 1)),
    (2, "mean", "none", 3, 7, (3, 1, 1)),
    (2, "median", "none", 3, 8, (2, 2, 0)),
]
"""Size of a group, rule, check of inputs, delegates, n, and how many are Byzantine, crashed and curious."""


@pytest.mark.parametrize(("size", "outer", "check", "count", "n", "kinds"), DESIGNS, ids=str)
def test_sides_are_the_shares_of_all_placements_and_draws(  # noqa: PLR0917 - a design
    size: int, outer: str, check: Literal["none", "range"], count: int, n: int, kinds: tuple[int, int, int]
) -> None:
    protocol = Hidden(group_size=size, outer=outer, input_check=check, delegates=count)
    faults = Faults(n=n, byzantine=kinds[0], crashed=kinds[1], curious=kinds[2])
    groups, delegates, tolerate = asked(protocol, n)
    found = hidden_sides(faults, groups, CONDITIONS, delegates, tolerate)
    spare = delegates.spare(groups)
    counted, whole = [0.0] * 4, 0.0
    for case in cases(protocol, faults):
        stopped = case.lost > min(tolerate, spare) or (delegates.checked and case.failed > spare)
        harmed = case.failed > tolerate or case.lost > spare
        # What the protocol says of itself is never worse than what is counted, and the same where nobody is lost.
        assert case.said.live or stopped
        assert case.said.correct or harmed
        assert case.lost or case.said.live is not stopped
        assert case.lost or case.said.correct is not harmed
        sides = (not case.said.private, harmed, stopped, not case.said.private or harmed or stopped)
        counted = [total + case.weight * side for total, side in zip(counted, sides, strict=True)]
        whole += case.weight
    assert [each.value for each in (found.private, found.correct, found.live, found.fail)] == pytest.approx(
        [total / whole for total in counted], rel=1e-9, abs=1e-15
    )
    assert "bounds" not in {each.engine for each in (found.private, found.correct, found.live, found.fail)}
    assert found.fail.value <= found.union_bound * (1 + 1e-9)
    assert found.fail.value <= hidden_bound(faults, groups, CONDITIONS, delegates, tolerate) * (1 + 1e-9)


def test_a_count_that_forgets_whom_members_may_leave_alone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative twin: without it the mean's design of eight, above, comes out too safe."""
    faults, (groups, delegates, _) = Faults(n=8, byzantine=1, curious=5), asked(CHECKED_MEAN, 8)
    whole = private_hidden(faults, groups, delegates).value
    assert whole > sums_shown(faults, delegates) * (1 + 1e-3)
    monkeypatch.setattr(tallies, "_AFTER_LEAVABLE", dict.fromkeys((False, True), (4,) * 5))
    assert private_hidden(faults, groups, delegates).value < whole * (1 - 1e-3)


CHECKED_MEAN = Hidden(group_size=2, outer="mean", input_check="range")


@pytest.mark.parametrize("outer", ["median", "mean"])
@pytest.mark.parametrize(("n", "size"), [(6, 1), (7, 2), (9, 2)])
def test_whoever_is_drawn_is_what_the_verdict_of_a_run_says(outer: str, n: int, size: int) -> None:
    protocol = Hidden(group_size=size, outer=outer, input_check="range")
    (groups, delegates, _), clusters = asked(protocol, n), protocol.groups_of(parties=n)
    for f in range(1, n):
        chosen = list(combinations(range(n), f))
        shares = sum(protocol.exposes(clusters, set(each)) for each in chosen) / len(chosen)
        found = private_hidden(Faults(n=n, byzantine=f), groups, delegates, whoever=True)
        assert found.value == pytest.approx(shares, rel=1e-9)


@pytest.mark.parametrize("outer", ["median", "mean"])
@pytest.mark.parametrize(("n", "size"), [(5, 1), (6, 2), (7, 2)])
def test_the_worst_case_is_that_of_trying_all(outer: str, n: int, size: int) -> None:
    protocol = Hidden(group_size=size, outer=outer, input_check="range")
    groups, delegates, tolerate = asked(protocol, n)
    first = [n + 1] * 3
    for b in range(n + 1):
        for case in cases(protocol, Faults(n=n, byzantine=b)):
            stopped = case.failed > delegates.spare(groups)
            assert case.said.live is not stopped
            broken = (not case.said.private, case.failed > tolerate, stopped)
            first = [min(least, b) if each else least for least, each in zip(first, broken, strict=True)]
        if max(first) <= b:
            break
    found = hidden_worst(Faults(n=n, byzantine=0), groups, CONDITIONS, delegates, tolerate)
    assert (found.private, found.correct, found.live) == tuple(each - 1 for each in first)


@pytest.mark.parametrize("whoever", [False, True])
@pytest.mark.parametrize(("n", "size", "count", "faulty"), [(11, 2, 5, 5), (40, 4, 3, 7), (60, 7, 5, 12)])
def test_two_ways_to_count_agree(n: int, size: int, count: int, faulty: int, whoever: bool) -> None:
    """The recursion for one kind of fault, which averages over who serves beforehand, and the one for all kinds."""
    groups, delegates = size_groups(n, size), Delegates(count=count, threshold=(count - 1) // 2)
    one = states(faulty, n, groups, delegates, most=3, whoever=whoever)
    all_kinds = tally(Faults(n=n, byzantine=faulty), groups, delegates, most=3, whoever=whoever)
    assert all_kinds is not None
    assert all_kinds.chances.sum() == pytest.approx(1.0, rel=1e-12)
    assert all_kinds.probability(lambda _, known, __: known) == pytest.approx(one[1, 1].sum(), rel=1e-9)
    for most in range(4):
        both = all_kinds.probability(lambda _, known, failed, most=most: known & (failed > most))
        assert both == pytest.approx(one[1, 1, most + 1 :].sum(), rel=1e-9)


@pytest.mark.parametrize("outer", ["median", "mean"])
@pytest.mark.parametrize("kinds", [(4, 0, 0), (3, 2, 2), (0, 2, 4)])
def test_what_is_not_counted_lies_between_bounds(
    monkeypatch: pytest.MonkeyPatch, outer: str, kinds: tuple[int, int, int]
) -> None:
    faults = Faults(n=18, byzantine=kinds[0], crashed=kinds[1], curious=kinds[2])
    for check in ("none", "range"):
        groups, delegates, tolerate = asked(Hidden(group_size=2, outer=outer, input_check=check), 18)
        exact = hidden_sides(faults, groups, CONDITIONS, delegates, tolerate)
        kept = private_hidden(faults, groups, delegates, whoever=True)
        with monkeypatch.context() as patched:
            patched.setattr(tallies, "_MOST_WORK", 0.0)
            patched.setattr(hidden_private, "MOST_WORK", 0.0)
            bounded = hidden_sides(faults, groups, CONDITIONS, delegates, tolerate)
            kept_bounded = private_hidden(faults, groups, delegates, whoever=True)
        pairs = [(getattr(exact, side), getattr(bounded, side)) for side in ("private", "correct", "live", "fail")]
        for one, other in (*pairs, (kept, kept_bounded)):
            assert one.engine != "bounds"
            assert other.lower * (1 - 1e-9) <= one.value <= other.upper * (1 + 1e-9) + 1e-15
            assert other.engine != "bounds" or other.because


def test_checked_inputs_of_any_number_of_processes_are_known_as_often_as_delegates_collude() -> None:
    faults, groups = Faults(n=1_000_000, byzantine=100_000, curious=50_000), size_groups(1_000_000, 10)
    found = private_hidden(faults, groups, Delegates(checked=True))
    # Three delegates, two of whom collude: 3 q^2 (1 - q) + q^3 for q = 0.15, but for 1e-6 of it.
    assert found.engine == "draw of delegates"
    assert found.value == pytest.approx(3 * 0.15**2 * 0.85 + 0.15**3, rel=1e-5)
    mean = private_hidden(faults, groups, Delegates(checked=True, shows_total=True))
    assert mean.engine == "bounds that meet"
    assert mean.value == pytest.approx(found.value, rel=1e-9)


def test_clusters_by_the_hundred_thousand_are_bounded_and_not_counted_one_by_one() -> None:
    few, groups = Faults(n=1_000_000, byzantine=2, crashed=1), size_groups(1_000_000, 10)
    assert tally(few, groups, Delegates(checked=True), most=-1) is None
    found = hidden_sides(few, groups, CONDITIONS, Delegates(checked=True), 49_999)
    assert found.fail.value == pytest.approx(6.0000180000229876e-12, rel=1e-9)  # of the recursion, in half a minute
    assert tally(Faults(n=1000, byzantine=2, crashed=1), size_groups(1000, 10), Delegates(checked=True), most=-1)
