"""Joins and leaves: sizes stay balanced, nobody is lost, and who joins does not choose its company."""

from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protocols.check import CloisterError
from protocols.clustering import churn
from protocols.clustering.churn import join, leave
from protocols.clustering.random import Random
from protocols.population import Population
from protocols.types import Clustering

ALPHA = 1e-6
HISTORIES = st.lists(st.booleans(), min_size=1, max_size=25)


def started(n: int, cluster_size: int) -> Clustering:
    return Random()(population=Population(n=n), cluster_size=cluster_size, seed=0, round_index=0)


def assert_stays_balanced(history: list[bool], cluster_size: int, swaps: int) -> None:
    """Play joins (True) and leaves from 2.5 clusters' worth of processes, checking the sizes after each."""
    clustering = started(5 * cluster_size // 2 + 1, cluster_size)
    for event, joins in enumerate(history):
        given: dict[str, Any] = {"cluster_size": cluster_size, "seed": 1, "event": event, "swaps": swaps}
        n = clustering.n + (1 if joins else -1)
        if n < cluster_size:
            return
        clustering = join(clustering, **given) if joins else leave(clustering, event * 7 % clustering.n, **given)
        sizes, most = (
            clustering.sizes,
            (5 * cluster_size - 1) // 2 if len(clustering.clusters) == 1 else 2 * cluster_size - 1,
        )
        assert sum(sizes) == n
        assert max(sizes) - min(sizes) <= 1, f"sizes {sizes} after event {event}"
        assert cluster_size <= min(sizes) <= max(sizes) <= most, f"sizes {sizes} after event {event}"


@given(history=HISTORIES, cluster_size=st.integers(1, 6), swaps=st.integers(0, 3))
def test_sizes_stay_balanced_through_any_history(history: list[bool], cluster_size: int, swaps: int) -> None:
    assert_stays_balanced(history, cluster_size, swaps)


@given(cluster_size=st.integers(1, 6))
def test_clusters_are_formed_and_dissolved_as_processes_come_and_go(cluster_size: int) -> None:
    assert_stays_balanced([True] * 30, cluster_size, 2)
    assert_stays_balanced([False] * 30, cluster_size, 2)


def formed_and_dissolved(history: list[bool], cluster_size: int, m: int) -> int:
    """How often the number of clusters changes, from m clusters of the least size on."""
    clustering, changes = started(m * cluster_size, cluster_size), 0
    for event, joins in enumerate(history):
        before = len(clustering.clusters)
        given: dict[str, Any] = {"cluster_size": cluster_size, "seed": 1, "event": event}
        clustering = join(clustering, **given) if joins else leave(clustering, 0, **given)
        changes += len(clustering.clusters) != before
    return changes


def assert_no_thrashing(cluster_size: int, m: int) -> None:
    """One that leaves and joins, again and again, at the number of processes at which a cluster is dissolved."""
    changes = formed_and_dissolved([False, True] * 10, cluster_size, m)
    assert changes <= 1, f"{changes} clusters formed and dissolved"


@pytest.mark.parametrize(("cluster_size", "m"), [(2, 3), (4, 3), (5, 6)])
def test_who_comes_and_goes_does_not_form_and_dissolve_a_cluster_each_time(cluster_size: int, m: int) -> None:
    assert_no_thrashing(cluster_size, m)
    # From the dissolution on it takes half a cluster's worth more joins than the leaves before.
    spare = cluster_size // 2
    assert formed_and_dissolved([False, *[True] * spare], cluster_size, m) == 1
    assert formed_and_dissolved([False, *[True] * (spare + 1)], cluster_size, m) == 2


def test_clusters_that_are_formed_as_soon_as_there_are_enough_are_seen() -> None:
    at_once = mock.patch.object(churn, "too_many", lambda n, m, cluster_size: n >= (m + 1) * cluster_size)
    with at_once, pytest.raises(AssertionError, match="20 clusters formed and dissolved"):
        assert_no_thrashing(4, 3)


def assert_any_process_can_leave() -> None:
    """Of clusters of 7 and 6: also one of the smaller."""
    for process in range(13):
        sizes = sorted(leave(started(13, 5), process, cluster_size=5, seed=1, event=0).sizes)
        assert sizes == [6, 6], f"sizes {sizes} when {process} has left"


def test_a_cluster_that_is_not_filled_up_after_a_leave_is_seen() -> None:
    assert_any_process_can_leave()
    with mock.patch.object(churn, "_fill"), pytest.raises(AssertionError, match="has left"):
        assert_any_process_can_leave()


def test_the_same_event_gives_the_same_clusters_and_another_one_others() -> None:
    clustering = started(40, 4)
    a, b, c = (join(clustering, cluster_size=4, seed=1, event=event) for event in (3, 3, 4))
    assert a == b != c


@given(seed=st.integers(0, 2**32), swaps=st.integers(0, 4))
def test_a_join_moves_at_most_one_process_and_its_partner_more_than_it_swaps(seed: int, swaps: int) -> None:
    before = started(41, 4)
    after = join(before, cluster_size=4, seed=seed, event=0, swaps=swaps)
    assert moved(before, after) <= 1 + 2 * swaps


def moved(before: Clustering, after: Clustering) -> int:
    old = {process: j for j, cluster in enumerate(before.clusters) for process in cluster}
    new = {process: j for j, cluster in enumerate(after.clusters) for process in cluster}
    return sum(old[process] != new[process] for process in old)


def assert_a_joining_process_lands_anywhere(cluster_size: int, before: Clustering) -> None:
    """Chi-square over the clusters where the process that joins lands, in proportion to their sizes; 3000 draws.

    At ALPHA / 2 (two sizes are tried); a cluster that is hit half as often again as it should be, of 5, has
    noncentrality 3000 x 0.2 x 0.25 = 150 and is missed with probability below 1e-6.
    """
    n = before.n
    hits = np.zeros(len(join(before, cluster_size=cluster_size, seed=0, event=0).clusters))
    sizes = hits.copy()
    for seed in range(3000):
        after = join(before, cluster_size=cluster_size, seed=seed, event=0)
        hits += [n in cluster for cluster in after.clusters]
        sizes += after.sizes
    assert stats.chisquare(hits, sizes / sizes.sum() * 3000).pvalue > ALPHA / 2, f"it lands {hits.tolist()} times"


@pytest.mark.parametrize("before", [started(20, 4), started(21, 5)], ids=["a free place", "a new cluster"])
def test_the_place_of_a_process_that_joins_is_uniform(before: Clustering) -> None:
    """Five clusters of four; four of five and six, which are enough for a fifth of four with the one that joins."""
    after = join(before, cluster_size=4, seed=0, event=0)
    assert sorted(after.sizes) == ([4, 4, 4, 4, 5] if before.n == 20 else [4, 4, 4, 5, 5])
    assert_a_joining_process_lands_anywhere(4, before)


def test_a_process_that_keeps_the_free_place_is_seen() -> None:
    with mock.patch.object(churn, "_swap"), pytest.raises(AssertionError, match="it lands"):
        assert_a_joining_process_lands_anywhere(4, started(22, 4))


@given(n=st.integers(8, 40), seed=st.integers(0, 2**32), data=st.data())
def test_numbers_above_the_one_that_left_move_down_by_one(n: int, seed: int, data: st.DataObject) -> None:
    process = data.draw(st.integers(0, n - 1))
    before = started(n, 3)
    after = leave(before, process, cluster_size=3, seed=seed, event=0, swaps=0)
    if len(before.clusters) == len(after.clusters):
        renumbered = [{each - (each > process) for each in cluster if each != process} for cluster in before.clusters]
        together = sum(len(old & set(new)) for old, new in zip(renumbered, after.clusters, strict=True))
        assert together >= n - 2  # all stay where they were but the one that fills the gap


@pytest.mark.parametrize(
    ("call", "reason"),
    [
        (lambda: leave(started(9, 3), 9, cluster_size=3, seed=0, event=0), r"process = 9 of n = 9 cannot leave"),
        (lambda: leave(started(3, 3), 0, cluster_size=3, seed=0, event=0), r"while more than 3 are there"),
        (lambda: join(started(9, 3), cluster_size=4, seed=0, event=0), r"not balanced for cluster_size = 4"),
        (
            lambda: join(Clustering(clusters=((0, 1), (2, 3, 4, 5))), cluster_size=2, seed=0, event=0),
            r"differ by at most one",
        ),
        (lambda: join(started(9, 3), cluster_size=3, seed=0, event=0, swaps=-1), r"swaps = -1"),
    ],
)
def test_events_that_make_no_sense_are_refused(call: Any, reason: str) -> None:
    with pytest.raises(CloisterError, match=reason):
        call()
