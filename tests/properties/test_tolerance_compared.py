"""Two committees that compare: probabilities are shares of all placements and all draws, by the protocol's verdict.

Every placement of some members and every draw of both committees is put to `outcome_of`, which says of itself what a
run shows; see tests/properties/test_hidden_range_committees.py for runs that hold it to that.
"""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import combinations, combinations_with_replacement, pairwise, permutations, product
from typing import Literal, cast

import numpy as np
import pytest
from scipy import stats

from protocols.hidden_sums._promises import Faulty, outcome_of
from protocols.hidden_sums.hidden import Hidden, group_conditions
from protocols.network import TooFewPartiesError
from protocols.secure_robust._access import Access
from protocols.secure_sum._verdict import Verdict
from protocols.tolerance import compared, hidden_private, tallies
from protocols.tolerance.analysis import Analysis, Faults
from protocols.tolerance.compared import lying_in_each, wrong_result
from protocols.tolerance.delegates import Delegates
from protocols.tolerance.hidden import hidden_bound, hidden_sides, hidden_worst, private_hidden, sums_shown
from protocols.tolerance.parts import size_groups
from tests.properties.test_tolerance_checked import placements
from tests.seated import Seated

CONDITIONS = group_conditions()
SIDES = ("private", "correct", "live", "fail")
Check = Literal["none", "range"]
Drawn = tuple[tuple[int, ...], tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class OneOpensAll:
    """Who has the sums where members deviate: any delegate, so that the threshold is none."""

    parties: int
    threshold: int = 0


def seated(protocol: Hidden, drawn: Drawn) -> Seated:
    """The protocol, with these two committees, of whom any delegate may deviate."""
    first, second = drawn
    opens = cast("Access", OneOpensAll(parties=protocol.delegates))
    return Seated(protocol=protocol, delegates=first, second=second, opens=opens)


def draws(complete: Sequence[Sequence[int]], count: int) -> Iterator[tuple[Fraction, Drawn]]:
    """Every draw of both committees, as the protocol's: of clusters in an order, and of one member of each who is free.

    The first committee is of the first clusters; the second of those after them, then of the first again.
    """
    m = len(complete)
    again = max(0, 2 * count - m)
    for numbers in permutations(range(m), min(m, 2 * count)):
        # In one committee the order means nothing, but for who is asked again.
        apart = (numbers[:again], numbers[again:count], numbers[count:])
        if any(list(part) != sorted(part) for part in apart):
            continue
        orders = math.comb(m, again) * math.comb(m - again, count - again) * math.comb(m - count, count - again)
        for first in product(*(complete[number] for number in numbers[:count])):
            free = [[rank for rank in complete[number] if rank not in first] for number in numbers]
            asked = [*free[count:], *free[:again]]
            chance = Fraction(1, orders * math.prod(len(complete[number]) for number in numbers[:count]))
            for second in product(*asked):
                yield chance / math.prod(map(len, asked)), (first, second)


@dataclass(frozen=True, kw_only=True)
class Case:
    """One placement and draw: its weight, what the protocol says of it, and what the faults do to groups."""

    weight: Fraction
    said: Verdict
    lost: int
    failed: int
    lied: bool
    served: bool


def cases(protocol: Hidden, faults: Faults, *, one_draw: bool = False) -> Iterator[Case]:
    """Every placement and draw; with `one_draw` the first: of groups of one size all have the same law."""
    n = faults.n
    groups = protocol.groups_of(parties=n)
    found: dict[frozenset[int], list[tuple[Fraction, Drawn]]] = {}
    for liars, gone, spies in placements(n, faults):
        complete = [group for group in groups if gone.isdisjoint(group)]
        failed = sum(not (liars | gone).isdisjoint(group) for group in groups)
        if gone not in found:
            found[gone] = drawn_of(protocol, n, gone, complete, one_draw=one_draw)
        faulty = Faulty(byzantine=liars, crashed=gone, curious=spies, late=frozenset(), deviating=liars)
        for weight, drawn in found[gone]:
            yield Case(
                weight=weight,
                said=outcome_of(seated(protocol, drawn), faulty, parties=n, use=1),
                lost=len(groups) - len(complete),
                failed=failed,
                lied=all(not liars.isdisjoint(each) for each in drawn),
                served=bool(drawn[0]),
            )


def drawn_of(
    protocol: Hidden, n: int, gone: frozenset[int], complete: Sequence[Sequence[int]], *, one_draw: bool
) -> list[tuple[Fraction, Drawn]]:
    try:
        protocol.seats(parties=n, present=frozenset(range(n)) - gone, use=1)
    except TooFewPartiesError:
        return [(Fraction(1), ((), ()))]
    every = draws(complete, protocol.delegates)
    if one_draw:
        return [(Fraction(1), next(every)[1])]
    found = list(every)
    assert sum(weight for weight, _ in found) == 1
    return found


def asked(protocol: Hidden, n: int) -> tuple[tuple[tuple[int, int], ...], Delegates, int]:
    """What the analysis is asked about this protocol."""
    delegates = Delegates(
        count=protocol.delegates,
        threshold=protocol.access.threshold,
        deviating=True,
        committees=2,
        checked=protocol.checks_inputs,
        shows_total=protocol.rule.by_members,
    )
    return size_groups(n, protocol.group_size), delegates, protocol.breakdown(n)


def sides_of(protocol: Hidden, faults: Faults) -> Analysis:
    groups, delegates, tolerate = asked(protocol, faults.n)
    return hidden_sides(faults, groups, CONDITIONS, delegates, tolerate)


def shares(protocol: Hidden, faults: Faults, *, one_draw: bool = False) -> list[Fraction]:
    """The shares of placements and draws whose sides fail, as exact rationals."""
    groups, delegates, tolerate = asked(protocol, faults.n)
    spare = delegates.spare(groups)
    counted, whole = [Fraction(0)] * 4, Fraction(0)
    for case in cases(protocol, faults, one_draw=one_draw):
        harmed = case.failed > tolerate or case.lost > spare or case.lied
        stopped = faults.byzantine > 0 or case.lost > min(tolerate, spare)
        assert case.served is (case.lost <= spare)
        # What the protocol says of itself is never worse than what is counted, and the same where nobody is lost.
        assert case.said.live or stopped
        assert case.said.correct or harmed
        assert case.lost or case.said.live is not stopped
        assert case.lost or case.said.correct is not harmed
        sides = (not case.said.private, harmed, stopped, not case.said.private or harmed or stopped)
        counted = [total + case.weight * side for total, side in zip(counted, sides, strict=True)]
        whole += case.weight
    return [total / whole for total in counted]


DESIGNS = [
    (1, "median", "range", 6, (2, 0, 0)),
    (1, "median", "range", 7, (2, 1, 1)),
    (1, "mean", "range", 7, (2, 1, 2)),
    (1, "mean", "range", 6, (1, 0, 4)),
    (1, "median", "range", 7, (0, 2, 2)),
    (1, "median", "none", 7, (3, 1, 0)),
    (2, "median", "range", 6, (2, 0, 1)),
    (2, "median", "range", 7, (2, 0, 1)),
    (2, "median", "range", 8, (2, 1, 0)),
    (2, "trimmed_mean", "range", 7, (0, 1, 2)),
    (2, "median", "range", 8, (0, 2, 1)),
    (2, "mean", "range", 7, (1, 0, 4)),
    (2, "mean", "range", 8, (1, 1, 4)),
    (2, "mean", "none", 7, (2, 0, 2)),
    (2, "median", "none", 8, (1, 1, 3)),
    (2, "median", "none", 7, (0, 1, 4)),
]
"""Size of a group, rule, check of inputs, n, and how many are Byzantine, crashed and curious; three delegates each."""


@pytest.mark.parametrize(("size", "outer", "check", "n", "kinds"), DESIGNS, ids=str)
def test_sides_are_the_shares_of_all_placements_and_draws(
    size: int, outer: str, check: Check, n: int, kinds: tuple[int, int, int]
) -> None:
    protocol = Hidden(group_size=size, outer=outer, input_check=check, committees=2)
    faults = Faults(n=n, byzantine=kinds[0], crashed=kinds[1], curious=kinds[2])
    found, expected = sides_of(protocol, faults), shares(protocol, faults)
    values = [getattr(found, side) for side in SIDES]
    assert [each.value for each in values] == pytest.approx([float(each) for each in expected], rel=1e-9, abs=1e-15)
    assert "bounds" not in {each.engine for each in values}
    groups, delegates, tolerate = asked(protocol, n)
    assert found.fail.value <= found.union_bound * (1 + 1e-9)
    assert found.fail.value <= hidden_bound(faults, groups, CONDITIONS, delegates, tolerate) * (1 + 1e-9)


ALIKE = [
    ("median", "range", 12, (2, 1, 0)),
    ("mean", "range", 12, (1, 1, 2)),
    ("median", "range", 14, (2, 1, 1)),
    ("median", "none", 12, (3, 1, 0)),
    ("median", "range", 14, (0, 2, 2)),
]


@pytest.mark.parametrize(("outer", "check", "n", "kinds"), ALIKE, ids=str)
def test_so_they_are_where_a_lost_group_leaves_too_few_for_committees_apart(
    outer: str, check: Check, n: int, kinds: tuple[int, int, int]
) -> None:
    """Six or seven groups of two, of which six are needed: all placements, with one draw for whoever has crashed."""
    protocol = Hidden(group_size=2, outer=outer, input_check=check, committees=2)
    faults = Faults(n=n, byzantine=kinds[0], crashed=kinds[1], curious=kinds[2])
    found, expected = sides_of(protocol, faults), shares(protocol, faults, one_draw=True)
    assert [getattr(found, side).value for side in SIDES] == pytest.approx(
        [float(each) for each in expected], rel=1e-9, abs=1e-15
    )


def arrangements(chosen: Sequence[tuple[str, str]]) -> int:
    return math.factorial(len(chosen)) // math.prod(math.factorial(many) for many in Counter(chosen).values())


def test_members_leave_one_alone_in_a_mean_although_none_of_them_serves() -> None:
    """Eight groups of two, of which six send one: all kinds of placements by how many there are of each, one draw.

    The six outsiders all serve, and five of them have a Byzantine member beside them.
    """
    faults = Faults(n=16, byzantine=5, curious=5)
    protocol = Hidden(group_size=2, outer="mean", input_check="range", committees=2)
    drawn, pairs = ((0, 2, 4), (6, 8, 10)), list(product("bph", repeat=2))
    exposed = total = 0
    for serving in combinations_with_replacement(pairs, 6):
        for idle in combinations_with_replacement(pairs, 2):
            kinds = "".join(map("".join, (*serving, *idle)))
            if (kinds.count("b"), kinds.count("p")) != (5, 5):
                continue
            liars, spies = (frozenset(rank for rank, kind in enumerate(kinds) if kind == one) for one in "bp")
            faulty = Faulty(byzantine=liars, crashed=frozenset(), curious=spies, late=frozenset(), deviating=liars)
            said = outcome_of(seated(protocol, drawn), faulty, parties=16, use=1)
            weight = arrangements(serving) * arrangements(idle)
            exposed, total = exposed + weight * (not said.private), total + weight
    assert total == math.comb(16, 5) * math.comb(11, 5)
    groups, delegates, _ = asked(protocol, 16)
    found = private_hidden(faults, groups, delegates)
    assert found.engine == "recursion"
    safe = 1 - Fraction(exposed, total)
    # With none of six colluding it is safe, but for 6 in 252 of these placements.
    assert safe == Fraction(1, math.comb(16, 6)) * (1 - Fraction(6, 252))
    assert found.value == pytest.approx(float(1 - safe), rel=1e-9)


@pytest.mark.parametrize(("size", "byzantine", "crashed"), [(2, 2, 0), (2, 3, 0), (2, 2, 1), (3, 2, 0), (3, 1, 1)])
def test_wrong_results_of_groups_of_two_sizes_are_the_shares_too(size: int, byzantine: int, crashed: int) -> None:
    """13 members in groups of 3 and 2, or 11 of 4, 4 and 3: every draw of the protocol's, without its verdict."""
    n = {2: 13, 3: 11}[size]
    protocol = Hidden(group_size=size, input_check="range", committees=2)
    groups, delegates, tolerate = asked(protocol, n)
    wrong, total = Fraction(0), 0
    for gone in map(frozenset, combinations(range(n), crashed)):
        complete = [group for group in protocol.groups_of(parties=n) if gone.isdisjoint(group)]
        seated = [(weight, *map(frozenset, drawn)) for weight, drawn in draws(complete, 3)] if len(complete) > 2 else []
        for liars in map(frozenset, combinations(sorted(set(range(n)) - gone), byzantine)):
            failed = sum(not (liars | gone).isdisjoint(group) for group in protocol.groups_of(parties=n))
            lied = sum(weight for weight, first, second in seated if liars & first and liars & second)
            wrong += 1 if failed > tolerate or not seated else lied
            total += 1
    faults = Faults(n=n, byzantine=byzantine, crashed=crashed)
    found = wrong_result(faults, groups, CONDITIONS, delegates, tolerate)
    assert found.engine != "bounds"
    assert found.value == pytest.approx(float(wrong / total), rel=1e-12)


def drawn_with_replacement(first: bool, second: bool) -> object:
    return lambda b, size: (b if first else size - b) * (b if second else size - b) / size**2


def test_a_law_in_which_one_member_serves_in_both_committees_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative twin, for each of the two counts."""
    protocol, liar = Hidden(group_size=2, input_check="range", committees=2), Faults(n=7, byzantine=2, curious=1)
    unchecked, spies = replace(protocol, input_check="none"), Faults(n=8, byzantine=0, crashed=1, curious=3)
    wrong, exposed = shares(protocol, liar)[1], shares(unchecked, spies)[0]
    assert sides_of(protocol, liar).correct.value == pytest.approx(float(wrong), rel=1e-9)
    assert sides_of(unchecked, spies).private.value == pytest.approx(float(exposed), rel=1e-9)
    both = tuple(
        (lied, drawn_with_replacement(*lied)) for lied in ((False, False), (False, True), (True, False), (True, True))
    )
    monkeypatch.setitem(compared._OUTCOMES, (1, 1), both)
    monkeypatch.setattr(tallies, "_free", lambda size, others, serving: (others / size) ** serving)
    monkeypatch.setattr(tallies, "_some", lambda size, a, serving: 1 - ((size - a) / size) ** serving)
    assert sides_of(protocol, liar).correct.value != pytest.approx(float(wrong), rel=1e-3)
    assert sides_of(unchecked, spies).private.value != pytest.approx(float(exposed), rel=1e-3)


def test_a_law_that_forgets_who_lies_in_both_committees_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The negative twin: counting failed clusters alone."""
    protocol, faults = Hidden(group_size=1, input_check="range", committees=2), Faults(n=7, byzantine=2)
    expected = float(shares(protocol, faults)[1])
    assert sides_of(protocol, faults).correct.value == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(compared, "lying_in_each", lambda *_: 0.0)
    assert sides_of(protocol, faults).correct.value < expected * (1 - 1e-3)


@pytest.mark.parametrize("crashed", [0, 2])
def test_the_protocols_own_draws_break_as_often_as_is_computed(crashed: int) -> None:
    """1000 batches at n = 27 in six groups: exact binomial tests, false alarms at most 1e-6 in all four.

    With 5e-7 two-sided a share of 0.5 that is 10 points off is missed with less than 11 %: 0.1 / sqrt(0.25 / 1000) is
    6.3 standard deviations, and 5.03 are needed.
    """
    n, batches = 27, 1000
    faults = Faults(n=n, byzantine=2, crashed=crashed, curious=1)
    protocol = Hidden(group_size=4, outer="median", input_check="range", committees=2)
    groups, delegates, tolerate = asked(protocol, n)
    rng, exposed, wrong = np.random.default_rng(11 + crashed), 0, 0
    for use in range(batches):
        placed = rng.permutation(n).tolist()
        liars, gone = frozenset(placed[:2]), frozenset(placed[3 : 3 + crashed])
        present = frozenset(range(n)) - gone
        failed = sum(not (liars | gone).isdisjoint(group) for group in protocol.groups_of(parties=n))
        try:
            seats = protocol.seats(parties=n, present=present, use=use)
        except TooFewPartiesError:
            wrong += 1
            continue
        said = outcome_of(
            seated(protocol, (seats.delegates, seats.second)),
            Faulty(byzantine=liars, crashed=gone, curious=frozenset(placed[2:3]), late=frozenset(), deviating=liars),
            parties=n,
            use=use,
        )
        exposed += not said.private
        lied = all(not liars.isdisjoint(each.delegates) for each in seats.committees)
        wrong += failed > tolerate or lied
    found = hidden_sides(faults, groups, CONDITIONS, delegates, tolerate)
    assert 0.02 < found.correct.value < 0.98
    assert 0.2 < found.private.value < 0.8
    assert stats.binomtest(exposed, batches, found.private.value).pvalue > 2.5e-7
    assert stats.binomtest(wrong, batches, found.correct.value).pvalue > 2.5e-7


@pytest.mark.parametrize(("n", "size", "crashed"), [(12, 2, 0), (13, 2, 2), (9, 2, 1), (9, 1, 1), (20, 4, 2)])
@pytest.mark.parametrize("outer", ["median", "mean"])
def test_more_liars_break_more(n: int, size: int, crashed: int, outer: str) -> None:
    """Private, as long as somebody outside the coalition must be in a group that is left."""
    protocol = Hidden(group_size=size, outer=outer, input_check="range", committees=2)
    most = n - crashed * asked(protocol, n)[0][-1][0]
    for side in ("private", "correct", "live", "fail"):
        values = [
            getattr(sides_of(protocol, Faults(n=n, byzantine=b, crashed=crashed)), side).value
            for b in range(most if side == "private" else n - crashed + 1)
        ]
        assert all(less <= more * (1 + 1e-12) for less, more in pairwise(values)), side
        assert side != "private" or values[-1] > values[0]


@pytest.mark.parametrize("kinds", [(3, 0, 2), (2, 2, 2), (0, 3, 4), (5, 1, 0)])
def test_it_agrees_with_the_laws_of_one_committee_where_it_must(kinds: tuple[int, int, int]) -> None:
    n, faults = 32, Faults(n=32, byzantine=kinds[0], crashed=kinds[1], curious=kinds[2])
    for outer in ("median", "mean"):
        groups, two, tolerate = asked(Hidden(group_size=2, outer=outer, input_check="range", committees=2), n)
        one = replace(two, committees=1)
        exposed = private_hidden(faults, groups, two).value
        if outer == "median":  # of enough groups they know what six delegates would know
            assert exposed == pytest.approx(private_hidden(faults, groups, replace(one, count=6)).value, rel=1e-12)
        assert exposed > private_hidden(faults, groups, one).value * (1 + 1e-3)
        calm = replace(faults, byzantine=0)  # nobody lies
        found, single = (hidden_sides(calm, groups, CONDITIONS, each, tolerate) for each in (two, one))
        assert found.correct.value == pytest.approx(single.correct.value, rel=1e-12)
        assert found.live.value == pytest.approx(single.live.value, rel=1e-12)
        # One liar is in one committee: what remains is what it enters.
        liar = replace(faults, byzantine=1)
        entered = replace(one, deviating=False, checked=False)
        assert hidden_sides(liar, groups, CONDITIONS, two, tolerate).correct.value == pytest.approx(
            hidden_sides(liar, groups, CONDITIONS, entered, tolerate).correct.value, rel=1e-9
        )
        # A rule that withstands all groups is wrong as often as both committees lie.
        lying = wrong_result(faults, groups, CONDITIONS, two, 16).value
        assert lying == pytest.approx(lying_in_each(faults, two), rel=1e-12)


def test_liars_in_both_committees_are_counted_by_inclusion_and_exclusion_and_keep_their_digits() -> None:
    for n, b, crashed in ((8, 3, 1), (60, 4, 0), (1000, 2, 100), (100_000, 3, 0)):
        faults, present = Faults(n=n, byzantine=b, crashed=crashed), n - crashed
        none = [Fraction(math.comb(present - serving, b), math.comb(present, b)) for serving in (3, 6)]
        delegates = Delegates(deviating=True, committees=2)
        assert lying_in_each(faults, delegates) == pytest.approx(float(1 - 2 * none[0] + none[1]), rel=1e-10)


@pytest.mark.parametrize("outer", ["median", "mean"])
@pytest.mark.parametrize(("n", "size"), [(6, 1), (6, 2), (7, 2)])
def test_the_worst_case_is_that_of_trying_all(outer: str, n: int, size: int) -> None:
    protocol = Hidden(group_size=size, outer=outer, input_check="range", committees=2)
    groups, delegates, tolerate = asked(protocol, n)
    first = dict.fromkeys(("private", "correct", "live"), n + 1)
    for b in range(n):
        for case in cases(protocol, Faults(n=n, byzantine=b)):
            for side in first:
                if not getattr(case.said, side):
                    first[side] = min(first[side], b)
        if max(first.values()) <= b:
            break
    found = hidden_worst(Faults(n=n, byzantine=0), groups, CONDITIONS, delegates, tolerate)
    assert {side: getattr(found, side) + 1 for side in first} == first


@pytest.mark.parametrize("check", ["none", "range"])
@pytest.mark.parametrize(("n", "size"), [(7, 1), (8, 2), (12, 2)])
def test_whoever_is_drawn_is_what_the_verdict_of_a_run_says(check: Check, n: int, size: int) -> None:
    protocol = Hidden(group_size=size, input_check=check, committees=2)
    (groups, delegates, _), clusters = asked(protocol, n), protocol.groups_of(parties=n)
    for f in range(1, min(n, 6)):
        chosen = list(map(frozenset, combinations(range(n), f)))
        shown = sum(protocol.exposes(clusters, each, deviating=each) for each in chosen) / len(chosen)
        found = private_hidden(Faults(n=n, byzantine=f), groups, delegates, whoever=True)
        assert found.value == pytest.approx(shown, rel=1e-9)


@pytest.mark.parametrize("outer", ["median", "mean"])
@pytest.mark.parametrize("kinds", [(4, 0, 0), (3, 2, 2), (0, 2, 4)])
@pytest.mark.parametrize("n", [9, 18])
def test_what_is_not_counted_lies_between_bounds(
    monkeypatch: pytest.MonkeyPatch, n: int, outer: str, kinds: tuple[int, int, int]
) -> None:
    faults = Faults(n=n, byzantine=kinds[0], crashed=kinds[1], curious=kinds[2])
    for check in ("none", "range"):
        protocol = Hidden(group_size=2, outer=outer, input_check=check, committees=2)
        groups, delegates, tolerate = asked(protocol, n)
        exact, kept = sides_of(protocol, faults), private_hidden(faults, groups, delegates, whoever=True)
        with monkeypatch.context() as patched:
            patched.setattr(tallies, "_MOST_WORK", 0.0)
            patched.setattr(compared, "_MOST_WORK", 0.0)
            patched.setattr(hidden_private, "MOST_WORK", 0.0)
            bounded = hidden_sides(faults, groups, CONDITIONS, delegates, tolerate)
            kept_bounded = private_hidden(faults, groups, delegates, whoever=True)
        pairs = [(getattr(exact, side), getattr(bounded, side)) for side in SIDES]
        for one, other in (*pairs, (kept, kept_bounded)):
            assert one.engine != "bounds"
            assert other.lower * (1 - 1e-9) <= one.value <= other.upper * (1 + 1e-9) + 1e-15
            assert other.engine != "bounds" or other.because


def test_a_thousand_processes_are_counted_and_a_million_are_known_as_often_as_delegates_collude() -> None:
    checked = Delegates(deviating=True, committees=2, checked=True)
    thousand = hidden_sides(Faults(n=1000, byzantine=100), size_groups(1000, 10), CONDITIONS, checked, 49)
    assert (thousand.private.engine, thousand.correct.engine) == ("draw of delegates", "recursion")
    faults, groups = Faults(n=1_000_000, byzantine=100, curious=99_900), size_groups(1_000_000, 10)
    found = hidden_sides(faults, groups, CONDITIONS, checked, 49_999)
    # Nobody of six colludes with 0.9^6, but for 1e-6 of it.
    assert found.private.value == pytest.approx(sums_shown(faults, checked), rel=1e-12)
    assert found.private.value == pytest.approx(1 - 0.9**6, rel=1e-5)
    assert found.correct.engine == "bounds that meet"
    assert found.correct.value == pytest.approx(lying_in_each(faults, checked), rel=1e-9)
    # Clusters of which one has more occupancies than can be listed are bounded without listing them.
    many = Faults(n=1_000_000, byzantine=100_000, crashed=10_000)
    apart = wrong_result(many, size_groups(1_000_000, 200_000), CONDITIONS, checked, 5)
    assert (apart.lower, apart.upper) == (1.0, 1.0)  # nobody is left to serve
