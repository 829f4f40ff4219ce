"""Partitions: every row is dealt to exactly one process, in the way that the partition's name says."""

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.partitions import Partition, apportion, partitions, parts_of
from bench.partitions.by_class import ByClass
from bench.partitions.dirichlet import Dirichlet
from bench.partitions.iid import Iid
from bench.partitions.natural import Natural
from protocols.check import CloisterError

ALL: list[Partition] = [Iid(), Dirichlet(), Dirichlet(alpha=0.01, min_rows=1), ByClass(k=1), ByClass(), Natural()]
quick = settings(max_examples=40, deadline=None)


@st.composite
def requests(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, int]:
    """Labels, groups, a number of processes and a seed; often with few rows, lone classes and lone groups."""
    rows = draw(st.integers(1, 120))
    numbers = st.lists(st.integers(0, 4), min_size=rows, max_size=rows)
    labels, groups = np.array(draw(numbers)), np.array(draw(numbers))
    return labels, groups, draw(st.integers(1, 20)), draw(st.integers(0, 2**32 - 1))


def deal(
    partition: Partition, labels: np.ndarray, n: int, groups: np.ndarray | None = None, seed: int = 0
) -> list[np.ndarray]:
    return partition(labels, groups, n, np.random.default_rng(seed))


def deal_or_skip(partition: Partition, request: tuple[np.ndarray, np.ndarray, int, int]) -> list[np.ndarray]:
    """Deal the request; an empty list if the partition refuses it."""
    labels, groups, n, seed = request
    try:
        return deal(partition, labels, n, groups, seed)
    except CloisterError:
        return []


def refusal(partition: Partition, labels: np.ndarray, n: int, groups: np.ndarray | None = None) -> str:
    with pytest.raises(CloisterError) as caught:
        deal(partition, labels, n, groups)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- what holds for every partition ---------------------------------------------------------------------------------


@pytest.mark.parametrize("partition", ALL, ids=repr)
@quick
@given(requests())
def test_every_row_goes_to_exactly_one_process_and_no_process_is_empty(
    partition: Partition, request_: tuple[np.ndarray, np.ndarray, int, int]
) -> None:
    parts = deal_or_skip(partition, request_)
    if not parts:
        return
    labels, _, n, _ = request_
    assert len(parts) == n
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(len(labels)))
    for part in parts:
        assert part.dtype == np.int64
        assert len(part) > 0
        assert np.all(np.diff(part) > 0)


@pytest.mark.parametrize("partition", ALL, ids=repr)
@quick
@given(requests())
def test_a_partition_depends_on_the_generator_alone(
    partition: Partition, request_: tuple[np.ndarray, np.ndarray, int, int]
) -> None:
    first = deal_or_skip(partition, request_)
    np.random.seed(request_[3])  # noqa: NPY002 - the point: the global state has no influence
    second = deal_or_skip(partition, request_)
    assert [part.tolist() for part in first] == [part.tolist() for part in second]


@pytest.mark.parametrize("partition", ALL, ids=repr)
@quick
@given(requests())
def test_a_partition_leaves_the_labels_and_groups_as_they_are(
    partition: Partition, request_: tuple[np.ndarray, np.ndarray, int, int]
) -> None:
    labels, groups = request_[0].copy(), request_[1].copy()
    deal_or_skip(partition, request_)
    assert np.array_equal(labels, request_[0])
    assert np.array_equal(groups, request_[1])


@pytest.mark.parametrize("partition", ALL, ids=repr)
@quick
@given(requests())
def test_a_partition_refuses_what_it_calls_unfit_and_else_only_too_few_rows(
    partition: Partition, request_: tuple[np.ndarray, np.ndarray, int, int]
) -> None:
    labels, groups, n, _ = request_
    reason = partition.unfit(len(np.unique(groups)), n, len(np.unique(labels)))
    dealt = bool(deal_or_skip(partition, request_))
    needed = n * max(getattr(partition, "k", 1), getattr(partition, "min_rows", 1))
    assert dealt == (reason is None and needed <= len(labels))


@pytest.mark.parametrize("partition", [Iid(), Dirichlet(), ByClass()], ids=repr)
def test_another_seed_gives_another_partition(partition: Partition) -> None:
    labels = np.arange(100) % 5
    first, second = deal(partition, labels, 10, seed=0), deal(partition, labels, 10, seed=1)
    assert [part.tolist() for part in first] != [part.tolist() for part in second]


@pytest.mark.parametrize("partition", [Iid(), Dirichlet(alpha=1e12), ByClass(k=1), Natural()], ids=repr)
def test_the_rows_of_one_class_and_group_are_dealt_at_random(partition: Partition) -> None:
    rows = np.zeros(1000, dtype=np.int64)
    for part in deal(partition, rows, 4, rows):
        # The mean of 250 row numbers drawn from 0 to 999 has a standard error of about 16: five of them.
        assert abs(part.mean() - 499.5) < 80


@pytest.mark.parametrize("partition", ALL, ids=repr)
def test_more_processes_than_rows_are_refused(partition: Partition) -> None:
    message = refusal(partition, np.array([0, 1, 1]), 4, np.array([0, 0, 1]))
    assert message == "n = 4 processes for 3 training rows; allowed: at most one process per row"


@pytest.mark.parametrize("partition", ALL, ids=repr)
@pytest.mark.parametrize("n", [0, -1, 2.0, True])
def test_a_number_of_processes_that_is_no_positive_integer_is_refused(partition: Partition, n: Any) -> None:
    message = refusal(partition, np.arange(10) % 2, n, np.arange(10) % 2)
    assert message == f"n = {n!r} is not allowed; allowed: an integer >= 1"


@pytest.mark.parametrize("partition", ALL, ids=repr)
def test_labels_and_groups_that_do_not_match_are_refused(partition: Partition) -> None:
    labels = np.arange(4) % 2
    message = refusal(partition, labels, 2, np.array([0, 1]))
    assert message == "groups of shape (2,) and dtype int64; allowed: (4,) of integers"
    message = refusal(partition, labels / 2, 2, labels)
    assert message == "labels of shape (4,) and dtype float64; allowed: (rows,) of integers"
    message = refusal(partition, labels.reshape(2, 2), 2, labels.reshape(2, 2))
    assert message == "labels of shape (2, 2) and dtype int64; allowed: (rows,) of integers"


def test_every_partition_plug_in_is_found_with_a_summary_and_examples_that_resolve() -> None:
    entries = partitions.entries()
    assert list(entries) == ["by_class", "dirichlet", "iid", "natural"]
    for name, entry in entries.items():
        assert entry.summary.endswith(".")
        assert dataclasses.is_dataclass(entry.factory)
        for example in entry.examples:
            assert partitions.resolve({"name": name, **example}).name == name


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ({"name": "dirichlet", "alpha": 0.0}, "alpha = 0.0 is not allowed; allowed: a finite number > 0"),
        ({"name": "dirichlet", "alpha": -1.0}, "alpha = -1.0 is not allowed; allowed: a finite number > 0"),
        ({"name": "dirichlet", "alpha": float("inf")}, "alpha = inf is not allowed; allowed: a finite number > 0"),
        ({"name": "dirichlet", "alpha": float("nan")}, "alpha = nan is not allowed; allowed: a finite number > 0"),
        ({"name": "dirichlet", "min_rows": 0}, "min_rows = 0 is not allowed; allowed: an integer >= 1"),
        ({"name": "by_class", "k": 0}, "k = 0 is not allowed; allowed: an integer >= 1"),
    ],
)
def test_a_parameter_out_of_range_is_refused(config: dict[str, Any], problem: str) -> None:
    with pytest.raises(CloisterError) as caught:
        partitions.resolve(config)
    assert str(caught.value) == f"partition {config['name']!r}: {problem}"


# --- iid ------------------------------------------------------------------------------------------------------------


@quick
@given(requests())
def test_the_sizes_of_iid_parts_differ_by_at_most_one(request_: tuple[np.ndarray, np.ndarray, int, int]) -> None:
    sizes = [len(part) for part in deal_or_skip(Iid(), request_)]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1


def test_iid_parts_have_nearly_the_same_class_proportions() -> None:
    labels = np.repeat([0, 1], 5000)
    for part in deal(Iid(), labels, 5):
        # Five standard deviations of a draw of 2,000 without replacement.
        assert abs(labels[part].mean() - 0.5) < 5 * 0.5 / np.sqrt(2000)


# --- dirichlet ------------------------------------------------------------------------------------------------------


@quick
@given(requests(), st.integers(1, 6), st.sampled_from([1e-300, 1e-3, 0.1, 1.0, 100.0, 1e308]))
def test_every_process_of_dirichlet_has_at_least_min_rows_rows(
    request_: tuple[np.ndarray, np.ndarray, int, int], min_rows: int, alpha: float
) -> None:
    parts = deal_or_skip(Dirichlet(alpha=alpha, min_rows=min_rows), request_)
    assert bool(parts) == (request_[2] * min_rows <= len(request_[0]))
    assert all(len(part) >= min_rows for part in parts)


@pytest.mark.parametrize("alpha", [1e12, sys.float_info.max])
def test_a_large_alpha_gives_every_process_the_same_number_of_rows_of_a_class_to_within_one(alpha: float) -> None:
    labels = np.repeat([0, 1, 2], [100, 253, 77])
    counts = np.array([np.bincount(labels[part], minlength=3) for part in deal(Dirichlet(alpha=alpha), labels, 7)])
    assert np.all(np.ptp(counts, axis=0) <= 1)


def test_a_small_alpha_gives_nearly_all_rows_of_a_class_to_one_process() -> None:
    labels = np.arange(1000) % 10
    parts = deal(Dirichlet(alpha=1e-6, min_rows=1), labels, 5)
    counts = np.array([np.bincount(labels[part], minlength=10) for part in parts])
    assert np.all(counts.max(axis=0) >= 95)


def test_a_smaller_alpha_gives_more_skewed_labels() -> None:
    labels = np.arange(2000) % 10

    def skew(alpha: float) -> float:
        parts = [part for seed in range(10) for part in deal(Dirichlet(alpha=alpha), labels, 10, seed=seed)]
        return float(np.mean([np.bincount(labels[part], minlength=10).max() / len(part) for part in parts]))

    assert skew(0.1) > skew(1.0) + 0.1 > skew(100.0) + 0.2


def test_the_mean_share_of_a_class_is_the_same_for_every_process() -> None:
    labels = np.zeros(100, dtype=np.int64)
    sizes = np.array([[len(part) for part in deal(Dirichlet(), labels, 4, seed=seed)] for seed in range(400)])
    # One share has the standard deviation sqrt(3 / 48) = 0.25 (alpha 0.5, four processes); five errors of the mean.
    assert np.all(np.abs(sizes.mean(axis=0) - 25) < 5 * 25 / np.sqrt(400))


def test_rows_move_only_as_far_as_min_rows_needs() -> None:
    labels = np.zeros(40, dtype=np.int64)
    for seed in range(20):
        short = {len(part) for part in deal(Dirichlet(alpha=1e-6, min_rows=3), labels, 4, seed=seed)}
        assert short == {3, 31}


def test_dirichlet_with_too_few_rows_is_refused() -> None:
    message = refusal(Dirichlet(min_rows=5), np.arange(10) % 2, 3)
    assert message == "min_rows = 5 for n = 3 processes needs 15 training rows; allowed: at most 10, all there are"


# --- by_class -------------------------------------------------------------------------------------------------------


@quick
@given(requests(), st.integers(1, 5))
def test_no_process_of_by_class_holds_more_than_k_classes(
    request_: tuple[np.ndarray, np.ndarray, int, int], k: int
) -> None:
    for part in deal_or_skip(ByClass(k=k), request_):
        assert len(np.unique(request_[0][part])) <= k


@quick
@given(requests())
def test_the_shards_of_one_class_differ_in_size_by_at_most_one(
    request_: tuple[np.ndarray, np.ndarray, int, int],
) -> None:
    labels = request_[0]
    parts = deal_or_skip(ByClass(k=1), request_)
    for label in np.unique(labels):
        sizes = [len(part) for part in parts if labels[part[0]] == label]
        assert max(sizes, default=0) - min(sizes, default=0) <= 1


def test_by_class_with_equal_classes_deals_equal_shards_as_mcmahan_et_al_do() -> None:
    parts = deal(ByClass(k=2), np.arange(6000) % 10, 100)
    assert {len(part) for part in parts} == {60}


def test_by_class_deals_the_shards_at_random() -> None:
    labels = np.arange(400) % 4
    classes_of_first = {int(labels[deal(ByClass(k=1), labels, 4, seed=seed)[0][0]]) for seed in range(40)}
    assert classes_of_first == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("k", "n", "classes", "reason"),
    [
        (3, 5, 2, "by_class with k = 3 classes per process needs as many classes, and the data have 2"),
        (2, 4, 10, "by_class with k = 2 leaves 4 processes at most 8 of the 10 classes"),
        (2, 5, 10, None),
    ],
)
def test_by_class_says_why_it_is_unfit(k: int, n: int, classes: int, reason: str | None) -> None:
    assert ByClass(k=k).unfit(None, n, classes) == reason
    if reason:
        message = refusal(ByClass(k=k), np.arange(50) % classes, n)
        assert message == f"the partition does not suit the data: {reason}"


def test_by_class_with_too_few_rows_is_refused() -> None:
    message = refusal(ByClass(k=2), np.arange(9) % 3, 5)
    reason = "by_class with k = 2 and n = 5 needs 10 rows, and there are 9"
    assert message == f"the partition does not suit the data: {reason}"


# --- natural --------------------------------------------------------------------------------------------------------


@quick
@given(requests())
def test_no_process_of_natural_holds_rows_of_two_groups(request_: tuple[np.ndarray, np.ndarray, int, int]) -> None:
    for part in deal_or_skip(Natural(), request_):
        assert len(np.unique(request_[1][part])) == 1


@quick
@given(requests())
def test_the_sizes_of_parts_within_one_group_differ_by_at_most_one(
    request_: tuple[np.ndarray, np.ndarray, int, int],
) -> None:
    groups = request_[1]
    parts = deal_or_skip(Natural(), request_)
    for group in np.unique(groups):
        sizes = [len(part) for part in parts if groups[part[0]] == group]
        assert max(sizes, default=0) - min(sizes, default=0) <= 1


def test_with_as_many_processes_as_groups_process_i_holds_the_i_th_group() -> None:
    groups = np.array([2, 0, 1, 2, 0, 0])
    parts = deal(Natural(), np.zeros(6, dtype=np.int64), 3, groups)
    assert [part.tolist() for part in parts] == [[1, 4, 5], [2], [0, 3]]


def test_four_hospitals_share_eight_processes_by_their_rows() -> None:
    rows = [303, 294, 123, 200]
    groups = np.repeat(np.arange(4), rows)
    parts = deal(Natural(), np.zeros(len(groups), dtype=np.int64), 8, groups)
    assert np.bincount([groups[part[0]] for part in parts]).tolist() == [3, 2, 1, 2]


def test_natural_says_why_it_is_unfit() -> None:
    assert Natural().unfit(None, 4, 2) == "natural needs data with natural groups, and these have none"
    assert Natural().unfit(4, 3, 2) == "natural gives each of the 4 groups a process of its own, so n = 3 is too small"
    assert Natural().unfit(4, 4, 2) is None


def test_natural_without_groups_or_with_too_few_processes_is_refused() -> None:
    labels = np.arange(8) % 2
    start = "the partition does not suit the data: natural "
    assert refusal(Natural(), labels, 2) == start + "needs data with natural groups, and these have none"
    too_few = "gives each of the 4 groups a process of its own, so n = 3 is too small"
    assert refusal(Natural(), labels, 3, np.arange(8) % 4) == start + too_few


# --- shares ---------------------------------------------------------------------------------------------------------

weights_and_total = st.lists(st.integers(1, 1000), min_size=1, max_size=12).flatmap(
    lambda weights: st.tuples(st.just(np.array(weights)), st.integers(len(weights), 200))
)


@quick
@given(weights_and_total)
def test_the_shares_are_at_least_1_and_add_up_to_the_total(drawn: tuple[np.ndarray, int]) -> None:
    weights, total = drawn
    shares = apportion(total, weights)
    assert shares.min() >= 1
    assert shares.sum() == total


@quick
@given(weights_and_total)
def test_with_enough_for_all_each_share_is_its_quota_rounded_down_or_up(drawn: tuple[np.ndarray, int]) -> None:
    weights, total = drawn
    quotas = total * weights / weights.sum()
    if quotas.min() >= 1:
        assert np.all(np.abs(apportion(total, weights) - quotas) < 1)


@quick
@given(weights_and_total)
def test_a_share_does_not_exceed_its_weight_if_the_total_does_not_exceed_the_sum_of_the_weights(
    drawn: tuple[np.ndarray, int],
) -> None:
    weights, total = drawn
    if total <= weights.sum():
        assert np.all(apportion(total, weights) <= weights)


def test_the_largest_remainder_gets_the_next_unit() -> None:
    assert apportion(10, np.array([37, 33, 30])).tolist() == [4, 3, 3]
    assert apportion(4, np.array([1000, 1, 1])).tolist() == [2, 1, 1]


def test_parts_of_an_owner_list_include_processes_without_rows() -> None:
    parts = parts_of(np.array([2, 0, 2, 0]), 4)
    assert [part.tolist() for part in parts] == [[1, 3], [], [0, 2], []]
