"""Weighted rules for unequal clusters: the same as their plain forms on rows that are there once for each member."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from bench.simulation.counting import groups_of
from protocols.aggregators import Aggregator, aggregators, lapses, weighted_trimmed_mean, within_coefficient
from protocols.promises import counts_members, withstood, worst_sizes
from protocols.randomness import public_stream
from protocols.testing.aggregators import searched_violation

ULP = 2.0**-52


def rule_of(name: str) -> Aggregator:
    return aggregators.make(aggregators.resolve(name))


def ones(count: int) -> Tensor:
    return torch.ones(count, dtype=torch.int64)


@st.composite
def clusters(draw: st.DrawFn) -> tuple[Tensor, Tensor, int]:
    """Cluster means of small integers, which make ties, sizes from 1 to 6, and how many clusters may be tainted."""
    m, d = draw(st.integers(1, 8)), draw(st.integers(1, 3))
    numbers = draw(st.lists(st.integers(-3, 3), min_size=m * d, max_size=m * d))
    sizes = draw(st.lists(st.integers(1, 6), min_size=m, max_size=m))
    tolerate = draw(st.integers(0, (m - 1) // 2))
    return torch.tensor(numbers, dtype=torch.float64).reshape(m, d), torch.tensor(sizes), tolerate


def heaviest(sizes: Tensor, count: int) -> int:
    return sum(sorted(sizes.tolist(), reverse=True)[:count])


def slow_trimmed_mean(column: list[float], sizes: list[int], trimmed: int) -> Fraction:
    """The mean over processes without so many at either end, in rational numbers."""
    everybody = sorted(Fraction(x) for x, size in zip(column, sizes, strict=True) for _ in range(size))
    kept = everybody[trimmed : len(everybody) - trimmed]
    return sum(kept, Fraction(0)) / len(kept)


@given(case=clusters())
def test_the_weighted_median_is_the_median_of_rows_repeated_for_each_member(case: tuple[Tensor, Tensor, int]) -> None:
    means, sizes, tolerate = case
    repeated = means.repeat_interleave(sizes, dim=0)
    expected = rule_of("median")(repeated, ones(len(repeated)), 0)
    assert torch.equal(rule_of("weighted_median")(means, sizes, tolerate), expected)


@given(case=clusters())
def test_the_weighted_trimmed_mean_is_that_of_rows_repeated_for_each_member(case: tuple[Tensor, Tensor, int]) -> None:
    """A sum of at most 48 numbers up to 3, in float64: off by 48 * 144 * 2^-53 before the division at most."""
    means, sizes, tolerate = case
    trimmed = min(heaviest(sizes, tolerate), (int(sizes.sum()) - 1) // 2)
    found = rule_of("weighted_trimmed_mean")(means, sizes, tolerate)
    repeated = means.repeat_interleave(sizes, dim=0)
    plain = rule_of("trimmed_mean")(repeated, ones(len(repeated)), trimmed)
    slack = 48 * 144 * ULP
    assert torch.allclose(found, plain, rtol=0, atol=slack)
    for result, column in zip(found.tolist(), means.mT.tolist(), strict=True):
        assert abs(Fraction(result) - slow_trimmed_mean(column, sizes.tolist(), trimmed)) <= Fraction(slack)


@given(case=clusters(), size=st.integers(1, 5))
def test_with_clusters_of_one_size_they_are_the_plain_forms(case: tuple[Tensor, Tensor, int], size: int) -> None:
    means, _, tolerate = case
    sizes = torch.full((len(means),), size)
    for name in ("median", "trimmed_mean"):
        weighted, plain = (rule_of(each)(means, sizes, tolerate) for each in (f"weighted_{name}", name))
        assert torch.allclose(weighted, plain, rtol=0, atol=48 * 144 * ULP)


def test_the_plain_forms_are_others_where_sizes_differ() -> None:
    """The negative twin: a rule that counts each cluster once fails what is asked above."""
    means, sizes = torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64), torch.tensor([1, 1, 5])
    found = {name: float(rule_of(name)(means, sizes, 0)) for name in ("median", "weighted_median")}
    assert found == {"median": 1.0, "weighted_median": 5.0}
    assert float(rule_of("trimmed_mean")(means, sizes, 1)) == 1.0
    assert float(rule_of("weighted_trimmed_mean")(means, sizes, 0)) == pytest.approx(26 / 7)


@pytest.mark.parametrize("name", ["weighted_median", "weighted_trimmed_mean"])
def test_tainted_clusters_with_less_than_half_of_the_processes_leave_it_between_honest_means(name: str) -> None:
    """The heaviest clusters are the tainted ones, and send anything."""
    for seed in range(60):
        rng = public_stream(seed, "unequal")
        sizes = torch.from_numpy(rng.integers(1, 9, size=7)).sort(descending=True).values
        for tolerate in range(1, 4):
            if 2 * heaviest(sizes, tolerate) >= int(sizes.sum()):
                continue
            means = torch.from_numpy(rng.normal(size=(7, 4)))
            means[:tolerate] *= 10.0 ** rng.uniform(0, 30)
            honest = means[tolerate:]
            result = rule_of(name)(means, sizes, tolerate)
            # Rounding: a weighted mean of numbers between two others.
            slack = 64 * ULP * honest.abs().amax(dim=0)
            assert bool((result >= honest.amin(dim=0) - slack).all())
            assert bool((result <= honest.amax(dim=0) + slack).all())


def test_trimming_by_the_number_of_clusters_instead_of_their_weight_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    means, sizes = torch.tensor([[1e9], [0.0], [1.0], [2.0]], dtype=torch.float64), torch.tensor([4, 2, 2, 2])
    assert float(rule_of("weighted_trimmed_mean")(means, sizes, 1)) <= 2.0
    monkeypatch.setattr(weighted_trimmed_mean, "heaviest", lambda _, count: float(count))
    assert float(rule_of("weighted_trimmed_mean")(means, sizes, 1)) > 1e8


@pytest.mark.parametrize("name", ["weighted_median", "weighted_trimmed_mean"])
def test_no_search_finds_more_than_the_coefficient_of_unequal_clusters(name: str) -> None:
    """The conformance kit tries sizes that differ by one; here the heaviest clusters are eight times the lightest."""
    rule = rule_of(name)
    for sizes in ([8, 5, 4, 3, 2, 2, 1], [5, 5, 5, 1, 1, 1, 1], [2, 8, 4, 3, 1], [1, 1, 1, 6, 1]):
        weights = torch.tensor(sizes)
        honest = torch.from_numpy(public_stream(1, "unequal", *sizes).normal(size=(len(sizes) - 1, 3)))
        bound = rule.coefficient(weights, 1)
        if bound < float("inf"):
            assert searched_violation(rule, honest, weights, 1) <= 1 + 1e-6
    assert rule.coefficient(torch.tensor([1, 1, 1, 6, 1]), 1) == float("inf")  # one of them has more than half


def test_no_process_of_an_unequal_cluster_moves_the_result_by_more_than_the_sensitivity() -> None:
    """Also where the heaviest cluster sends numbers that cannot be computed with, and is taken out."""
    sizes = torch.tensor([5, 4, 3, 2, 1])
    means = torch.tensor([[0.0], [1.0], [2.0], [3.0], [4.0]], dtype=torch.float64)
    for name in ("weighted_median", "weighted_trimmed_mean"):
        rule = rule_of(name)
        bound = rule.sensitivity(sizes, 1)
        assert bound is not None
        moved: list[float] = []
        for gone in (None, 0):
            rows = means.clone()
            if gone is not None:
                rows[gone] = torch.nan
            before = rule(rows, sizes, 1)
            for j in range(1, 5):
                after = rows.clone()
                after[j] += 1.0 / float(sizes[j])
                moved.append(float((rule(after, sizes, 1) - before).abs().max()))
        assert max(moved) <= bound * (1 + 1e-9)
        assert max(moved) > 0


COUNT_MEMBERS = ("weighted_median", "weighted_trimmed_mean", "geometric_median")


@st.composite
def crashing(draw: st.DrawFn) -> tuple[list[int], list[int]]:
    """Sizes of clusters, and how many members of each crash."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=8))
    return sizes, [draw(st.integers(0, size)) for size in sizes]


def left_of(sizes: list[int], crashed: list[int]) -> Tensor:
    return torch.tensor([size - gone for size, gone in zip(sizes, crashed, strict=True) if size > gone])


@given(case=crashing())
def test_what_is_withstood_is_promised_whoever_crashes(case: tuple[list[int], list[int]]) -> None:
    sizes, crashed = case
    for name in COUNT_MEMBERS:
        rule, found = rule_of(name), withstood(rule_of(name), groups_of(np.array(sizes)), sum(crashed))
        left = left_of(sizes, crashed)
        # A cluster that loses all members is one of those withstood.
        for tolerate in range(found - (len(sizes) - len(left)) + 1):
            assert math.isfinite(rule.coefficient(left, tolerate))
    assert withstood(rule_of("median"), groups_of(np.array(sizes)), sum(crashed)) == (len(sizes) - 1) // 2


def test_one_more_is_not_promised_and_the_breakdown_point_is_too_much_for_some_sizes() -> None:
    """The negative twin: what the rule withstands of clusters of one size is more than it promises for others."""
    for name in COUNT_MEMBERS:
        rule = rule_of(name)
        for sizes, crashed, most in (([3, 3, 2, 2, 2], 0, 1), ([3] * 5, 2, 2), ([3] * 5, 3, 1), ([4, 1, 1], 0, 0)):
            assert withstood(rule, groups_of(np.array(sizes)), crashed) == most, (name, sizes, crashed)
        assert rule.breakdown(5) == 2
        assert lapses(rule, torch.tensor([3, 3, 2, 2, 2]), 2)
        assert not lapses(rule, torch.tensor([3, 3, 3, 2, 2]), 2)
        assert not within_coefficient(rule, torch.zeros(1), torch.zeros(3, 1), torch.tensor([3, 3, 2, 2, 2]), 2)
    assert not lapses(rule_of("cge"), torch.tensor([3, 3, 2, 2, 2]), 2)  # it never promises anything


def test_only_rules_whose_coefficient_depends_on_sizes_count_members() -> None:
    assert {each for each in aggregators.entries() if counts_members(rule_of(each))} == set(COUNT_MEMBERS)


@st.composite
def rounds(draw: st.DrawFn) -> tuple[list[int], list[int], list[int], Callable[[int], int]]:
    """Sizes of clusters, of what is surely left of each, of what opened (0: nothing), and what a rule is told."""
    whole = draw(st.lists(st.integers(1, 5), min_size=1, max_size=7))
    left = [draw(st.integers(0, size)) for size in whole]
    found = [draw(st.integers(least, most)) for least, most in zip(left, whole, strict=True)]
    declared = draw(st.integers(0, 3))
    return whole, left, found, lambda m: min(declared, (m - 1) // 2)


def misses(rule: Aggregator, case: tuple[list[int], list[int], list[int], Callable[[int], int]]) -> bool:
    """Whether a promise lapses in a round, and for none of the sizes that are tried before it."""
    whole, left, found, told = case
    there = torch.tensor([size for size in found if size])
    if not len(there) or not lapses(rule, there, told(len(there))):
        return False
    tried = worst_sizes(whole, left, sum(1 for size in left if not size), told)
    return not any(lapses(rule, sizes, tolerate) for sizes, tolerate in tried)


@given(case=rounds())
def test_a_promise_that_lapses_in_a_round_lapses_for_the_worst_sizes(
    case: tuple[list[int], list[int], list[int], Callable[[int], int]],
) -> None:
    assert not any(misses(rule_of(name), case) for name in COUNT_MEMBERS)


def test_clusters_that_lose_nobody_may_be_the_tainted_ones_beside_those_that_do() -> None:
    """Any member of five clusters of five may be missing; two clusters are whole, the others have lost two each."""
    for name in COUNT_MEMBERS:
        assert lapses(rule_of(name), torch.tensor([5, 5, 3, 3, 3]), 2)
        assert not misses(rule_of(name), ([5] * 5, [3] * 5, [5, 5, 3, 3, 3], lambda _: 2))
        assert not lapses(rule_of(name), torch.tensor([3] * 5), 2)


def test_a_look_at_whole_clusters_alone_misses_what_crashes_leave() -> None:
    """The negative twin: five clusters of five, of which three lose five members together."""
    whole, found = [5] * 5, [5, 5, 4, 3, 3]
    for name in COUNT_MEMBERS:
        assert misses(rule_of(name), (whole, whole, found, lambda _: 2))
        assert not misses(rule_of(name), (whole, found, found, lambda _: 2))
        assert not lapses(rule_of(name), torch.tensor(whole), 2)
