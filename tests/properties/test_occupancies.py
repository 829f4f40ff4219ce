"""Every occupancy of small clusters by Byzantine, crashed and curious members: the verdict is what happens in runs.

What the faulty send is of every kind in turn, in every exchange, from every place; where a side is said to be broken,
the bluntest attacks are searched until one breaks it. Clusters of up to 12 members at night, of 3 here, or
of the smallest that run; then every occupancy of two such clusters, and at night of all that up to 12 processes make.
"""

import os
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from itertools import combinations, combinations_with_replacement, pairwise
from unittest import mock

import numpy as np
import pytest

from protocols.faults import Crash
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing.invariants.campaign import forget
from protocols.testing.invariants.contract import EFFORTS, Violation
from protocols.testing.invariants.occupancies import refuse_contradictions
from protocols.testing.invariants.runs import conditions_at, observe, sizes, steps_of
from protocols.testing.invariants.secrecy import affine_or_none
from protocols.testing.placements import Placement
from protocols.testing.scenarios import Scenario, registered_specs
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.verdict import FaultyProcesses, verdict
from protocols.types import Clustering
from tests.properties.test_verdict import is_tight, rebuilds

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
LARGEST, RUNS = (12, 8) if NIGHTLY else (3, EFFORTS["dev"].occupancy)
# One of each kind of conditions: rings and codes do not matter to them. Stock CrypTen breaks promises.
SPECS = {conditions_at(spec): spec for spec in reversed(registered_specs()) if spec.name != "additive_stock"}
# Other fractions of colluders and absent members than the default's change little; the others are tried at night.
VARIANTS = [spec for spec in SPECS.values() if spec.name == "masked_graph" and spec != secure_sums.resolve(spec.name)]
CLUSTERS = [
    pytest.param(spec, c, id=f"{spec}-{c}", marks=pytest.mark.xdist_group(str(spec)))
    for spec in SPECS.values()
    for c in sizes(spec, LARGEST, least=3)
    if NIGHTLY or (c <= 4 and spec not in VARIANTS)
]
PROCESSES = 12 if NIGHTLY else 8
Occupancy = tuple[int, int, int]


def every(c: int) -> Iterator[Occupancy]:
    """(b, k, p)."""
    yield from ((b, k, p) for b in range(c + 1) for k in range(c + 1 - b) for p in range(c + 1 - b - k))


@cache
def opens_with_the_input_of_liars(spec: Spec, c: int, b: int) -> bool:
    """Whether a sum opens that has other words of b members than those that are theirs to give."""
    scenario = Scenario(protocol=spec, parties=c, words_seed=3)
    words = scenario.words()
    words[:, :b] = scenario.ring.wrap(words[:, :b] + 12345)
    seen = observe(scenario, words=words)
    return seen.sums is not None and bool((seen.sums != scenario.ring.wrap(scenario.words().sum(dim=1))).any())


@cache
def words_in_sums(spec: Spec, c: int, k: int) -> frozenset[int]:
    """How many words are in sums while k members crash, each before it sends anything or after all that it sends."""
    last = steps_of(spec, c) - 1
    found: set[int] = set()
    for early in range(k + 1):
        for ranks in (range(k), range(c - k, c)):
            crashes = [Crash(step=0)] * early + [Crash(step=last, after=c + 1)] * (k - early)
            placement = Placement(faults=tuple(zip(ranks, crashes, strict=True)))
            seen = observe(Scenario(protocol=spec, parties=c, placement=placement))
            found |= {len(seen.contributors)} if seen.opened else set()
    return frozenset(found)


@cache
def learns_from_messages(spec: Spec, c: int, a: int) -> bool:
    """Whether some coalition of a members, which leaves two others, learns more than a sum from what it receives."""
    views = affine_or_none(spec, c, 1, {})
    assert views is not None
    if any(views.leaking([each]) for each in combinations(range(c), a)):
        return True
    return spec.name == "masked" and rebuilds(spec, c, a)


def is_exposed(spec: Spec, c: int, a: int, k: int) -> bool:
    """Whether a colluding members learn somebody's words, alone or as what is left of a sum without their own."""
    alone = any(words - a == 1 for words in words_in_sums(spec, c, k))
    # What all members receive in the clear is the board's to ask for.
    return alone or (a <= c - 2 and learns_from_messages(spec, c, max(a, int(conditions_at(spec).opens_inputs))))


def placed(clusters: tuple[Occupancy, ...], c: int) -> tuple[Clustering, FaultyProcesses]:
    """Clusters of c processes in a row, each with so many faulty ones, in this order: Byzantine, crashed, curious."""
    ends = [j * c for j in range(len(clusters) + 1)]
    by_kind: list[list[int]] = [[], [], []]
    for start, occupancy in zip(ends, clusters, strict=False):
        edges = np.cumsum([start, *occupancy]).tolist()
        for kind, (first, end) in enumerate(pairwise(edges)):
            by_kind[kind] += range(first, end)
    clustering = Clustering(clusters=tuple(tuple(range(start, start + c)) for start in ends[:-1]))
    byzantine, crashed, curious = map(frozenset, by_kind)
    return clustering, FaultyProcesses(n=ends[-1], byzantine=byzantine, crashed=crashed, curious=curious)


@pytest.mark.parametrize(("spec", "c"), CLUSTERS)
def test_what_is_said_to_be_lost_or_wrong_is_so_in_a_run_and_nothing_else_is(spec: Spec, c: int) -> None:
    seen = refuse_contradictions(spec, c, RUNS)
    assert len(seen) == (c + 1) * (c + 2) // 2
    for b, k, p in every(c):
        found = seen[b, k]
        said = verdict(*placed(((b, k, p),), c), conditions_at(spec), 0)
        wrong = found.bent or (found.off and b == 0) or (b > 0 and opens_with_the_input_of_liars(spec, c, b))
        assert (said.clusters[0].live, said.clusters[0].correct) == (not found.lost, not wrong), (b, k, p)


@pytest.mark.parametrize(("spec", "c"), CLUSTERS)
def test_what_is_said_to_be_exposed_is_learnt_in_a_run_and_nothing_else_is(spec: Spec, c: int) -> None:
    for b, k, p in every(c):
        if b + p == c:
            continue  # nobody is left who hides anything
        said = verdict(*placed(((b, k, p),), c), conditions_at(spec), 0).private
        learnt = is_exposed(spec, c, b + p, k)
        assert not (said and learnt), (b, k, p)
        assert said or learnt or not is_tight(spec), (b, k, p)


@pytest.mark.parametrize(("spec", "c"), [each for each in CLUSTERS if 2 * int(str(each.values[1])) <= PROCESSES])
def test_the_verdict_on_every_occupancy_of_several_clusters_is_that_of_what_each_shows(spec: Spec, c: int) -> None:
    """`tolerate` clusters may be wrong or lost; which cluster has which faults does not matter."""
    seen = refuse_contradictions(spec, c, RUNS)
    for m in range(2, (PROCESSES if NIGHTLY else 2 * c) // c + 1):
        for clusters in combinations_with_replacement(every(c), m):
            lost = sum(seen[b, k].lost for b, k, _ in clusters)
            failed = sum(seen[b, k].lost or b > 0 for b, k, _ in clusters)
            for tolerate in range(m):
                said = verdict(*placed(clusters, c), conditions_at(spec), tolerate)
                assert (said.correct, said.live) == (failed <= tolerate, lost <= tolerate), clusters
            if is_tight(spec) and all(b + p < c for b, _, p in clusters):
                assert said.private is not any(is_exposed(spec, c, b + p, k) for b, k, p in clusters), clusters


class TestPlantedBugs:
    """Conditions that are off by one member, either way, are contradicted by a run."""

    SHAMIR = secure_sums.resolve({"name": "shamir", "mode": "passive"})

    @pytest.fixture(autouse=True)
    def nothing_is_remembered(self) -> Iterator[None]:
        forget()
        yield
        forget()

    @pytest.mark.parametrize(("shift", "match"), [(1, "in none of"), (-1, "stop it with")])
    def test_one_crash_more_or_less_than_can_be_borne(self, shift: int, match: str) -> None:
        original = Conditions.lost

        def said(self: Conditions, c: int, b: np.ndarray, k: np.ndarray) -> np.ndarray:
            return original(self, c, b, np.maximum(k + shift, 0))

        with (
            mock.patch.object(Conditions, "lost", said),
            pytest.raises(Violation, match=match) as found,
        ):
            refuse_contradictions(self.SHAMIR, 3, RUNS)
        assert found.value.replay

    def test_a_wrong_sum_that_is_not_foreseen(self) -> None:
        original = conditions_at(self.SHAMIR)
        planted = replace(original, scheme=replace(original.scheme, wrong=lambda b, k, c, t: b + k < 0))
        with (
            mock.patch("protocols.testing.invariants.runs.conditions_at", return_value=planted),
            pytest.raises(Violation, match="bend a sum"),
        ):
            refuse_contradictions(self.SHAMIR, 3, RUNS)

    @pytest.mark.parametrize("shift", [1, -1])
    def test_one_colluder_more_or_less_than_learns(self, shift: int) -> None:
        original = Conditions.exposed
        with (
            mock.patch.object(Conditions, "exposed", lambda self, c, a, k: original(self, c, a + shift, k)),
            pytest.raises(AssertionError),
        ):
            test_what_is_said_to_be_exposed_is_learnt_in_a_run_and_nothing_else_is(self.SHAMIR, 3)

    def test_a_verdict_that_forgets_byzantine_inputs(self) -> None:
        with (
            mock.patch.object(Conditions, "tainted", lambda self, c, b, k: b + k < 0),
            pytest.raises(AssertionError),
        ):
            test_what_is_said_to_be_lost_or_wrong_is_so_in_a_run_and_nothing_else_is(self.SHAMIR, 3)
