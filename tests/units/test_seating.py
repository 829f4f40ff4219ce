"""Who runs in one batch with whom: clusters in which all behave, those in which somebody does not, and swaps."""

import pytest

from bench.seating import Sitting, at_work, seated
from protocols.faults import Combined, Crash, Fault, Mute, WrongCluster
from protocols.types import Clustering

SIX = Clustering(clusters=((7, 9, 1), (4, 0, 10), (5, 11, 3, 12), (2, 6, 8), (13, 14, 15), (16, 17, 18, 19)))
SWAP = WrongCluster(step=0, clusters=2)


def by_numbers(sittings: list[Sitting]) -> dict[tuple[int, ...], tuple[tuple[tuple[int, ...], ...], dict[int, Fault]]]:
    return {sitting.numbers: (sitting.seats, dict(sitting.faults)) for sitting in sittings}


def test_clusters_of_one_size_are_one_batch_in_the_order_of_their_numbers() -> None:
    assert [sitting.numbers for sitting in seated(SIX, [], {})] == [(0, 1, 3, 4), (2, 5)]
    assert all(not sitting.misbehaves and sitting.attempt == 0 for sitting in seated(SIX, [], {}))


def test_a_cluster_with_faulty_members_sits_alone_with_their_faults_at_their_places() -> None:
    found = by_numbers(seated(SIX, [0, 6], {9: Mute(step=1), 6: Mute(step=1)}))
    assert found[0,] == (((7, 9, 1),), {1: Mute(step=1)})
    assert found[1,] == (((4, 0, 10),), {1: Crash(step=0)})
    assert found[3,] == (((2, 6, 8),), {1: Crash(step=0)})  # who is gone misbehaves no more
    assert set(found) == {(0,), (1,), (3,), (4,), (2, 5)}


def test_another_attempt_is_each_cluster_alone() -> None:
    (sitting,) = [sitting for sitting in seated(SIX, [], {}) if 2 in sitting.numbers]
    assert sitting.alone == [
        Sitting(numbers=(2,), seats=((5, 11, 3, 12),), attempt=1),
        Sitting(numbers=(5,), seats=((16, 17, 18, 19),), attempt=1),
    ]


def test_members_who_swap_messages_share_a_place() -> None:
    """Those of the second cluster move to the places of the first one's; the others fill up in their order."""
    found = by_numbers(seated(SIX, [], {9: SWAP, 2: SWAP}))
    assert found[0, 3] == (((7, 9, 1), (6, 2, 8)), {1: SWAP})
    assert set(found) == {(0, 3), (1, 4), (2, 5)}


def test_more_swap_only_as_many_as_both_clusters_have() -> None:
    misconduct = {7: SWAP, 1: SWAP, 2: SWAP, 6: SWAP, 8: SWAP}
    assert by_numbers(seated(SIX, [], misconduct))[0, 3] == (((7, 9, 1), (2, 8, 6)), {0: SWAP, 2: SWAP})
    assert at_work(SIX, [], misconduct).keys() == {7, 1, 2, 6}


@pytest.mark.parametrize(
    ("gone", "misconduct"),
    [
        ([], {9: SWAP}),  # nobody else
        ([], {9: SWAP, 1: SWAP}),  # in one cluster
        ([], {9: SWAP, 11: SWAP}),  # of another size
        ([], {9: SWAP, 2: WrongCluster(step=1, clusters=2)}),  # in another exchange
        ([], {9: SWAP, 2: SWAP, 8: Mute(step=0)}),  # somebody misbehaves in another way
        ([], {9: SWAP, 2: Combined(faults=(SWAP, Mute(step=0)))}),
        ([8], {9: SWAP, 2: SWAP}),  # somebody is gone
    ],
)
def test_a_member_without_a_counterpart_follows_the_protocol(gone: list[int], misconduct: dict[int, Fault]) -> None:
    """Nobody's message is cut in halves: a batch of one cluster has no part of another one."""
    sittings = seated(SIX, gone, misconduct)
    assert all(SWAP not in sitting.faults.values() for sitting in sittings)
    assert not {9, 2} & {process for process, fault in at_work(SIX, gone, misconduct).items() if fault == SWAP}
    numbers = [number for sitting in sittings for number in sitting.numbers]
    assert sorted(numbers) == list(range(6))
