"""Sizes, clusterings and costs."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.types import Clustering, Cost, Cover, Hierarchy, balanced_sizes

COSTS = st.builds(
    Cost,
    payload_bytes=st.integers(0, 10**9),
    wire_bytes=st.integers(0, 10**9),
    messages=st.integers(0, 10**6),
    rounds=st.integers(0, 100),
    comparisons=st.integers(0, 10**9),
)


@st.composite
def fitting_sizes(draw: st.DrawFn) -> tuple[int, int]:
    n = draw(st.integers(1, 300))
    return n, draw(st.integers(1, n))


def assert_balanced(form: Callable[[int, int], tuple[int, ...]], n: int, cluster_size: int) -> None:
    sizes = form(n, cluster_size)
    assert sum(sizes) == n, "some process is in no cluster, or in two"
    assert set(sizes) <= {n // len(sizes), -(-n // len(sizes))}, "sizes are neither floor nor ceil of the average"
    assert min(sizes) >= cluster_size, "a cluster is smaller than asked for"
    assert len(sizes) == n // cluster_size, "more clusters would have fitted"


class TestBalancedSizes:
    @given(fitting_sizes())
    def test_are_as_many_as_fit_none_smaller_than_asked_for_and_differ_by_at_most_one(
        self, given_sizes: tuple[int, int]
    ) -> None:
        assert_balanced(balanced_sizes, *given_sizes)

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("small last", lambda n, c: tuple(min(c, n - start) for start in range(0, n, c))),
            ("last takes all", lambda n, c: (c,) * (n // c - 1) + (c + n % c,)),
            ("rest is lost", lambda n, c: (c,) * (n // c)),
            ("one cluster", lambda n, c: (n,)),
        ],
    )
    def test_sizes_that_are_formed_wrongly_are_seen(self, bug: str, planted: Callable) -> None:
        with pytest.raises(AssertionError):
            assert_balanced(planted, 11, 3)

    @pytest.mark.parametrize(("n", "cluster_size"), [(3, 4), (1, 2), (0, 1), (3, 0), (3, -1), (3, 1.0), (True, 1)])
    def test_a_cluster_size_that_does_not_fit_is_refused(self, n: int, cluster_size: int) -> None:
        with pytest.raises(CloisterError, match="allowed"):
            balanced_sizes(n, cluster_size)

    def test_the_refusal_names_both_numbers_and_the_way_out(self) -> None:
        with pytest.raises(CloisterError, match=r"^cluster_size = 5 does not fit n = 3 processes; allowed: 1 to 3$"):
            balanced_sizes(3, 5)


class TestClustering:
    @given(order=st.permutations(range(9)), cuts=st.sets(st.integers(1, 8)))
    def test_every_process_is_in_exactly_one_cluster_and_no_cluster_is_empty(
        self, order: list[int], cuts: set[int]
    ) -> None:
        ends = [*sorted(cuts), 9]
        clusters = tuple(tuple(order[a:b]) for a, b in zip([0, *ends[:-1]], ends, strict=True))
        clustering = Clustering(clusters=clusters)
        assert clustering.n == 9
        assert clustering.sizes == tuple(len(cluster) for cluster in clusters)

    @pytest.mark.parametrize(
        ("mistake", "clusters"),
        [
            ("twice in one", ((0, 0), (1,))),
            ("in two clusters", ((0, 1), (1, 2))),
            ("left out", ((0, 1), (3,))),
            ("starts at one", ((1, 2), (3,))),
            ("negative", ((-1, 0), (1,))),
            ("empty cluster", ((0, 1), ())),
        ],
    )
    def test_what_is_no_partition_is_refused(self, mistake: str, clusters: tuple[tuple[int, ...], ...]) -> None:
        with pytest.raises(CloisterError, match=r"not a partition of 0\.\.n-1 into non-empty clusters"):
            Clustering(clusters=clusters)

    def test_counts_the_faulty_members_of_each_cluster(self) -> None:
        clustering = Clustering(clusters=((3, 0), (1, 4, 2)))
        faulty = np.array([True, False, True, True, False])
        assert clustering.faulty_counts(faulty).tolist() == [2, 1]
        assert clustering.faulty_counts(~faulty).tolist() == [0, 2]

    def test_cannot_be_changed_after_its_check(self) -> None:
        with pytest.raises(AttributeError):
            Clustering(clusters=((0,),)).clusters = ()


class TestCover:
    def test_the_membership_says_which_sums_a_process_is_in(self) -> None:
        cover = Cover(partitions=(Clustering(clusters=((0, 1), (2,))), Clustering(clusters=((2, 0), (1,)))))
        assert cover.membership.tolist() == [[1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0]]

    @pytest.mark.parametrize("partitions", [(), (Clustering(clusters=((0, 1),)), Clustering(clusters=((0,),)))])
    def test_partitions_of_other_processes_are_no_cover(self, partitions: tuple[Clustering, ...]) -> None:
        with pytest.raises(CloisterError, match="are no cover; allowed"):
            Cover(partitions=partitions)


class TestHierarchy:
    def test_the_processes_of_a_group_are_those_of_its_clusters(self) -> None:
        leaves = Clustering(clusters=((0, 5), (1, 4), (2, 3)))
        tree = Hierarchy(levels=(leaves, Clustering(clusters=((2, 0), (1,))), Clustering(clusters=((1, 0),))))
        assert tree.leaves == tree.processes(0) == leaves
        assert tree.processes(1).clusters == ((2, 3, 0, 5), (1, 4))
        assert tree.processes(2).clusters == ((1, 4, 2, 3, 0, 5),)

    def test_a_level_that_groups_other_clusters_than_there_are_is_refused(self) -> None:
        leaves = Clustering(clusters=((0, 1), (2, 3)))
        with pytest.raises(CloisterError, match="a level groups 3 clusters of 2"):
            Hierarchy(levels=(leaves, Clustering(clusters=((0, 1, 2),))))


class TestCost:
    @given(a=COSTS, b=COSTS)
    def test_at_the_same_time_adds_everything_but_the_rounds_of_which_the_longer_chain_counts(
        self, a: Cost, b: Cost
    ) -> None:
        both = a.beside(b)
        assert (both.payload_bytes, both.wire_bytes, both.messages, both.rounds, both.comparisons) == (
            a.payload_bytes + b.payload_bytes,
            a.wire_bytes + b.wire_bytes,
            a.messages + b.messages,
            max(a.rounds, b.rounds),
            a.comparisons + b.comparisons,
        )

    @given(a=COSTS, b=COSTS)
    def test_one_after_the_other_adds_everything(self, a: Cost, b: Cost) -> None:
        one_by_one = a.then(b)
        assert one_by_one == Cost(
            payload_bytes=a.payload_bytes + b.payload_bytes,
            wire_bytes=a.wire_bytes + b.wire_bytes,
            messages=a.messages + b.messages,
            rounds=a.rounds + b.rounds,
            comparisons=a.comparisons + b.comparisons,
        )

    @given(a=COSTS, b=COSTS, c=COSTS)
    def test_does_not_depend_on_how_three_parts_are_grouped(self, a: Cost, b: Cost, c: Cost) -> None:
        assert a.beside(b).beside(c) == a.beside(b.beside(c))
        assert a.then(b).then(c) == a.then(b.then(c))
        assert a.beside(b) == b.beside(a)
