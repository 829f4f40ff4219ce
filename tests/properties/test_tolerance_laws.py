"""Every law of a policy and a placement against trying all placements, for n up to 9."""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, pairwise, permutations, product
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from protocols.aggregators import majority_breakdown
from protocols.check import CloisterError
from protocols.clustering.overlapping import Overlapping
from protocols.placements import PlacementView, placements
from protocols.placements.targeted import Targeted
from protocols.population import Population
from protocols.tolerance.aimed import Aimed
from protocols.tolerance.analysis import Analysis, Faults, analyse
from protocols.tolerance.conditions import conditions_of
from protocols.tolerance.covers import either_fails
from protocols.tolerance.domains import Domains
from protocols.tolerance.hierarchy import Tree, hierarchy_fails, hierarchy_tolerates, tree_of
from protocols.tolerance.kdist import distribution
from protocols.tolerance.laws import Drawn, Event, Independent, Law, Mixture, Uniform, iid, poisson_binomial
from protocols.tolerance.parts import Groups, Mask, clusters_of, parts_of, size_groups
from protocols.tolerance.placed import Placed, packed, spread
from protocols.tolerance.placements import Chosen, Setting
from protocols.tolerance.policies import PLACEMENTS, POLICIES, law_of
from protocols.tolerance.recursion import grouped, leaf
from protocols.tolerance.sides import hierarchical_sides, sides
from protocols.tolerance.solve import tail
from protocols.tolerance.strata import Strata
from protocols.tolerance.transfer import transferred
from protocols.tolerance.verdict import FaultyProcesses, verdict
from protocols.types import Clustering, Cover

Clusters = Sequence[Sequence[int]]


def happens(event: Event, clusters: Clusters, faulty: frozenset[int]) -> bool:
    """The event, written out."""
    bad = 0
    for members in clusters:
        held = len(faulty & set(members))
        if event.forbidden is not None and event.forbidden(len(members))[held]:
            return False
        bad += bool(event.bad(len(members))[held])
    return bad > event.most


def runs(groups: Groups) -> list[list[int]]:
    ends = np.cumsum([size for size, count in groups for _ in range(count)]).tolist()
    return [list(range(start, end)) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


def subsets(n: int, size: int) -> Iterator[frozenset[int]]:
    return map(frozenset, combinations(range(n), size))


def every_set(shares: Sequence[float]) -> Iterator[tuple[float, frozenset[int]]]:
    for held in product((0, 1), repeat=len(shares)):
        weight = math.prod(p if x else 1 - p for p, x in zip(shares, held, strict=True))
        yield weight, frozenset(i for i, x in enumerate(held) if x)


def partitions(n: int, groups: Groups) -> list[list[list[int]]]:
    """All assignments of processes to clusters, each as often as any other."""
    shape = runs(groups)
    labels = [j for j, cluster in enumerate(shape) for _ in cluster]
    return [
        [[i for i in range(n) if assigned[i] == j] for j in range(len(shape))] for assigned in set(permutations(labels))
    ]


@st.composite
def events(draw: st.DrawFn) -> tuple[int, Groups, Event]:
    """Any bad and forbidden sets, monotone or not."""
    n = draw(st.integers(2, 8))
    groups = size_groups(n, draw(st.integers(1, n)))
    tables = {size: np.array([draw(st.sampled_from((0, 0, 1, 1, 2))) for _ in range(size + 1)]) for size, _ in groups}
    some = draw(st.booleans())
    return (
        n,
        groups,
        Event(
            bad=lambda c: tables[c] == 1,
            most=draw(st.integers(0, clusters_of(groups))),
            forbidden=(lambda c: tables[c] == 2) if some else None,
        ),
    )


def agrees(law: Law, event: Event, expected: float) -> None:
    found = law.probability(event)
    # Sums of at most 1e4 floats; engines promise 1e-9.
    if found.engine == "bounds":
        assert found.lower <= expected * (1 + 1e-9) + 1e-12
        assert found.upper >= expected * (1 - 1e-9) - 1e-12
    else:
        assert found.value == pytest.approx(expected, rel=1e-9, abs=1e-12)


@given(events(), st.data())
def test_uniform_faults_are_all_choices_of_processes(drawn: tuple[int, Groups, Event], data: st.DataObject) -> None:
    n, groups, event = drawn
    f = data.draw(st.integers(0, n))
    every = [happens(event, runs(groups), faulty) for faulty in subsets(n, f)]
    agrees(Uniform(n=n, faulty=f, groups=groups), event, float(np.mean(every)))


@given(events(), st.data())
def test_independent_faults_are_all_sets_by_their_weight(drawn: tuple[int, Groups, Event], data: st.DataObject) -> None:
    n, groups, event = drawn
    shares = [data.draw(st.sampled_from((0.0, 0.1, 0.5, 0.75, 1.0))) for _ in range(n)]
    clusters = runs(groups)
    expected = sum(weight for weight, faulty in every_set(shares) if happens(event, clusters, faulty))
    law = Independent(clusters=tuple((poisson_binomial([shares[i] for i in members]), 1) for members in clusters))
    agrees(law, event, expected)
    equal = sum(weight for weight, faulty in every_set([0.3] * n) if happens(event, clusters, faulty))
    agrees(iid(groups, 0.3), event, equal)


@given(st.integers(2, 6), st.data())
def test_drawn_clusters_see_only_how_many_are_faulty(n: int, data: st.DataObject) -> None:
    groups = size_groups(n, data.draw(st.integers(1, n)))
    shares = [data.draw(st.sampled_from((0.1, 0.4, 0.8))) for _ in range(n)]
    event = Event(bad=lambda c: np.arange(c + 1) > c // 2, most=data.draw(st.integers(0, 1)))
    drawn = partitions(n, groups)
    expected = sum(
        weight * float(np.mean([happens(event, clusters, faulty) for clusters in drawn]))
        for weight, faulty in every_set(shares)
    )
    agrees(Mixture(n=n, groups=groups, totals=poisson_binomial(shares)), event, expected)


@given(events(), st.data())
def test_one_of_several_laws_is_their_mean(drawn: tuple[int, Groups, Event], data: st.DataObject) -> None:
    n, groups, event = drawn
    faulty = data.draw(st.lists(st.integers(0, n), min_size=1, max_size=4))
    weights = [(k + 1) / sum(range(1, len(faulty) + 1)) for k in range(len(faulty))]
    laws = [Uniform(n=n, faulty=f, groups=groups) for f in faulty]
    expected = sum(
        weight * float(np.mean([happens(event, runs(groups), each) for each in subsets(n, f)]))
        for weight, f in zip(weights, faulty, strict=True)
    )
    agrees(Drawn(ways=tuple(zip(weights, laws, strict=True))), event, expected)


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 3)), min_size=1, max_size=3), st.data())
def test_fine_and_bad_weights_of_a_group_add_up_to_those_of_all_placements(
    sizes: list[tuple[int, int]], data: st.DataObject
) -> None:
    """Of clusters that are bad by chance; the weight of x faulty of c members is C(c, x)."""
    most, top = data.draw(st.integers(-1, 4)), data.draw(st.integers(0, 9))
    parts, whole = [], np.ones(1)
    for size, count in sizes:
        bad = np.array([data.draw(st.sampled_from((0.0, 0.25, 1.0))) for _ in range(size + 1)])
        ways = np.array([float(math.comb(size, x)) for x in range(size + 1)])
        parts.append((leaf(np.log(ways), 1 - bad, bad, (top,)), count))
        for _ in range(count):
            whole = np.convolve(whole, ways)
    found = grouped(parts, most, (top,))
    total = found.fine + found.bad * math.exp(found.scale)
    # Sums of at most 1e4 non-negative terms.
    assert total.tolist() == pytest.approx(whole[: len(total)].tolist(), rel=1e-12)
    assert len(total) == min(len(whole), top + 1)


@given(events(), st.data())
def test_domains_fail_as_a_whole(drawn: tuple[int, Groups, Event], data: st.DataObject) -> None:
    n, groups, event = drawn
    count = data.draw(st.integers(1, n))
    domain = np.array([data.draw(st.integers(0, count - 1)) for _ in range(n)])
    failing = data.draw(st.integers(0, count))
    clusters = runs(groups)
    every = [
        happens(event, clusters, frozenset(np.flatnonzero(np.isin(domain, list(chosen))).tolist()))
        for chosen in combinations(range(count), failing)
    ]
    members = np.stack([np.bincount(domain[cluster], minlength=count) for cluster in clusters], axis=1)
    agrees(Domains(members=members, failing=failing), event, float(np.mean(every)))
    assert swept(members, failing, event) == pytest.approx(float(np.mean(every)), rel=1e-9, abs=1e-12)


def swept(members: NDArray[np.int64], failing: int, event: Event) -> float | None:
    masks = [event.masks(size) for size in members.sum(axis=0).tolist()]
    soft = [(safe.astype(np.float64), bad.astype(np.float64)) for safe, bad in masks]
    return transferred(members, failing, soft, event.most)


@pytest.mark.parametrize("failing", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("most", [-1, 0, 1, 2])
def test_clusters_that_no_domain_touches_count_in_the_sweep(failing: int, most: int) -> None:
    """The first, an inner and the last one have no members and are bad with a chance, beside all choices and ways."""
    members = np.array([[0, 1, 0, 2, 0], [0, 0, 0, 1, 0], [0, 2, 0, 0, 0], [0, 1, 0, 1, 0]])
    generator = np.random.default_rng(3)
    bad = [generator.random(size + 1) for size in members.sum(axis=0).tolist()]
    soft = [(0.9 * (1 - each), 0.9 * each) for each in bad]  # forbidden with 0.1
    expected = []
    for chosen in combinations(range(len(members)), failing):
        held = members[list(chosen)].sum(axis=0).tolist()
        expected.append(
            sum(
                math.prod(soft[j][kind][x] for j, (kind, x) in enumerate(zip(kinds, held, strict=True)))
                for kinds in product((0, 1), repeat=len(held))
                if sum(kinds) > most
            )
        )
    assert transferred(members, failing, soft, most) == pytest.approx(float(np.mean(expected)), rel=1e-12)


def test_a_sweep_over_domains_keeps_the_digits_of_rare_failures() -> None:
    """Domains that lie whole in clusters are drawn as processes are: the engines of uniform faults know the answer."""
    for domains, failing, most in ((5, 60, 9), (20, 100, 4), (20, 200, 9)):
        members = np.kron(np.eye(40, dtype=np.int64), np.full((domains, 1), 2))
        event = Event(bad=lambda c: np.arange(c + 1) > 0.8 * c, most=most)
        expected = Domains(members=members, failing=failing).probability(event)
        assert expected.engine != "sweep over domains"
        assert 1e-300 < expected.value < 1e-9
        assert swept(members, failing, event) == pytest.approx(expected.value, rel=1e-9)


@pytest.mark.parametrize(
    ("policy", "n", "size", "domains"),
    [("locality", 1000, 9, 60), ("stratified", 600, 6, 60), ("locality", 500, 30, 201)],
)
def test_domains_of_large_designs_are_swept_exactly(policy: str, n: int, size: int, domains: int) -> None:
    """Consecutive clusters, and stripes that nest, beside Monte Carlo: six standard deviations, seeds fixed."""
    asked = Setting(n=n, faulty=n // 5, groups=size_groups(n, size), domains=domains)
    law = law_of(policy, "by_domain", asked)
    m = clusters_of(asked.groups)
    cluster = np.arange(n) % m if policy == "stratified" else np.repeat(np.arange(m), asked.sizes)
    counts = np.zeros((domains, m), dtype=np.int64)
    np.add.at(counts, (asked.domain, cluster), 1)
    generator, draws = np.random.default_rng(7), 4000
    held = []
    for failing, weight in asked.failing:
        order = generator.permuted(np.tile(np.arange(domains), (round(draws * weight), 1)), axis=1)[:, :failing]
        held.append(counts[order].sum(axis=1))
    faulty = np.concatenate(held)
    sizes = counts.sum(axis=0)
    broken = (faulty > sizes // 3).sum(axis=1)
    most = int(np.median(broken))
    found = law.probability(Event(bad=lambda c: np.arange(c + 1) > c // 3, most=most))
    assert found.engine in {"sweep over domains", "mixture"}
    spread_ = math.sqrt(found.value * (1 - found.value) / len(faulty))
    assert 0.05 < found.value < 0.95
    assert abs(float((broken > most).mean()) - found.value) < 6 * spread_ + 1 / draws


def test_domains_that_lie_whole_in_clusters_are_units_and_too_many_states_are_bounded() -> None:
    event = Event(bad=lambda c: np.arange(c + 1) > c // 2, most=0)
    whole = np.kron(np.eye(40, dtype=np.int64), np.full((5, 1), 3))  # 200 domains of 3, five to a cluster of 15
    found = Domains(members=whole, failing=60).probability(event)
    units = tail(parts_of(((5, 40),), lambda c: 3 * np.arange(c + 1) > 15 // 2), 200, (60,), 0)
    assert found == units
    # Uneven domains: the first processes of each cluster are one domain more than the others.
    scattered = np.random.default_rng(4).integers(0, 3, (30, 12))
    rough = Domains(members=scattered, failing=9).probability(event)
    assert rough.engine == "bounds"
    assert 0 < rough.lower <= rough.upper
    counts = scattered[np.random.default_rng(5).permuted(np.tile(np.arange(30), (4000, 1)), axis=1)[:, :9]].sum(axis=1)
    seen = float((counts > scattered.sum(axis=0) // 2).any(axis=1).mean())
    # Six standard deviations of a mean of 4000 trials, seeds fixed.
    assert rough.lower - 0.048 <= seen <= rough.upper + 0.048


@given(st.integers(2, 4), st.integers(1, 3), st.data())
def test_strata_put_one_member_in_each_cluster(m: int, full: int, data: st.DataObject) -> None:
    last = data.draw(st.integers(0, m - 1)) if full < 3 or m < 4 else 0
    widths = [m] * full + ([last] if last else [])
    laws = [
        poisson_binomial([data.draw(st.sampled_from((0.0, 0.2, 0.7, 1.0))) for _ in range(width)]) for width in widths
    ]
    worst = data.draw(st.integers(0, full))
    hole = data.draw(st.booleans())
    event = Event(
        bad=(lambda c: np.arange(c + 1) == worst) if hole else (lambda c: np.arange(c + 1) > worst),
        most=data.draw(st.integers(0, m - 1)),
    )
    expected = 0.0
    # Who of a stratum is faulty plays no part: a choice of k of its clusters, every one as likely.
    for faulty in product(*(range(width + 1) for width in widths)):
        weight = math.prod(law[k] for law, k in zip(laws, faulty, strict=True))
        if not weight:
            continue
        placed = list(product(*(list(combinations(range(w), k)) for w, k in zip(widths, faulty, strict=True))))
        hits = 0
        for seats in placed:
            held = np.zeros(m, dtype=np.int64)
            for seat in seats:
                held[list(seat)] += 1
            sizes = [full + (j < last) for j in range(m)]
            hits += sum(bool(event.bad(c)[x]) for c, x in zip(sizes, held.tolist(), strict=True)) > event.most
        expected += weight * hits / len(placed)
    law = Strata(clusters=m, strata=tuple(laws), last=last)
    agrees(law, event, expected)
    if event.most == 0:
        bounded = law._sandwich(event, [event.masks(size) for size, _ in law._sizes])
        assert bounded.lower <= expected * (1 + 1e-9) + 1e-12
        assert bounded.upper >= min(1.0, expected) * (1 - 1e-9) - 1e-12


@given(st.integers(2, 9), st.data())
def test_an_adversary_at_will_takes_the_best_of_all_placements(n: int, data: st.DataObject) -> None:
    groups = size_groups(n, data.draw(st.integers(1, n)))
    threshold = data.draw(st.integers(0, 3))
    hole = data.draw(st.booleans())
    event = Event(
        bad=(lambda c: np.arange(c + 1) == c - 1) if hole else (lambda c: np.arange(c + 1) > threshold),
        most=data.draw(st.integers(0, 3)),
    )
    for f in range(n + 1):
        placed = (happens(event, runs(groups), faulty) for size in range(f + 1) for faulty in subsets(n, size))
        assert Chosen(groups=groups, totals=(*[0.0] * f, 1.0)).probability(event).value == float(any(placed))


def best_after(event: Event, clusters: Clusters, f: int, moves: int) -> float:
    """How often the best of all placements within reach has more than `most` bad clusters, and no bad one in reach."""
    seats = [
        tuple(len(faulty & set(members)) for members in clusters) for faulty in subsets(sum(map(len, clusters)), f)
    ]

    def bad(held: tuple[int, ...]) -> bool:
        return sum(bool(event.bad(len(who))[x]) for who, x in zip(clusters, held, strict=True)) > event.most

    def barred(held: tuple[int, ...]) -> bool:
        rule = event.forbidden
        return rule is not None and any(rule(len(who))[x] for who, x in zip(clusters, held, strict=True))

    ways = Counter(seats)
    hits = 0
    for held, count in ways.items():
        near = [after for after in ways if sum(max(0, y - x) for x, y in zip(held, after, strict=True)) <= moves]
        hits += count * (any(map(bad, near)) and not any(map(barred, near)))
    return hits / len(seats)


@given(st.integers(3, 7), st.data())
def test_aimed_moves_are_the_best_that_can_be_done_after_the_draw(n: int, data: st.DataObject) -> None:
    groups = size_groups(n, data.draw(st.integers(1, n)))
    f = data.draw(st.integers(0, min(n, 4)))
    moves = data.draw(st.integers(0, 2))
    tables = {size: np.array([data.draw(st.integers(0, 2)) for _ in range(size + 1)]) for size, _ in groups}
    event = Event(
        bad=lambda c: tables[c] == 1,
        most=data.draw(st.integers(0, 2)),
        forbidden=data.draw(st.sampled_from((None, lambda c: tables[c] == 2))),
    )
    law = Aimed(n=n, faulty=f, groups=groups, moves=moves)
    agrees(law, event, best_after(event, runs(groups), f, moves))
    found = law.probability(event)
    assert (found.engine == "bounds") == bool(found.because)


@given(st.integers(6, 10), st.data())
def test_aimed_moves_that_need_several_clusters_are_exact_where_more_is_never_better(
    n: int, data: st.DataObject
) -> None:
    """With and without an exposure that must not have been within reach; sizes alike or not."""
    groups = size_groups(n, data.draw(st.integers(2, 3)))
    f, moves, most = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4)), data.draw(st.integers(1, 2))
    threshold = data.draw(st.integers(0, 1))
    exposed = data.draw(st.sampled_from((None, lambda c: np.arange(c + 1) == c - 1, lambda c: np.arange(c + 1) > 1)))
    event = Event(bad=lambda c: np.arange(c + 1) > threshold, most=most, forbidden=exposed)
    found = Aimed(n=n, faulty=f, groups=groups, moves=moves).probability(event)
    assert found.engine != "bounds"
    assert found.value == pytest.approx(best_after(event, runs(groups), f, moves), rel=1e-9, abs=1e-12)


def test_many_clusters_are_bought_in_ways_that_exclude_each_other() -> None:
    """One move adds P(K = F and some cluster is one away), here from whole laws of K; every more move adds more."""
    n, size, f, most = 1000, 20, 200, 20
    groups = size_groups(n, size)
    event = Event(bad=lambda c: np.arange(c + 1) > 6, most=most)
    one = Aimed(n=n, faulty=f, groups=groups, moves=1).probability(event)
    assert one.engine == "budgets of moves"

    def law_of_k(bad: Callable[[int], Mask], forbidden: Callable[[int], Mask] | None = None) -> np.ndarray:
        return distribution(parts_of(groups, bad, forbidden), n, (f,))

    beyond = law_of_k(event.bad)
    without = law_of_k(event.bad, lambda c: np.arange(c + 1) == 6)
    expected = beyond[most + 1 :].sum() + beyond[most] - without[most]
    assert one.value == pytest.approx(expected, rel=1e-9)
    more = [Aimed(n=n, faulty=f, groups=groups, moves=moves).probability(event) for moves in range(5)]
    assert all(few.value < many.value for few, many in pairwise(more))
    assert {found.engine for found in more[1:]} == {"budgets of moves"}


def test_aimed_moves_that_are_only_bounded_say_why() -> None:
    hole = Event(bad=lambda c: np.arange(c + 1) == c - 1, most=1)
    assert "may break both" in Aimed(n=12, faulty=5, groups=size_groups(12, 3), moves=1).probability(hole).because
    many = Event(bad=lambda c: np.arange(c + 1) > 4, most=40)
    found = Aimed(n=1000, faulty=250, groups=size_groups(1000, 10), moves=60).probability(many)
    assert (found.engine, "more than 600 ways" in found.because) == ("bounds", True)
    assert found.lower < found.upper


def view_of(clusters: Clusters, f: int, *, seed: int = 1, previous: frozenset[int] | None = None) -> PlacementView:
    n = sum(map(len, clusters))
    return PlacementView(
        population=Population(n=n),
        f=f,
        conditions=conditions_of("additive"),
        tolerate=0,
        seed=seed,
        round_index=0 if previous is None else 1,
        clustering=Clustering(clusters=tuple(map(tuple, clusters))),
        previous=None if previous is None else np.isin(np.arange(n), list(previous)),
    )


Design = tuple[str, str | None, int, int, int, int, int]
"""Protocol, threshold, n, cluster size, f, moves, clusters tolerated."""
DESIGNS: list[Design] = [
    ("additive", None, 24, 6, 5, 1, 3),  # a hole to aim at, sizes alike
    ("additive", None, 23, 5, 5, 1, 3),  # a hole of its own in clusters of 5 and of 6
    ("shamir", "4", 18, 6, 5, 1, 1),
    ("shamir", "1", 18, 6, 6, 1, 1),  # two clusters with three each are lost
]


def seatings(sizes: Sequence[int], f: int) -> Iterator[tuple[float, tuple[int, ...]]]:
    """How many of f faulty processes each cluster holds, and the share of all placements that do so."""
    for held in product(*(range(min(size, f) + 1) for size in sizes)):
        if sum(held) == f:
            yield math.prod(map(math.comb, sizes, held)) / math.comb(sum(sizes), f), held


def targeted_fails(
    aim: Literal["private", "correct", "live", "any"], design: Design, *, rounds: int = 1
) -> tuple[float, Analysis]:
    """How often the placement breaks the side aimed at, over all first placements, and what the law says."""
    protocol, threshold, n, size, f, moves, tolerate = design
    conditions = conditions_of(protocol, threshold=threshold)
    groups = size_groups(n, size)
    clusters = runs(groups)
    placement = Targeted(moves=moves, aim=aim)
    broken = 0.0
    for weight, held in seatings([len(members) for members in clusters], f):
        before = frozenset(i for members, x in zip(clusters, held, strict=True) for i in members[:x])
        view = replace(view_of(clusters, f, previous=before), conditions=conditions, tolerate=tolerate)
        for round_index in range(1, rounds + 1):
            view = replace(view, previous=placement(replace(view, round_index=round_index)))
        assert view.previous is not None
        assert view.clustering is not None
        faulty = FaultyProcesses(n=n, byzantine=frozenset(np.flatnonzero(view.previous).tolist()))
        found = verdict(view.clustering, faulty, conditions, tolerate)
        side = {"private": found.private, "correct": found.correct, "live": found.live, "any": found.safe}[aim]
        broken += weight * (not side)
    return broken, sides(Aimed(n=n, faulty=f, groups=groups, moves=moves * rounds), conditions, tolerate)


@pytest.mark.parametrize("aim", ["private", "correct", "live", "any"])
@pytest.mark.parametrize("design", DESIGNS)
def test_the_law_of_aimed_moves_is_that_of_the_placement_targeted(
    aim: Literal["private", "correct", "live", "any"], design: Design
) -> None:
    """Over all first placements, whatever the side aimed at; `any` fails where some side does."""
    broken, law = targeted_fails(aim, design)
    side = {"private": law.private, "correct": law.correct, "live": law.live, "any": law.fail}[aim]
    assert side.engine != "bounds"
    assert side.value == pytest.approx(broken, rel=1e-9, abs=1e-12)


def test_moves_of_several_rounds_in_the_same_clusters_add_up() -> None:
    for aim in ("private", "correct", "any"):
        broken, law = targeted_fails(aim, DESIGNS[0], rounds=2)
        once, _ = targeted_fails(aim, DESIGNS[0])
        side = {"private": law.private, "correct": law.correct, "any": law.fail}[aim]
        assert side.value == pytest.approx(broken, rel=1e-9)
        assert once < broken


def test_faults_set_apart_before_the_draw_are_another_law_and_seen() -> None:
    """Who moves is chosen after the draw: f - g placed at random, and g added wherever they help, is not the same."""
    _, _, n, size, f, moves, _ = DESIGNS[2]
    broken, law = targeted_fails("private", DESIGNS[2])
    # Five of six members open it; one of these is added afterwards.
    apart = Uniform(n=n, faulty=f - moves, groups=size_groups(n, size))
    found = apart.probability(Event(bad=lambda c: np.arange(c + 1) >= 5 - moves, most=0))
    assert law.private.value == pytest.approx(broken)
    assert found.value < broken / 2


@pytest.mark.parametrize(("name", "law"), [("packed", packed), ("spread", spread)])
def test_the_law_of_a_placement_is_what_the_placement_does(name: str, law: Callable[..., Placed]) -> None:
    """Over 400 seeds: each of at most two outcomes within six standard deviations (2e-9)."""
    f, draws = 7, 400
    groups = size_groups(11, 3)
    clusters = [*reversed(runs(groups))]
    seen = Counter(
        tuple(sorted((len(members), int(faulty[members].sum())) for members in clusters))
        for faulty in (placements.make(placements.resolve(name))(view_of(clusters, f, seed=s)) for s in range(draws))
    )
    expected = {
        tuple(sorted((size, held) for size, held, count in way for _ in range(count))): weight
        for weight, way in law(groups, f).ways
    }
    assert set(seen) == set(expected)
    for outcome, weight in expected.items():
        assert abs(seen[outcome] / draws - weight) <= 6 * math.sqrt(weight * (1 - weight) / draws)


@pytest.mark.parametrize(
    ("name", "policy", "f"),
    [
        ("by_domain", "round_robin", 4),
        ("by_domain", "locality", 5),
        ("by_domain", "random", 5),
        ("iid", "random", 3),
        ("heterogeneous", "locality", 3),
    ],
)
def test_the_law_is_that_of_the_placement_where_the_number_of_faults_is_random(name: str, policy: str, f: int) -> None:
    """Over 1,500 seeds, 4 domains of 14 processes: within six standard deviations (2e-9 for each of three events).

    A law that rounds the number of domains to a whole one, 1 instead of 1.14 or 1.43, is off by 14 points or more in
    one of the events, and at most 8 are allowed.
    """
    asked = Setting(n=14, faulty=f, groups=size_groups(14, 4), domains=4)
    law = law_of(policy, name, asked)
    order = {"round_robin": [list(range(j, 14, 3)) for j in range(3)], "locality": runs(asked.groups)}
    rows, draws = list[np.ndarray](), 1500
    for seed in range(draws):
        clusters = order.get(policy) or runs(asked.groups)
        seats = np.random.default_rng(seed).permutation(14) if policy == "random" else np.arange(14)
        risky = Population(n=14, domains=asked.domain, trust=1 - asked.risks)
        mask = placements.make(placements.resolve(name))(replace(view_of(clusters, f, seed=seed), population=risky))
        rows.append(np.array([(len(members), mask[seats[members]].sum()) for members in clusters]))
    held = np.array(rows)
    for most, bad in ((0, 3), (0, 4), (1, 2)):
        event = Event(bad=lambda c, bad=bad: np.arange(c + 1) >= bad, most=most)
        found = law.probability(event)
        assert found.engine != "bounds"
        seen = float(((held[:, :, 1] >= bad).sum(axis=1) > most).mean())
        spread_ = math.sqrt(max(found.value * (1 - found.value), 1e-9) / draws)
        assert abs(seen - found.value) <= 6 * spread_, (name, policy, most, bad, seen, found.value)


def test_a_law_that_rounds_the_number_of_domains_is_another_one() -> None:
    asked = Setting(n=14, faulty=4, groups=size_groups(14, 4), domains=4)
    members = np.stack([np.bincount(asked.domain[j::3], minlength=4) for j in range(3)], axis=1)
    event = Event(bad=lambda c: np.arange(c + 1) >= 2, most=1)
    rounded = Domains(members=members, failing=1).probability(event)
    assert abs(law_of("round_robin", "by_domain", asked).probability(event).value - rounded.value) > 0.14


def test_packed_faults_fill_clusters_and_spread_ones_are_dealt() -> None:
    groups = size_groups(11, 3)  # 3, 4, 4
    assert packed(groups, 5).ways == ((1.0, ((4, 4, 1), (4, 1, 1), (3, 0, 1))),)
    # Two of the three clusters get one more: the small one and a larger one, or both larger ones.
    mixed, larger = spread(groups, 5).ways
    assert mixed == (pytest.approx(2 / 3), ((3, 2, 1), (4, 2, 1), (4, 1, 1)))
    assert larger == (pytest.approx(1 / 3), ((3, 1, 1), (4, 2, 2)))
    assert spread(groups, 10).ways == ((1.0, ((3, 3, 1), (4, 4, 1), (4, 3, 1))),)
    assert sum(held * count for _, held, count in packed(groups, 11).ways[0][1]) == 11
    tainted = Event(bad=lambda c: np.arange(c + 1) > 0, most=2)
    assert packed(groups, 5).probability(tainted).value == 0.0
    assert spread(groups, 5).probability(tainted).value == 1.0
    with pytest.raises(CloisterError, match="more than n = 11"):
        spread(groups, 12)


def trees(tree: Tree, start: int = 0) -> object:
    """The processes of each leaf, nested as the tree."""
    if not tree.parts:
        return list(range(start, start + tree.size))
    nested = []
    for part, count in tree.parts:
        for _ in range(count):
            nested.append(trees(part, start))
            start += part.size
    return nested


def broken(nested: list, faulty: frozenset[int], bad: Callable[[int], Mask], most: Callable[[int], int]) -> bool:
    if isinstance(nested[0], int):
        return bool(bad(len(nested))[len(faulty & set(nested))])
    return sum(broken(part, faulty, bad, most) for part in nested) > most(len(nested))


@given(st.integers(2, 9), st.data())
def test_a_tree_fails_as_often_as_over_all_placements(n: int, data: st.DataObject) -> None:
    tree = tree_of(n, data.draw(st.integers(1, n)), [data.draw(st.integers(1, 3)) for _ in range(2)])
    f = data.draw(st.integers(0, n))
    threshold = data.draw(st.integers(0, 2))
    slack = data.draw(st.sampled_from((majority_breakdown, lambda m: 0, lambda m: m - 1)))

    def bad(c: int) -> Mask:
        return np.arange(c + 1) > threshold

    every = [broken(trees(tree), faulty, bad, slack) for faulty in subsets(n, f)]
    found = hierarchy_fails(tree, faulty=(f,), bad=bad, breakdown=slack)
    assert found.value == pytest.approx(float(np.mean(every)), rel=1e-9, abs=1e-12)
    worst = hierarchy_tolerates(tree, least=lambda c: threshold + 1 if threshold < c else 2**40, breakdown=slack)
    assert any(every) == (f > worst)


def test_one_level_is_the_tail_of_bad_clusters_and_rare_failures_keep_their_digits() -> None:
    def bad(c: int) -> Mask:
        return np.arange(c + 1) > (c - 1) // 3

    flat = hierarchy_fails(tree_of(300, 20, []), faulty=(60,), bad=bad, breakdown=majority_breakdown)
    expected = tail(parts_of(size_groups(300, 20), bad), 300, (60,), majority_breakdown(15))
    assert flat.value == pytest.approx(expected.value, rel=1e-9)
    assert 0 < flat.value < 1e-9
    # (a_1 + 1)(a_2 + 1)(a_3 + 1) - 1 for clusters of 5 in threes in threes.
    assert hierarchy_tolerates(tree_of(45, 5, [3, 3]), least=lambda c: 3, breakdown=majority_breakdown) == 11
    large = hierarchy_fails(tree_of(10**5, 20, [10]), faulty=(10**4,), bad=bad, breakdown=majority_breakdown)
    assert large.engine == "bounds"


@pytest.mark.parametrize("policy", sorted(POLICIES))
def test_every_policy_has_a_law_for_every_placement(policy: str) -> None:
    conditions = conditions_of("shamir")
    groups = size_groups(24, 6)
    for placement in PLACEMENTS:
        law = law_of(policy, placement, Setting(n=24, faulty=4, groups=groups, domains=6, moves=1))
        found = sides(law, conditions, 1, sizes=[6])
        room = 1 + 1e-9
        assert 0 <= found.live.lower <= found.correct.upper * room
        assert max(found.private.lower, found.correct.lower) <= found.fail.upper * room
        assert found.fail.upper <= (found.private.upper + found.correct.upper) * room
        assert found.fail.upper <= found.union_bound * room


def test_the_sides_under_the_uniform_law_are_those_of_the_analysis() -> None:
    groups, conditions = size_groups(60, 7), conditions_of("additive")
    found = sides(Uniform(n=60, faulty=4, groups=groups), conditions, 3)
    expected = analyse(Faults(n=60, byzantine=4), groups, conditions, 3)
    for side in ("private", "correct", "live", "fail"):
        assert getattr(found, side).value == pytest.approx(getattr(expected, side).value, rel=1e-9)


def test_what_fails_together_breaks_near_clusters_and_not_striped_ones() -> None:
    """Planted bug: taking the uniform law for sites that fail together calls locality safe."""
    asked = Setting(n=200, faulty=20, groups=size_groups(200, 20), domains=20)
    half = Event(bad=lambda c: np.arange(c + 1) > (c - 1) // 2, most=0)
    near = law_of("locality", "by_domain", asked).probability(half).value
    striped = law_of("stratified", "by_domain", asked).probability(half).value
    drawn = law_of("random", "by_domain", asked).probability(half).value
    assert striped == 0.0  # two of twenty domains of ten, one process of each in each of the ten clusters
    assert 0 < drawn < 1e-4 < near


def test_segregating_by_trust_taints_the_fewest_and_spreading_exposes_the_fewest() -> None:
    asked = Setting(n=20, faulty=4, groups=size_groups(20, 5))
    tainted = Event(bad=lambda c: np.arange(c + 1) > 0, most=2)
    exposed = Event(bad=lambda c: np.arange(c + 1) > 2, most=0)
    laws = {name: law_of(name, "heterogeneous", asked) for name in ("segregated", "random", "stratified")}
    found = {name: [law.probability(event).lower for event in (tainted, exposed)] for name, law in laws.items()}
    assert found["segregated"][0] < found["random"][0] < found["stratified"][0]
    assert found["segregated"][1] > found["random"][1] > found["stratified"][1]


def test_over_rounds_batches_that_stay_are_between_one_round_and_independent_ones() -> None:
    # Six processes in batches of two, two faulty, clusters of two batches and one: bad where a batch is all faulty
    # in a cluster of its own. Given the batches, rounds are independent.
    n, rounds = 6, 3
    batches = [(0, 1), (2, 3), (4, 5)]
    chances = []
    for faulty in subsets(n, 2):
        alone = [len(faulty & set(batch)) == 2 for batch in batches]  # one of three batches is alone, at random
        chances.append(sum(alone) / 3)
    p = float(np.mean(chances))
    exact = float(np.mean([1 - (1 - q) ** rounds for q in chances]))
    low, high = POLICIES["sticky"].over_rounds(p, rounds)
    assert low < exact < high
    assert POLICIES["random"].over_rounds(p, rounds) == (high, high)


@pytest.mark.parametrize(
    ("faults", "size", "tolerate"),
    [
        (Faults(n=6, byzantine=1, curious=1), 3, 0),
        (Faults(n=6, byzantine=1, crashed=1), 3, 1),
        (Faults(n=7, byzantine=2), 3, 1),
    ],
)
def test_two_partitions_of_a_cover_fail_as_often_as_over_all_covers_and_placements(
    faults: Faults, size: int, tolerate: int
) -> None:
    conditions, groups = conditions_of("shamir", mode="passive", threshold="1"), size_groups(faults.n, size)
    found = either_fails(faults, size, conditions, tolerate)
    # Covers as the policy draws them, and uniform placements: within six standard deviations of 600 trials (2e-9).
    policy, rng, draws, hits = Overlapping(), np.random.default_rng(3), 600, 0
    for trial in range(draws):
        cover = policy.cover(n=faults.n, cluster_size=size, seed=trial)
        order = rng.permutation(faults.n).tolist()
        ends = np.cumsum([faults.byzantine, faults.crashed, faults.curious]).tolist()
        kinds = [frozenset(order[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True)]
        faulty = FaultyProcesses(n=faults.n, byzantine=kinds[0], crashed=kinds[1], curious=kinds[2])
        hits += any(not verdict(each, faulty, conditions, tolerate).safe for each in cover.partitions)
    assert found is not None
    assert abs(hits / draws - found) <= 6 * math.sqrt(found * (1 - found) / draws)
    once = analyse(faults, groups, conditions, tolerate).fail.value
    assert once <= found * (1 + 1e-9) <= min(1.0, 2 * once) * (1 + 2e-9)


def halves(n: int) -> list[Clustering]:
    """All ways to cut an even number of processes into two clusters of one size."""
    chosen = [each for each in combinations(range(n), n // 2) if 0 in each]
    return [Clustering(clusters=(each, tuple(i for i in range(n) if i not in each))) for each in chosen]


@pytest.mark.parametrize(
    ("faults", "tolerate"),
    [
        (Faults(n=6, byzantine=1, curious=1), 1),
        (Faults(n=6, byzantine=1, crashed=1), 1),
        (Faults(n=6, byzantine=0, curious=2), 0),
    ],
)
def test_a_cover_of_two_partitions_fails_in_exactly_so_many_covers_and_placements(
    faults: Faults, tolerate: int
) -> None:
    """Both partitions and all kinds tried; a cover is kept where no sum of sums is one process's word."""
    n, conditions = faults.n, conditions_of("shamir", mode="passive", threshold="1")
    placed = []
    for liars in map(frozenset, combinations(range(n), faults.byzantine)):
        for gone in map(frozenset, combinations(sorted(set(range(n)) - liars), faults.crashed)):
            for spies in map(frozenset, combinations(sorted(set(range(n)) - liars - gone), faults.curious)):
                placed.append(FaultyProcesses(n=n, byzantine=liars, crashed=gone, curious=spies))
    cuts = halves(n)
    fails = [np.array([not verdict(cut, each, conditions, tolerate).safe for each in placed]) for cut in cuts]
    shares = []
    for (one, broken), (other, broken_too) in product(zip(cuts, fails, strict=True), repeat=2):
        rows = Cover(partitions=(one, other)).membership
        rank = np.linalg.matrix_rank(rows)
        if all(np.linalg.matrix_rank(np.vstack([rows, np.eye(n)[i]])) > rank for i in range(n)):
            shares.append(float((broken | broken_too).mean()))
    assert 0 < float(np.mean(shares)) < 1
    assert either_fails(faults, n // 2, conditions, tolerate) == pytest.approx(float(np.mean(shares)), rel=1e-12)


def test_covers_of_many_processes_are_not_enumerated() -> None:
    assert either_fails(Faults(n=40, byzantine=3), 5, conditions_of("shamir"), 1) is None


def test_hierarchical_sides_have_the_clusters_privacy_and_the_trees_correctness() -> None:
    conditions, faults = conditions_of("shamir", checked_inputs=True), Faults(n=90, byzantine=18)
    asked = Setting(n=90, faulty=18, groups=size_groups(90, 6), levels=(3,))
    uniform = Uniform(n=90, faulty=18, groups=asked.groups)
    found = hierarchical_sides(uniform, asked, faults, conditions, majority_breakdown)
    flat = sides(uniform, conditions, majority_breakdown(15))
    assert found.private.value == pytest.approx(flat.private.value, rel=1e-9)
    assert found.correct.engine == "recursion"
    assert found.fail.engine == found.correct.engine
    assert found.fail.value >= max(found.private.value, found.correct.value)
    dealt = hierarchical_sides(spread(asked.groups, 18), asked, faults, conditions, majority_breakdown)
    assert dealt.correct.engine == "bounds that meet"


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: law_of("randm", "uniform", Setting(n=9, faulty=1, groups=((3, 3),))), "did you mean 'random'"),
        (lambda: law_of("random", "unifrm", Setting(n=9, faulty=1, groups=((3, 3),))), "did you mean 'uniform'"),
        (lambda: Setting(n=9, faulty=1, groups=((3, 3),), domains=10), "domains = 10 is more than n = 9"),
        (lambda: Domains(members=np.ones((2, 2), dtype=np.int64), failing=3), "more than the 2 domains"),
        (lambda: Strata(clusters=3, strata=((0.5, 0.5),)), "do not fit m = 3 clusters"),
        (lambda: iid(((3, 3),), 1.5), "faulty = 1.5 is not allowed"),
        (lambda: poisson_binomial([0.5, 2.0]), "a probability of 2.0"),
        (lambda: hierarchy_fails(tree_of(9, 3, [2]), faulty=(10,), bad=np.zeros, breakdown=len), "more than n = 9"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(make: Callable[[], object], message: str) -> None:
    with pytest.raises(CloisterError, match=message) as raised:
        make()
    assert "\n" not in str(raised.value)
