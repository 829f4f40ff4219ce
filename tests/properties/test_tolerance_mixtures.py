"""Mixtures of Byzantine, crashed and curious processes under every law, against trying every placement."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations, product
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.aggregators import majority_breakdown
from protocols.tolerance import kinds as kinds_module
from protocols.tolerance.aimed import Aimed
from protocols.tolerance.analysis import Faults, analyse
from protocols.tolerance.conditions import conditions_of
from protocols.tolerance.domains import Domains
from protocols.tolerance.hierarchy import Tree, hierarchy_drawn, hierarchy_fails, leaves_to_break, tree_of
from protocols.tolerance.kinds import MarkedEvent
from protocols.tolerance.laws import Independent, Law, Mixture, Uniform, poisson_binomial
from protocols.tolerance.parts import Groups, clusters_of, size_groups
from protocols.tolerance.placed import packed, spread
from protocols.tolerance.policies import PLACEMENTS, POLICIES, Setting, law_of
from protocols.tolerance.sides import at_will, hierarchical_sides, mixed_sides
from protocols.tolerance.strata import Strata
from protocols.tolerance.transfer import transferred

Clusters = Sequence[Sequence[int]]
Marks = Mapping[int, int]
"""Faulty process -> its kind: 0, 1, .. of the event's kinds; one beyond them is unseen."""


def runs(groups: Groups) -> list[list[int]]:
    ends = np.cumsum([size for size, count in groups for _ in range(count)]).tolist()
    return [list(range(start, end)) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def happens(event: MarkedEvent, clusters: Clusters, marks: Marks) -> bool:
    """The event, written out."""
    bad = 0
    for members in clusters:
        held = Counter(marks[process] for process in members if process in marks)
        cell = tuple(held[kind] for kind in range(len(event.kinds)))
        if event.forbidden is not None and event.forbidden(len(members))[cell]:
            return False
        bad += bool(event.bad(len(members))[cell])
    return bad > event.most


def exactly(event: MarkedEvent, faulty: Sequence[int]) -> list[tuple[float, Marks]]:
    """Every way to give exactly so many of the faulty each kind, all equally likely."""
    wanted = (*event.kinds, event.unseen)
    marks_of_all = product(range(len(wanted)), repeat=len(faulty))
    ways = [marks for marks in marks_of_all if tuple(map(marks.count, range(len(wanted)))) == wanted]
    return [(1 / len(ways), dict(zip(faulty, marks, strict=True))) for marks in ways]


def each_by_itself(event: MarkedEvent, faulty: Sequence[int]) -> Iterator[tuple[float, Marks]]:
    """Every way to give each of the faulty a kind, by the shares asked for."""
    wanted = (*event.kinds, event.unseen)
    for marks in product(range(len(wanted)), repeat=len(faulty)):
        weight = math.prod(wanted[mark] / sum(wanted) for mark in marks)
        if weight:
            yield weight, dict(zip(faulty, marks, strict=True))


@st.composite
def events(draw: st.DrawFn, largest: int = 7, fewest: int = 2) -> tuple[int, Groups, MarkedEvent]:
    """Any bad and forbidden sets of two kinds, and perhaps a third one that does not matter."""
    n = draw(st.integers(fewest, largest))
    groups = size_groups(n, draw(st.integers(1, n)))
    total = draw(st.integers(1, min(4, n)))
    first = draw(st.integers(0, total))
    second = draw(st.integers(0, total - first))
    kinds, unseen = ((first, second), total - first - second) if first + second else ((total, 0), 0)
    tables: dict[int, np.ndarray] = {}
    for size, _ in groups:
        cells = [draw(st.sampled_from((0, 0, 1, 1, 2))) for _ in range((size + 1) ** 2)]
        table = np.array(cells).reshape(size + 1, size + 1)
        tables[size] = table[: size + 1 if kinds[0] else 1, : size + 1 if kinds[1] else 1]
    some = draw(st.booleans())
    event = MarkedEvent(
        kinds=kinds,
        bad=lambda c: tables[c] == 1,
        most=draw(st.integers(0, clusters_of(groups) - 1)),
        forbidden=(lambda c: tables[c] == 2) if some else None,
        unseen=unseen,
    )
    return n, groups, event


def total_of(event: MarkedEvent) -> int:
    return sum(event.kinds) + event.unseen


def agrees(law: Law, event: MarkedEvent, expected: float, *, exact: bool = True) -> None:
    found = law.marked(event)
    # Sums of at most 1e5 floats; engines promise 1e-9.
    assert found.lower <= expected * (1 + 1e-9) + 1e-12
    assert found.upper >= expected * (1 - 1e-9) - 1e-12
    assert not exact or found.engine != "bounds"


def share(event: MarkedEvent, clusters: Clusters, ways: list[tuple[float, Marks]]) -> float:
    return math.fsum(weight for weight, marks in ways if happens(event, clusters, marks))


FEW = settings(max_examples=max(10, settings.default.max_examples // 3))


@FEW
@given(events())
def test_uniform_faults_are_all_choices_of_processes_and_kinds(drawn: tuple[int, Groups, MarkedEvent]) -> None:
    n, groups, event = drawn
    clusters = runs(groups)
    shares = [share(event, clusters, exactly(event, s)) for s in combinations(range(n), total_of(event))]
    agrees(Uniform(n=n, faulty=total_of(event), groups=groups), event, float(np.mean(shares)))


@FEW
@given(events())
def test_packed_and_spread_faults_are_all_kinds_of_those(drawn: tuple[int, Groups, MarkedEvent]) -> None:
    _, groups, event = drawn
    clusters, total = runs(groups), total_of(event)
    largest_first = [process for members in reversed(clusters) for process in members]
    agrees(packed(groups, total), event, share(event, clusters, exactly(event, largest_first[:total])))
    each, more = divmod(total, len(clusters))
    even = []
    for chosen in combinations(range(len(clusters)), more):
        held = [each + (j in chosen) for j in range(len(clusters))]
        if all(count <= len(members) for count, members in zip(held, clusters, strict=True)):
            faulty = [p for members, count in zip(clusters, held, strict=True) for p in members[:count]]
            even.append(share(event, clusters, exactly(event, faulty)))
    agrees(spread(groups, total), event, float(np.mean(even)))


@FEW
@given(events(largest=5), st.data())
def test_a_random_number_of_faults_has_each_kind_by_its_share(
    drawn: tuple[int, Groups, MarkedEvent], data: st.DataObject
) -> None:
    n, groups, event = drawn
    clusters = runs(groups)
    shares = [data.draw(st.sampled_from((0.0, 0.2, 0.7, 1.0))) for _ in range(n)]
    expected, by_total = 0.0, [list[float]() for _ in range(n + 1)]
    for held in product((0, 1), repeat=n):
        faulty = [process for process, x in enumerate(held) if x]
        found = share(event, clusters, list(each_by_itself(event, faulty)))
        by_total[len(faulty)].append(found)
        expected += found * math.prod(p if x else 1 - p for p, x in zip(shares, held, strict=True))
    laws = tuple((poisson_binomial([shares[i] for i in members]), 1) for members in clusters)
    agrees(Independent(clusters=laws), event, expected)
    # Clusters drawn uniformly: only the total counts, and every placement of it is as likely.
    totals = poisson_binomial(shares)
    mean = math.fsum(weight * float(np.mean(found)) for weight, found in zip(totals, by_total, strict=True))
    agrees(Mixture(n=n, groups=groups, totals=totals), event, mean)
    agrees_bounded(event, n, groups, totals, mean)


def agrees_bounded(event: MarkedEvent, n: int, groups: Groups, totals: Sequence[float], expected: float) -> None:
    with mock.patch.object(kinds_module, "_MOST_WORK", 0.0):
        found = kinds_module.drawn(event, n, groups, totals)
    assert found.engine.startswith("bounds")
    assert found.lower * (1 - 1e-9) <= expected <= found.upper * (1 + 1e-9) + 1e-12


@FEW
@given(events(largest=6), st.data())
def test_domains_fail_as_a_whole_whatever_their_members_kinds(
    drawn: tuple[int, Groups, MarkedEvent], data: st.DataObject
) -> None:
    n, groups, event = drawn
    count = data.draw(st.integers(1, n))
    domain = np.array([data.draw(st.integers(0, count - 1)) for _ in range(n)])
    failing = data.draw(st.integers(0, count))
    clusters = runs(groups)
    shares = []
    for chosen in combinations(range(count), failing):
        faulty = np.flatnonzero(np.isin(domain, list(chosen))).tolist()
        shares.append(share(event, clusters, list(each_by_itself(event, faulty))))
    members = np.stack([np.bincount(domain[cluster], minlength=count) for cluster in clusters], axis=1)
    law, expected = Domains(members=members, failing=failing), float(np.mean(shares))
    agrees(law, event, expected)
    sizes = members.sum(axis=0).tolist()
    swept = transferred(members, failing, [event.given(size) for size in sizes], event.most)
    assert swept == pytest.approx(expected, rel=1e-9, abs=1e-12)
    rough = law._marked_bounds(event, sizes, {size: event.given(size) for size in sizes})
    assert rough.lower * (1 - 1e-9) <= expected <= rough.upper * (1 + 1e-9) + 1e-12


@FEW
@given(events(largest=6), st.data())
def test_strata_put_one_member_in_each_cluster_whatever_their_kinds(
    drawn: tuple[int, Groups, MarkedEvent], data: st.DataObject
) -> None:
    n, groups, event = drawn
    m = clusters_of(groups)
    full, last = divmod(n, m)
    laws = [
        poisson_binomial([data.draw(st.sampled_from((0.0, 0.3, 1.0))) for _ in range(width)])
        for width in [m] * full + ([last] if last else [])
    ]
    # Larger clusters first: process (stratum, seat) sits in cluster `seat`.
    clusters = [[stratum * m + j for stratum in range(len(laws)) if stratum * m + j < n] for j in range(m)]
    expected = 0.0
    for held in product(*(range(len(law)) for law in laws)):
        weight = math.prod(law[k] for law, k in zip(laws, held, strict=True))
        if weight:
            seats = product(*(combinations(range(len(law) - 1), k) for law, k in zip(laws, held, strict=True)))
            sitting = [[s * m + j for s, at in enumerate(seat) for j in at] for seat in seats]
            found = [share(event, clusters, list(each_by_itself(event, faulty))) for faulty in sitting]
            expected += weight * float(np.mean(found))
    agrees(Strata(clusters=m, strata=tuple(laws), last=last), event, expected)


Cell = tuple[int, ...]


def seatings(sizes: Sequence[int], kinds: Cell) -> Iterator[tuple[int, tuple[Cell, ...]]]:
    """Members of each kind in every cluster, and how many placements of exactly so many of each kind have them."""
    if not sizes:
        yield (1, ()) if not any(kinds) else (0, ())
        return
    for cell in product(*(range(min(sizes[0], count) + 1) for count in kinds)):
        if sum(cell) <= sizes[0]:
            ways = math.prod(math.comb(sizes[0] - sum(cell[:i]), x) for i, x in enumerate(cell))
            left = tuple(count - x for count, x in zip(kinds, cell, strict=True))
            for more, rest in seatings(sizes[1:], left):
                if more:
                    yield ways * more, (cell, *rest)


def best_after(event: MarkedEvent, groups: Groups, moves: int) -> float:
    """How often a placement within reach has more than `most` bad clusters, and none in reach a forbidden one.

    A move changes what one process is, besides the one that becomes honest.
    """
    sizes = [size for size, count in groups for _ in range(count)]
    ways = [(many, held) for many, held in seatings(sizes, (*event.kinds, event.unseen))]

    def count(rule: Callable[[int], np.ndarray] | None, held: tuple[Cell, ...]) -> int:
        return 0 if rule is None else sum(bool(rule(c)[cell[:-1]]) for c, cell in zip(sizes, held, strict=True))

    table = np.array([held for _, held in ways])
    bad = np.array([count(event.bad, held) > event.most for _, held in ways])
    exposed = np.array([count(event.forbidden, held) > 0 for _, held in ways])
    hits = 0
    for (many, _), before in zip(ways, table, strict=True):
        near = np.maximum(table - before, 0).sum(axis=(1, 2)) <= moves
        hits += many * int(bad[near].any() and not exposed[near].any())
    return hits / sum(many for many, _ in ways)


@FEW
@given(events(largest=6, fewest=3), st.integers(0, 2))
def test_aimed_moves_of_any_kind_are_the_best_after_the_draw(
    drawn: tuple[int, Groups, MarkedEvent], moves: int
) -> None:
    """Exact where one bad cluster is enough, and bounds that say why where more are needed."""
    n, groups, event = drawn
    law = Aimed(n=n, faulty=total_of(event), groups=groups, moves=moves)
    agrees(law, event, best_after(event, groups, moves), exact=event.most == 0)
    found = law.marked(event)
    assert (found.engine == "bounds") == bool(found.because)


@FEW
@given(
    st.integers(6, 8),
    st.tuples(st.integers(2, 4), st.integers(0, 1), st.integers(0, 1)),
    st.integers(1, 2),
    st.sampled_from((lambda b, k: b + 0 * k > 0, lambda b, k: b + k > 0, lambda b, k: 2 * b + k > 1)),
)
def test_aimed_moves_of_byzantine_and_crashed_ones_taint_clusters(
    n: int, kinds: tuple[int, int, int], moves: int, wrong: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> None:
    """More than one tainted cluster is needed; exact, as Byzantine ones suffice, but for clusters without room."""
    groups, (byzantine, crashed, curious) = size_groups(n, 2), kinds

    def bad(c: int) -> np.ndarray:
        axis = np.arange(c + 1)
        table = wrong(axis[:, None], axis[None, :] if crashed else np.zeros((1, 1), dtype=int))
        return np.broadcast_to(table, (c + 1, c + 1 if crashed else 1))

    event = MarkedEvent(kinds=(byzantine, crashed), bad=bad, most=1, unseen=curious)
    law = Aimed(n=n, faulty=total_of(event), groups=groups, moves=moves)
    agrees(law, event, best_after(event, groups, moves), exact=not (crashed or curious))


def leaves(tree: Tree, start: int = 0) -> object:
    """The processes of each leaf, nested as the tree."""
    if not tree.parts:
        return list(range(start, start + tree.size))
    nested = []
    for part, count in tree.parts:
        for _ in range(count):
            nested.append(leaves(part, start))
            start += part.size
    return nested


def root_is_bad(nested: list, bad: Mapping[int, bool], most) -> bool:
    if isinstance(nested[0], int):
        return bad[nested[0]]
    return sum(root_is_bad(part, bad, most) for part in nested) > most(len(nested))


def flat(nested: list) -> list[list[int]]:
    return [nested] if isinstance(nested[0], int) else [leaf for part in nested for leaf in flat(part)]


@FEW
@given(events(largest=7), st.data())
def test_a_tree_fails_as_often_as_over_all_placements_of_all_kinds(
    drawn: tuple[int, Groups, MarkedEvent], data: st.DataObject
) -> None:
    n, groups, event = drawn
    tree = tree_of(n, groups[0][0], [data.draw(st.integers(1, 3))])
    slack = data.draw(st.sampled_from((majority_breakdown, lambda m: 0, lambda m: m - 1)))
    nested = leaves(tree)
    fewest, most = leaves_to_break(tree, slack)
    total = total_of(event)

    def fails(marks: Marks) -> tuple[bool, bool]:
        """Whether the root is bad, and whether it is with no cluster forbidden (one that is, is not bad)."""
        bad, barred = {}, False
        for leaf in flat(nested):
            held = Counter(marks[process] for process in leaf if process in marks)
            cell = tuple(held[kind] for kind in range(len(event.kinds)))
            bad[leaf[0]] = bool(event.bad(len(leaf))[cell])
            barred = barred or (event.forbidden is not None and bool(event.forbidden(len(leaf))[cell]))
        found = root_is_bad(nested, bad, slack)
        assert found or sum(bad.values()) <= most
        assert not found or sum(bad.values()) >= fewest
        return found, found and not barred

    shares, by_itself = list[list[float]](), list[list[float]]()
    for faulty in combinations(range(n), total):
        for means, ways in ((shares, exactly(event, faulty)), (by_itself, each_by_itself(event, faulty))):
            seen = [(weight, fails(marks)) for weight, marks in ways]
            means.append([math.fsum(weight for weight, both in seen if both[i]) for i in range(2)])
    totals = (*[0.0] * total, 1.0)
    for i, forbidden in enumerate((None, event.forbidden)):
        found = hierarchy_fails(tree, faulty=event.kinds, bad=event.bad, breakdown=slack, forbidden=forbidden)
        assert found.value == pytest.approx(float(np.mean(shares, axis=0)[i]), rel=1e-9, abs=1e-12)
        loose = MarkedEvent(kinds=event.kinds, bad=event.bad, most=0, unseen=event.unseen, forbidden=forbidden)
        drawn_ = hierarchy_drawn(tree, loose, totals, slack)
        assert drawn_ is not None
        assert drawn_.value == pytest.approx(float(np.mean(by_itself, axis=0)[i]), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(
    ("protocol", "faults"),
    [
        ("additive", Faults(n=8, byzantine=3)),
        ("additive", Faults(n=9, byzantine=1, crashed=1, curious=2)),
        ("shamir", Faults(n=9, byzantine=2, curious=2)),
    ],
)
def test_under_a_tree_what_fails_is_exposed_or_broken_in_that_many_placements(protocol: str, faults: Faults) -> None:
    n, conditions = faults.n, conditions_of(protocol)
    asked = Setting(n=n, faulty=faults.total, groups=size_groups(n, n // 4), levels=(2,))
    nested = leaves(tree_of(n, n // 4, (2,)))
    kinds = (faults.byzantine, faults.crashed, faults.curious)
    seen = []
    for faulty in combinations(range(n), faults.total):
        for _, marks in exactly(MarkedEvent(kinds=kinds, bad=np.zeros, most=0), faulty):
            bad, exposed_one = {}, False
            for leaf in flat(nested):
                held = Counter(marks[process] for process in leaf if process in marks)
                b, k, p = (np.array(held[kind]) for kind in range(3))
                bad[leaf[0]] = bool(conditions.failed(len(leaf), b, k))
                exposed_one = exposed_one or bool(conditions.exposed(len(leaf), b + p, k))
            seen.append((exposed_one, root_is_bad(nested, bad, majority_breakdown)))
    law = Uniform(n=n, faulty=faults.total, groups=asked.groups)
    found = hierarchical_sides(law, asked, faults, conditions, majority_breakdown)
    expected = [np.mean([one[0] for one in seen]), np.mean([one[1] for one in seen]), np.mean([any(o) for o in seen])]
    assert [found.private.value, found.correct.value, found.fail.value] == pytest.approx(expected, rel=1e-9)
    assert found.fail.engine != "bounds"
    assert 0 < expected[2] < expected[0] + expected[1]  # what adds the two sides up would be seen


CASES = [
    ("shamir", "passive", Faults(n=8, byzantine=1, crashed=2, curious=1), 4),
    ("masked", "semi_honest", Faults(n=8, byzantine=0, crashed=2, curious=2), 4),
    ("additive", "passive", Faults(n=6, byzantine=1, crashed=1, curious=1), 3),
]


@pytest.mark.parametrize(("protocol", "mode", "faults", "size"), CASES)
def test_the_sides_under_the_uniform_law_are_those_of_the_analysis(
    protocol: str, mode: str, faults: Faults, size: int
) -> None:
    groups, conditions = size_groups(faults.n, size), conditions_of(protocol, mode=mode)
    found = mixed_sides(Uniform(n=faults.n, faulty=faults.total, groups=groups), faults, conditions, 0)
    expected = analyse(faults, groups, conditions, 0)
    for side in ("private", "correct", "live", "fail"):
        assert getattr(found, side).value == pytest.approx(getattr(expected, side).value, rel=1e-9), side


@pytest.mark.parametrize(("protocol", "mode", "faults", "size"), CASES)
def test_an_adversary_at_will_takes_the_best_of_all_placements_of_all_kinds(
    protocol: str, mode: str, faults: Faults, size: int
) -> None:
    groups, conditions = size_groups(faults.n, size), conditions_of(protocol, mode=mode)
    pair, harm = (faults.colluding, faults.crashed), (faults.byzantine, faults.crashed)
    events_ = [
        MarkedEvent(kinds=pair, bad=lambda c: exposed(conditions, c), most=0),
        MarkedEvent(kinds=harm, bad=lambda c: failed(conditions, c), most=0),
    ]
    clusters = runs(groups)

    def best(event: MarkedEvent, counts: Sequence[int]) -> bool:
        asked = MarkedEvent(kinds=tuple(counts), bad=event.bad, most=event.most)
        # Up to so many: who is worth more elsewhere need not sit here.
        smaller = product(*(range(count + 1) for count in counts))
        return any(
            happens(asked, clusters, marks)
            for fewer in smaller
            for s in combinations(range(faults.n), sum(fewer))
            for _, marks in exactly(MarkedEvent(kinds=fewer, bad=event.bad, most=event.most), s)
        )

    fixed = at_will((*[0.0] * faults.total, 1.0), faults, groups, conditions, 0)
    for event, side in zip(events_, (fixed.private, fixed.correct), strict=True):
        assert side.value == float(best(event, event.kinds))
    # A random total: each of a kind by itself.
    totals = (0.0, 0.25, 0.5, 0.25)
    shares = [faults.byzantine / faults.total, faults.crashed / faults.total, faults.curious / faults.total]
    expected = [0.0, 0.0, 0.0]
    for f, weight in enumerate(totals):
        for b, k in product(range(f + 1), repeat=2):
            if b + k <= f:
                p = f - b - k
                chance = weight * math.factorial(f) / math.factorial(b) / math.factorial(k) / math.factorial(p)
                chance *= math.prod(s**x for s, x in zip(shares, (b, k, p), strict=True))
                private, wrong = best(events_[0], (b + p, k)), best(events_[1], (b, k))
                hits = (private, wrong, private or wrong)
                expected = [before + chance * hit for before, hit in zip(expected, hits, strict=True)]
    found = at_will(totals, faults, groups, conditions, 0)
    got = [found.private.value, found.correct.value, found.fail.value]
    assert got == pytest.approx(expected, rel=1e-9, abs=1e-12)


def exposed(conditions, c: int) -> np.ndarray:
    return conditions.exposed(c, np.arange(c + 1)[:, None], np.arange(c + 1)[None, :])


def failed(conditions, c: int) -> np.ndarray:
    return conditions.failed(c, np.arange(c + 1)[:, None], np.arange(c + 1)[None, :])


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_no_policy_and_placement_refuses_a_mixture(policy: str) -> None:
    conditions, faults = conditions_of("shamir"), Faults(n=24, byzantine=3, crashed=2, curious=1)
    for placement in PLACEMENTS:
        asked = Setting(n=24, faulty=6, groups=size_groups(24, 6), domains=6, moves=1)
        law, room = law_of(policy, placement, asked), 1 + 1e-9
        found = mixed_sides(law, faults, conditions, 1)
        if POLICIES[policy].hierarchical:
            found = hierarchical_sides(law, asked, faults, conditions, majority_breakdown)
        assert found.live.lower <= found.correct.upper * room
        assert max(found.private.lower, found.correct.lower) <= found.fail.upper * room
        assert found.fail.upper <= found.union_bound * room


def test_a_law_that_forgets_who_only_crashed_is_seen() -> None:
    """Planted bug: all faulty processes taken for Byzantine ones."""
    groups, faults = size_groups(8, 4), Faults(n=8, byzantine=1, crashed=1)
    conditions = conditions_of("shamir", mode="passive")
    law = packed(groups, 2)
    right = mixed_sides(law, faults, conditions, 0).private.value
    wrong = mixed_sides(law, Faults(n=8, byzantine=2), conditions, 0).private.value
    assert right < wrong
