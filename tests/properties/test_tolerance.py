"""The analysis against counting every placement one by one, with the definitions written out again."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from protocols.aggregators import aggregators, majority_breakdown
from protocols.tolerance.analysis import Analysis, Faults, analyse, failure
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.tolerance.design import best_size, distinct_sizes, largest_faulty, window
from protocols.tolerance.parts import Groups, clusters_of, size_groups
from protocols.tolerance.schemes import SCHEMES
from protocols.tolerance.worst import tolerated, worst_case
from protocols.types import balanced_sizes

MODES = [(protocol, mode) for protocol, modes in SCHEMES.items() for mode in modes]
Placed = list[tuple[int, int, int]]


def placements(faults: Faults, sizes: tuple[int, ...]) -> Iterator[Placed]:
    """(b, k, p) of each cluster, for every choice of who is Byzantine, crashed and curious."""
    everyone = frozenset(range(faults.n))
    ends = np.cumsum(sizes)
    clusters = [frozenset(range(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    for byzantine in map(frozenset, combinations(everyone, faults.byzantine)):
        for crashed in map(frozenset, combinations(everyone - byzantine, faults.crashed)):
            for curious in map(frozenset, combinations(everyone - byzantine - crashed, faults.curious)):
                yield [(len(c & byzantine), len(c & crashed), len(c & curious)) for c in clusters]


def alone(conditions: Conditions, size: int, a: int, k: int) -> bool:
    """Whether some of the crashes leave one input that nobody knows in a sum that opens: enough for it to do so."""
    opens = [absent for absent in range(size + 1) if not conditions.lost(size, np.array(0), np.array(absent))]
    return conditions.revealed and any(absent in opens and size - a - absent == 1 for absent in range(k + 1))


def broken(conditions: Conditions, sizes: tuple[int, ...], placed: Placed, most: int) -> tuple[bool, bool, bool]:
    """Which sides a placement breaks: private, correct, live."""
    exposed = failed = lost = 0
    for size, (b, k, p) in zip(sizes, placed, strict=True):
        exposed += bool(conditions.exposed(size, np.array(b + p), np.array(0))) or alone(conditions, size, b + p, k)
        is_lost = bool(conditions.lost(size, np.array(b), np.array(k)))
        lost += is_lost
        failed += is_lost or bool(conditions.tainted(size, np.array(b), np.array(k)))
    return exposed > 0, failed > most, lost > most


@st.composite
def designs(draw: st.DrawFn) -> tuple[Faults, Groups, Conditions, int]:
    n = draw(st.integers(2, 9))
    counts = [draw(st.integers(0, 3)) for _ in range(3)]
    while sum(counts) > n:
        counts[counts.index(max(counts))] -= 1
    protocol, mode = draw(st.sampled_from(MODES))
    groups = size_groups(n, draw(st.integers(1 if protocol != "masked" else 2, n)))
    conditions = conditions_of(protocol, mode=mode, checked_inputs=draw(st.booleans()), revealed=draw(st.booleans()))
    most = draw(st.integers(0, clusters_of(groups)))
    return Faults(n=n, byzantine=counts[0], crashed=counts[1], curious=counts[2]), groups, conditions, most


# What is wrong delivers all the same.
WRONG_AND_LIVE = (Faults(n=8, byzantine=1), size_groups(8, 4), conditions_of("shamir", mode="correct"), 0)


@settings(max_examples=120)
@example(WRONG_AND_LIVE)
@given(designs())
def test_the_analysis_equals_counting_every_placement(design: tuple[Faults, Groups, Conditions, int]) -> None:
    faults, groups, conditions, most = design
    sizes = tuple(size for size, count in groups for _ in range(count))
    every = [broken(conditions, sizes, placed, most) for placed in placements(faults, sizes)]
    shares = np.array([[*sides, any(sides)] for sides in every]).mean(axis=0)
    found = analyse(faults, groups, conditions, most)
    got = [found.private.value, found.correct.value, found.live.value, found.fail.value]
    # Engines promise 1e-9; the mean of at most 1e4 zeros and ones is exact to 1e-12.
    assert got == pytest.approx(shares.tolist(), rel=1e-9, abs=1e-12)
    assert failure(faults, groups, conditions, most).value == pytest.approx(found.fail.value, rel=1e-9)


@settings(max_examples=120)
@given(designs())
def test_the_sides_and_the_bound_enclose_the_whole(design: tuple[Faults, Groups, Conditions, int]) -> None:
    found: Analysis = analyse(*design)
    room = 1 + 1e-9
    assert found.live.value <= found.correct.value * room
    assert max(found.private.value, found.correct.value) <= found.fail.value * room
    assert found.fail.value <= (found.private.value + found.correct.value) * room
    assert found.fail.value <= found.union_bound * room


@settings(max_examples=60)
@given(designs())
def test_the_worst_case_equals_trying_every_placement(design: tuple[Faults, Groups, Conditions, int]) -> None:
    faults, groups, conditions, most = design
    sizes = tuple(size for size, count in groups for _ in range(count))
    top = min(6, faults.n - faults.crashed - faults.curious)
    expected = [top, top, top]
    for f in range(top + 1):
        asked = Faults(n=faults.n, byzantine=f, crashed=faults.crashed, curious=faults.curious)
        sides = np.any([broken(conditions, sizes, placed, most) for placed in placements(asked, sizes)], axis=0)
        expected = [min(best, f - 1) if bad else best for best, bad in zip(expected, sides, strict=True)]
    worst = worst_case(groups, conditions, most, crashed=faults.crashed, curious=faults.curious)
    if faults.curious < faults.n:  # all colluding: nobody is left to be exposed, whatever the notes' formula says
        assert min(top, worst.private) == expected[0]
    assert [min(top, worst.correct), min(top, worst.live)] == expected[1:]


@given(st.integers(2, 9), st.integers(1, 5), st.integers(0, 4))
def test_the_tolerated_number_is_that_of_every_placement(n: int, size: int, most: int) -> None:
    sizes = balanced_sizes(n, min(size, n))
    thresholds = [(c - 1) // 2 for c in sizes]
    survives = [
        all(
            sum(b > threshold for (b, _, _), threshold in zip(placed, thresholds, strict=True)) <= most
            for placed in placements(Faults(n=n, byzantine=f), sizes)
        )
        for f in range(n + 1)
    ]
    expected = survives.index(False) - 1 if False in survives else n
    assert min(n, tolerated(thresholds, most)) == expected or most >= len(sizes)


def test_published_worst_cases() -> None:
    # c = 2 tau + 1, m = 2 F + 1: f* = (c + 1)(m + 1) / 4 - 1.
    for tau in range(1, 6):
        for most in range(6):
            c, m = 2 * tau + 1, 2 * most + 1
            assert tolerated([tau] * m, most) == (c + 1) * (m + 1) // 4 - 1
    additive = worst_case(size_groups(100, 10), conditions_of("additive"), 4)
    assert (additive.private, additive.correct) == (8, 4)


@pytest.mark.parametrize("name", sorted(aggregators.entries()))
def test_the_outer_condition_comes_from_the_rules_own_breakdown(name: str) -> None:
    rule = aggregators.make(aggregators.resolve(name))
    groups = size_groups(40, 4)
    found = worst_case(groups, conditions_of("additive"), rule.breakdown(10))
    assert found.correct == rule.breakdown(10)


def test_the_distinct_sizes_give_every_partition_once() -> None:
    for n in range(1, 60):
        assert [size_groups(n, c) for c in distinct_sizes(n)] == sorted(
            {size_groups(n, c) for c in range(1, n + 1)}, key=lambda groups: -clusters_of(groups)
        )


@pytest.mark.parametrize(("protocol", "byzantine"), [("additive", 4), ("shamir", 4), ("masked", 3), ("shamir", 0)])
@pytest.mark.parametrize("target", [None, 1e-2, 1e-9])
def test_the_best_size_is_that_of_trying_every_size(protocol: str, byzantine: int, target: float | None) -> None:
    faults, conditions = Faults(n=60, byzantine=byzantine), conditions_of(protocol)
    fails: dict[int, float] = {}
    for c in distinct_sizes(60):
        groups = size_groups(60, c)
        if protocol != "masked" or c > 1:
            fails[c] = analyse(faults, groups, conditions, majority_breakdown(clusters_of(groups))).fail.value
    found = best_size(faults, conditions, majority_breakdown, target=target)
    meeting = [c for c, fail in fails.items() if target is not None and fail <= target]
    least = min(fails.values())
    if meeting:
        assert found.size == min(meeting)
    else:
        assert found.fail == pytest.approx(least, rel=1e-9)


def test_the_window_is_empty_above_a_few_percent_of_faults() -> None:
    conditions = conditions_of("additive")
    narrow = window(Faults(n=1000, byzantine=20), conditions, majority_breakdown, 1e-6)
    assert narrow.private is not None
    assert narrow.correct is not None
    assert narrow.private < narrow.correct
    assert all(narrow.private <= size <= narrow.correct for size in narrow.sizes)
    assert window(Faults(n=1000, byzantine=150), conditions, majority_breakdown, 1e-6).sizes == ()


def test_the_largest_number_of_faults_meets_the_target_and_one_more_does_not() -> None:
    groups, conditions = size_groups(200, 10), conditions_of("shamir")
    found = largest_faulty(Faults(n=200, byzantine=0), groups, conditions, 9, 1e-3)
    at = [analyse(Faults(n=200, byzantine=f), groups, conditions, 9).fail.value for f in (found, found + 1)]
    assert at[0] <= 1e-3 < at[1]
