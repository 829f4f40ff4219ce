"""A link among some of the parties: their numbers, what is metered, and who is lost."""

import pytest
import torch

from protocols.faults import Combined, Delay, FaultyLink, Tamper
from protocols.in_process_link import InProcessLink, in_process_links
from protocols.network import BOARD, HEADER_BYTES, PartyCrashedError
from protocols.sublink import SubLink
from tests.tcp import in_parallel

RANKS = (3, 0, 4)


def exchange_ranks(sub: SubLink) -> list[int]:
    """Send this party's number to all others of the cluster; return what came from each."""
    peers = [number for number in range(len(RANKS)) if number != sub.rank]
    received = {peer: torch.zeros(1, dtype=torch.int64) for peer in peers}
    sub.exchange(dict.fromkeys(peers, torch.tensor([sub.rank])), received)
    return [int(received[peer]) for peer in peers]


def all_links() -> list[InProcessLink]:
    links = in_process_links(5)
    links[0].run({link.rank for link in links})
    return links


def test_the_kth_of_the_ranks_is_number_k_and_hears_the_others() -> None:
    links = all_links()
    subs = [SubLink(links[rank], RANKS) for rank in RANKS]
    assert [sub.rank for sub in subs] == [0, 1, 2]
    heard = in_parallel(3, lambda number: exchange_ranks(subs[number]))
    assert heard == [[1, 2], [0, 2], [0, 1]]


def test_the_board_stays_the_board() -> None:
    links = all_links()
    board, member = SubLink(links[-1], RANKS), SubLink(links[3], RANKS)
    assert board.rank == BOARD
    into = torch.zeros(2, dtype=torch.int64)

    def play(place: int) -> None:
        if place:
            member.exchange({BOARD: torch.tensor([7, 8])}, {})
        else:
            board.exchange({}, {0: into})

    in_parallel(2, play)
    assert into.tolist() == [7, 8]
    assert member.meter is links[3].meter
    assert links[3].meter.traffic().upload.wire_bytes == 16 + HEADER_BYTES


def test_who_is_lost_is_called_by_its_number() -> None:
    links = all_links()
    links[4].close()
    sub = SubLink(links[3], RANKS)
    lost = sub.try_exchange({}, {2: torch.zeros(1, dtype=torch.int64)})
    assert list(lost) == [2]
    assert isinstance(lost[2], PartyCrashedError)


def test_what_is_sent_is_delayed_changed_and_metered_as_on_the_link_itself() -> None:
    """The fault is one of the link: 3 tells 0 and 4, its numbers 1 and 2, other words after a pause."""
    fault = Combined(faults=(Delay(step=0, seconds=2.0), Tamper(step=0, delta=5, to=4)))
    links = in_process_links(5, deadline_s=60.0)
    links[0].run({3, 0, 4})
    faulty = FaultyLink(links[3], fault)
    faulty.begin()
    subs = [SubLink(link, RANKS) for link in (faulty, links[0], links[4])]

    def play(number: int) -> list[int]:
        heard = exchange_ranks(subs[number])
        links[RANKS[number]].finish()
        return heard

    assert in_parallel(3, play) == [[1, 2], [0, 2], [5, 1]]
    assert [link._now for link in (links[0], links[4])] == [2.0, 2.0]
    assert [sub.meter.traffic().mpc.messages for sub in subs] == [2, 2, 2]


def test_a_party_that_is_not_among_them_has_no_number() -> None:
    with pytest.raises(KeyError):
        _ = SubLink(all_links()[1], RANKS).rank
