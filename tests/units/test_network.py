"""Links: what arrives, what is counted, and what is said when a peer fails; in process and over TCP alike."""

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols import in_process_link, tcp_link, tcp_transfer
from protocols.in_process_link import InProcessLink, in_process_links
from protocols.network import (
    BOARD,
    HEADER_BYTES,
    CheatingDetectedError,
    Header,
    Meter,
    NetworkError,
    OutOfStepError,
    PartyCrashedError,
    PartyFailedError,
    PartyTimeoutError,
    TooFewPartiesError,
)
from protocols.parties import total
from protocols.tcp_link import TcpLink
from protocols.types import Cost, Traffic
from tests.links import AnyLink, bare, read, receive, rounds, run, send, swap, words
from tests.tcp import in_parallel, tcp_links

Connect = Callable[..., list[Any]]


KINDS: dict[str, Callable[..., list[Any]]] = {"in process": in_process_links, "tcp": tcp_links}


HOUR_S = 3600.0


@pytest.fixture(params=KINDS, scope="module")
def three(request: pytest.FixtureRequest) -> Iterator[list[AnyLink]]:
    """Three connected parties that no test breaks."""
    links = KINDS[request.param](3)
    yield links[:3]
    for link in links:
        link.close()


@pytest.fixture(params=KINDS)
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """A function that connects so many parties with such a deadline, of which tests may break some; board last."""
    made: list[AnyLink] = []

    def connected(parties: int, deadline_s: float = 60.0, *, board: bool = False) -> list[AnyLink]:
        links = KINDS[request.param](parties, deadline_s=deadline_s)
        made.extend(links)
        return links if board else links[:parties]

    yield connected
    for link in made:
        link.close()


class TestExchange:
    @given(counts=st.lists(st.lists(st.integers(0, 50), min_size=9, max_size=9), min_size=1, max_size=4))
    def test_fills_each_incoming_tensor_with_what_its_peer_sent(
        self, three: list[AnyLink], counts: list[list[int]]
    ) -> None:
        """Of several exchanges in a row, each with any number of words from each party to each other one."""

        def work(link: AnyLink) -> None:
            others = [peer for peer in range(3) if peer != link.rank]
            for step, count in enumerate(counts):
                out = {peer: torch.arange(count[3 * link.rank + peer]) + 1000 * link.rank + step for peer in others}
                into = {peer: torch.full((count[3 * peer + link.rank],), -1) for peer in others}
                link.exchange(out, into)
                for peer, got in into.items():
                    assert torch.equal(got, torch.arange(len(got)) + 1000 * peer + step)

        run(three, work)

    def test_keeps_the_order_of_messages(self, connect: Connect) -> None:
        links = connect(2)
        for k in range(5):
            send(links[0], 1, k, 10 * k)
        assert [receive(links[1], 0, 2) for _ in range(5)] == [[k, 10 * k] for k in range(5)]

    @pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.float64, torch.int32])
    def test_carries_any_type_and_shape_and_strides(self, connect: Connect, dtype: torch.dtype) -> None:
        links = connect(2)
        sent = torch.arange(24).reshape(2, 3, 4).to(dtype).transpose(0, 2)
        assert not sent.is_contiguous()
        got = torch.zeros(4, 3, 2, dtype=dtype)
        links[0].exchange({1: sent}, {})
        links[1].exchange({}, {0: got})
        assert torch.equal(got, sent)

    def test_carries_one_word_whatever_the_stride_that_its_tensor_remembers(self, connect: Connect) -> None:
        links = connect(2)
        column, into = torch.arange(10).view(2, 5)[:, 3], torch.zeros(2, 5, dtype=torch.int64)
        assert column[:1].is_contiguous()
        assert column[:1].stride() == into[:, 3][1:].stride() == (5,)
        links[0].exchange({1: column[:1]}, {})
        links[1].exchange({}, {0: into[:, 3][1:]})
        assert into.tolist() == [[0] * 5, [0, 0, 0, 3, 0]]

    def test_a_tensor_that_does_not_lie_in_one_piece_is_not_filled(self, connect: Connect) -> None:
        links = connect(2)
        send(links[0], 1, 7, 8)
        with pytest.raises(TypeError, match="contiguous"):
            links[1].exchange({}, {0: torch.zeros(2, 5, dtype=torch.int64)[:, 3]})

    def test_carries_a_message_without_words(self, connect: Connect) -> None:
        links = connect(2)
        run(links, lambda link: swap(link, 2, count=0))
        sent = links[0].meter.traffic().mpc
        assert sent == Cost(payload_bytes=0, wire_bytes=HEADER_BYTES, messages=1, rounds=1)

    def test_of_nothing_with_nobody_returns_at_once(self, connect: Connect) -> None:
        link = connect(2)[0]
        link.exchange({}, {})
        assert link.try_exchange({}, {}) == {}
        assert link.meter.traffic() == Traffic.none()

    def test_messages_leave_before_any_is_awaited_so_that_parties_which_exchange_never_deadlock(
        self, connect: Connect
    ) -> None:
        """5 MB from each to each other through socket buffers of 64 kB: nobody may wait for a send to end."""
        links = connect(3)
        narrow(links)
        run(links, lambda link: swap(link, 3, count=5 * 2**17))
        assert all(link.meter.traffic().mpc.payload_bytes == 2 * 5 * 2**20 for link in links)

    def test_parties_that_wait_first_are_seen(self, connect: Connect) -> None:
        links = connect(2, deadline_s=0.3)
        original = type(links[0]).exchange

        def planted(self: AnyLink, outgoing: dict, incoming: dict) -> None:
            original(self, {}, incoming)
            original(self, outgoing, {})

        with mock.patch.object(type(links[0]), "exchange", planted), pytest.raises(PartyTimeoutError):
            run(links, lambda link: swap(link, 2))

    def test_parties_that_send_all_before_they_receive_are_seen(self) -> None:
        made = tcp_links(2)
        links = made[:2]
        narrow(links)
        original = TcpLink.exchange

        def planted(self: TcpLink, outgoing: dict, incoming: dict) -> None:
            self._deadline_s = 0.3
            original(self, outgoing, {})
            original(self, {}, incoming)

        try:
            with mock.patch.object(TcpLink, "exchange", planted), pytest.raises(PartyTimeoutError, match="no progress"):
                run(links, lambda link: swap(link, 2, count=5 * 2**17))
        finally:
            for link in made:
                link.close()


def narrow(links: list[AnyLink]) -> None:
    """Keep the kernel from swallowing whole messages."""
    for link in links:
        for peer in link.sockets.values() if isinstance(link, TcpLink) else ():
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)


def hop(links: list[AnyLink], sender: int, receiver: int) -> None:
    """One message; a negative number is the board's, which is also the last place of the list."""
    send(links[sender], receiver, sender)
    assert receive(links[receiver], sender, 1) == [sender]


def assert_hops_are_longest_chains(links: list[AnyLink]) -> None:
    assert [rounds(link) for link in links] == [(0, 0)] * 4, "hops before the first message"
    for k in range(3):
        run(links[:3], lambda link: swap(link, 3))
        assert [rounds(link) for link in links] == [(k + 1, 0)] * 3 + [(0, 0)], "messages at one time are one round"
    for k in range(4):  # 0 -> 1 -> 2 -> 0 -> 1
        hop(links, k % 3, (k + 1) % 3)
        assert rounds(links[(k + 1) % 3]) == (3 + k + 1, 0), "a chain of messages has as many rounds as hops"
    assert [rounds(link) for link in links[:3]] == [(6, 0), (7, 0), (5, 0)]
    hop(links, 2, 1)
    assert rounds(links[1]) == (7, 0), "a message from a shorter chain adds no round"
    hop(links, 2, BOARD)
    assert rounds(links[BOARD]) == (5, 1), "a hop to the board is no hop between members"
    hop(links, BOARD, 0)
    assert rounds(links[0]) == (6, 2), "a hop from the board is one more of the board's"
    hop(links, 0, 1)
    assert rounds(links[1]) == (7, 2)
    hop(links, 1, BOARD)
    assert rounds(links[BOARD]) == (7, 3)


class TestHops:
    def test_the_chains_behind_a_party_become_the_longest_that_it_received_members_and_board_apart(
        self, connect: Connect
    ) -> None:
        assert_hops_are_longest_chains(connect(3, board=True))

    @pytest.mark.parametrize(
        ("bug", "method", "planted"),
        [
            (
                "each message received is a round",
                "received",
                lambda real, meter, header: real(meter, header._replace(member_hops=header.member_hops + 1)),
            ),
            (
                "sending is a round",
                "header",
                lambda real, meter, *message: (header := real(meter, *message), meter.received(header))[0],
            ),
            ("the last one counts", "received", lambda real, meter, header: (meter.reset(), real(meter, header))),
            (
                "never more than one",
                "received",
                lambda real, meter, header: real(meter, header._replace(member_hops=min(header.member_hops, 1))),
            ),
            (
                "the board is a member",
                "header",
                lambda real, meter, rank, peer, *rest: real(meter, 0, 1, *rest),
            ),
            (
                "the board's chain is forgotten",
                "received",
                lambda real, meter, header: real(meter, header._replace(board_hops=min(header.board_hops, 1))),
            ),
        ],
    )
    def test_another_count_of_rounds_is_seen(self, connect: Connect, bug: str, method: str, planted: Callable) -> None:
        original = getattr(Meter, method)

        def wrong(*arguments: Any) -> Any:
            return planted(original, *arguments)

        links = connect(3, board=True)
        with mock.patch.object(Meter, method, wrong), pytest.raises(AssertionError):
            assert_hops_are_longest_chains(links)


class TestFailingPeers:
    def test_a_message_of_another_length_is_out_of_step(self, connect: Connect) -> None:
        links = connect(2)
        send(links[0], 1, 1, 2, 3)
        with pytest.raises(OutOfStepError, match=r"party 0 sent message 0 of 24 bytes; expected message 0 of 16 bytes"):
            receive(links[1], 0, 2)

    def test_a_message_without_words_where_some_are_expected_is_out_of_step(self, connect: Connect) -> None:
        links = connect(2)
        send(links[0], 1)
        with pytest.raises(OutOfStepError, match=r"message 0 of 0 bytes; expected message 0 of 8 bytes"):
            receive(links[1], 0, 1)

    def test_a_message_that_was_lost_or_doubled_is_out_of_step(self, connect: Connect) -> None:
        links = connect(3)
        links[0]._sent[1] = 1
        links[0]._sent[2] = 0
        for peer in (1, 2):
            send(links[0], peer, 7)
        with pytest.raises(OutOfStepError, match=r"party 0 sent message 1 of 8 bytes; expected message 0 of 8 bytes"):
            receive(links[1], 0, 1)
        receive(links[2], 0, 1)
        links[0]._sent[2] = 0
        send(links[0], 2, 7)
        with pytest.raises(OutOfStepError, match=r"party 0 sent message 0 of 8 bytes; expected message 1 of 8 bytes"):
            receive(links[2], 0, 1)

    def test_without_the_check_of_headers_a_wrong_message_is_taken_for_the_right_one(self, connect: Connect) -> None:
        links = connect(2)
        links[0]._sent[1] = 5
        send(links[0], 1, 7)
        with mock.patch.object(in_process_link, "check_header"), mock.patch.object(tcp_transfer, "check_header"):
            assert receive(links[1], 0, 1) == [7]

    def test_a_peer_that_closed_its_connection_has_crashed(self, connect: Connect) -> None:
        links = connect(2)
        links[0].close()
        with pytest.raises(PartyCrashedError, match="party 0"):
            receive(links[1], 0, 1)

    def test_a_peer_that_closed_after_its_last_message_is_heard_first(self, connect: Connect) -> None:
        links = connect(2)
        send(links[0], 1, 7)
        links[0].close()
        assert receive(links[1], 0, 1) == [7]
        with pytest.raises(PartyCrashedError, match="party 0"):
            receive(links[1], 0, 1)

    def test_what_is_sent_to_a_peer_that_is_gone_counts_as_sent_and_tells_nothing(self, connect: Connect) -> None:
        links = connect(3)
        links[1].close()
        for number in (1, 2):
            send(links[0], 1, 7)
            send(links[0], 2, 8)
            assert receive(links[2], 0, 1) == [8]
            assert links[0].meter.traffic().mpc.messages == 2 * number
        with pytest.raises(PartyCrashedError, match="party 1"):
            receive(links[0], 1, 1)

    def test_a_peer_that_stays_silent_past_the_deadline_has_timed_out(self, connect: Connect) -> None:
        links = connect(3, deadline_s=0.05)
        send(links[0], 1, 7)
        with pytest.raises(PartyTimeoutError, match=r"2.* 0\.05 s"):
            links[1].exchange({}, {0: words(0), 2: words(0)})

    def test_every_failure_of_a_peer_is_a_network_error(self) -> None:
        for kind in (PartyCrashedError, PartyTimeoutError, OutOfStepError, PartyFailedError, TooFewPartiesError):
            assert issubclass(kind, NetworkError)
        assert issubclass(CheatingDetectedError, NetworkError)
        assert CheatingDetectedError("somebody cheated").suspects == frozenset()
        assert CheatingDetectedError("2 cheated", suspects=frozenset({2})).suspects == {2}

    def test_a_lie_about_the_hops_behind_a_message_keeps_nobody_from_sending(self, connect: Connect) -> None:
        links = connect(3)
        with mock.patch.object(Meter, "header", return_value=Header(0, 2**16 - 1, 2**16 - 1, 8)):
            send(links[0], 1, 7)
        assert receive(links[1], 0, 1) == [7]
        send(links[1], 2, 8)
        assert receive(links[2], 1, 1) == [8]
        assert rounds(links[2]) == (2**16 - 1, 2**16 - 1)


def play(links: list[AnyLink], *works: Callable[[AnyLink], Any]) -> list[Any]:
    """Run one work a party side by side, in virtual time where the links have it; the others do nothing."""
    for link in links:
        if isinstance(link, InProcessLink):
            link.run(set(range(len(works))))

    def alone(rank: int) -> Any:
        try:
            return works[rank](links[rank])
        finally:
            if isinstance(links[rank], InProcessLink):
                links[rank].finish()

    return in_parallel(len(works), alone)


def assert_names_the_lost(links: list[AnyLink]) -> None:
    """Of the peers of 0, the first crashes, the second is out of step, the third is silent; the fourth is well."""
    links[1].close()
    send(links[2], 0, 1, 2, 3)
    send(links[4], 0, 10, 11)
    into = {peer: words(-1, -1) for peer in (1, 2, 3, 4)}
    lost = links[0].try_exchange({4: words(5), 3: words(6)}, into)
    kinds = {1: PartyCrashedError, 2: OutOfStepError, 3: PartyTimeoutError}
    assert {peer: type(error) for peer, error in lost.items()} == kinds
    assert all(str(peer) in str(error) for peer, error in lost.items()), "an error does not name its party"
    assert into[4].tolist() == [10, 11]
    assert receive(links[4], 0, 1) == [5]
    assert lost == links[0].lost


def assert_stays_lost(links: list[AnyLink]) -> None:
    """Party 1 stays silent past the deadline of 0, and then sends what was due; party 2 is in time."""
    zero, one, two = links
    for k in (0, 1):
        send(two, 0, 20 + k)
    into = {1: words(-1), 2: words(-1)}
    first = zero.try_exchange({1: words(1), 2: words(2)}, into)
    assert first.keys() == {1}
    assert into[2].tolist() == [20]
    send(one, 0, 10)
    zero._deadline_s = HOUR_S  # whoever waits for the lost peer again makes the test never end
    sent = zero.meter.traffic().mpc.messages
    second = zero.try_exchange({1: words(3), 2: words(4)}, into)
    assert dict(second) == dict(first), "a peer that was lost is back, or lost for another reason"
    assert into[2].tolist() == [21]
    assert into[1].tolist() == [-1], "a tensor was filled from a lost peer"
    assert zero.meter.traffic().mpc.messages == sent + 1, "what is not sent to a lost peer is counted"
    assert dict(zero.try_exchange({1: words(5)}, {})) == dict(first)
    assert [receive(two, 0, 1) for _ in range(2)] == [[2], [4]]
    assert receive(one, 0, 1) == [1]
    zero.close()
    with pytest.raises(PartyCrashedError):  # nothing but the first message was on its way
        receive(one, 0, 1)


def assert_waits_for_one_that_waited(links: list[AnyLink], *, skip: int | None) -> None:
    """Party 0 waits two deadlines for 2 and 3, which are silent, before it sends to 1.

    Party 1 has been in step with it (two exchanges with 4, which is quick), or has skipped those exchanges.
    """

    def zero(link: AnyLink) -> list[int]:
        lost = [*link.try_exchange({}, {2: words(0)}), *link.try_exchange({}, {3: words(0)})]
        link.try_exchange({1: words(7)}, {})
        return lost

    def one(link: AnyLink) -> tuple[list[int], list[int]]:
        if skip is None:
            for _ in range(2):
                assert not link.try_exchange({}, {4: words(0)})
        else:
            link.skip(skip)
        into = words(-1)
        return list(link.try_exchange({}, {0: into})), into.tolist()

    def four(link: AnyLink) -> None:
        for _ in range(2):
            link.try_exchange({1: words(4)}, {})

    waited, got, *_ = play(links, zero, one, lambda link: None, lambda link: None, four)
    assert waited == [2, 3]
    assert got == ([], [7]), "a party that had to wait for lost ones was taken for lost itself"


def give_up(link: AnyLink, outgoing: dict, incoming: dict) -> dict[int, NetworkError]:
    try:
        link.exchange(outgoing, incoming)
    except NetworkError as error:
        return {min(incoming): error}
    return {}


def assert_begins_anew(links: list[TcpLink]) -> None:
    """A party sends only when the other has stopped waiting for it, or after a long time if that does not happen."""
    one, other, *_ = links
    one.skip(1000)
    one.begin()
    stopped = threading.Event()

    def late() -> None:
        stopped.wait(2.0)
        send(other, one.rank, 7)

    thread = threading.Thread(target=late)
    thread.start()
    lost = one.try_exchange({}, {other.rank: words(0)})
    stopped.set()
    thread.join()
    assert lost.keys() == {other.rank}


class TestGoingOnWithoutLostPeers:
    def test_lost_peers_are_named_with_the_reason_and_the_tensors_of_the_others_are_filled(
        self, connect: Connect
    ) -> None:
        assert_names_the_lost(connect(5, deadline_s=0.3))

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("the first loss ends the exchange", give_up),
            ("no loss is told", lambda link, outgoing, incoming: give_up(link, outgoing, incoming) and {}),
        ],
    )
    def test_another_account_of_losses_is_seen(self, connect: Connect, bug: str, planted: Callable) -> None:
        links = connect(5, deadline_s=0.3)
        with mock.patch.object(type(links[0]), "try_exchange", planted), pytest.raises(AssertionError):
            assert_names_the_lost(links)

    def test_a_lost_peer_stays_lost_at_no_further_wait_and_nothing_more_is_sent_to_it(self, connect: Connect) -> None:
        assert_stays_lost(connect(3, deadline_s=0.2))

    def test_a_lost_peer_that_is_asked_again_is_seen(self, connect: Connect) -> None:
        links = connect(3, deadline_s=0.2)
        original = type(links[0]).try_exchange

        def planted(link: AnyLink, outgoing: dict, incoming: dict) -> Any:
            link._lost.clear()
            return original(link, outgoing, incoming)

        with mock.patch.object(type(links[0]), "try_exchange", planted), pytest.raises(AssertionError):
            assert_stays_lost(links)

    def test_an_exchange_with_a_lost_peer_fails_with_the_reason_of_its_loss(self, connect: Connect) -> None:
        links = connect(3, deadline_s=0.05)
        (error,) = links[0].try_exchange({}, {1: words(0)}).values()
        links[0]._deadline_s = HOUR_S
        for outgoing, incoming in (({1: words(1)}, {}), ({}, {1: words(0)}), ({2: words(1)}, {1: words(0)})):
            with pytest.raises(PartyTimeoutError) as caught:
                links[0].exchange(outgoing, incoming)
            assert caught.value is error
        send(links[2], 0, 7)
        assert receive(links[0], 2, 1) == [7]

    @pytest.mark.parametrize("skip", [None, 2])
    def test_parties_in_step_wait_long_enough_for_one_that_waited_for_lost_peers(
        self, connect: Connect, skip: int | None
    ) -> None:
        assert_waits_for_one_that_waited(connect(5, deadline_s=0.6), skip=skip)

    def test_a_party_that_does_not_skip_the_exchanges_of_others_is_seen(self, connect: Connect) -> None:
        with pytest.raises(AssertionError, match="taken for lost"):
            assert_waits_for_one_that_waited(connect(5, deadline_s=0.3), skip=0)

    def test_a_deadline_that_starts_with_each_exchange_is_seen(self, connect: Connect) -> None:
        links = connect(5, deadline_s=0.3)
        original = type(links[0]).try_exchange

        def planted(link: AnyLink, outgoing: dict, incoming: dict) -> Any:
            link._due = 0.0
            return original(link, outgoing, incoming)

        with (
            mock.patch.object(type(links[0]), "try_exchange", planted),
            pytest.raises(AssertionError, match="taken for lost"),
        ):
            assert_waits_for_one_that_waited(links, skip=None)

    def test_a_new_batch_has_its_deadlines_from_now_on(self) -> None:
        """Over TCP; the virtual time of links in process has a test of its own."""
        with contextlib.ExitStack() as stack:
            links = tcp_links(2, deadline_s=0.05)
            for link in links:
                stack.callback(link.close)
            assert_begins_anew(links)
            with mock.patch.object(TcpLink, "begin"), pytest.raises(AssertionError):
                assert_begins_anew(links[1:])

    def test_a_peer_that_is_lost_within_a_message_takes_no_other_one_with_it(self) -> None:
        with contextlib.ExitStack() as stack:
            link, peers = bare(stack, deadline_s=0.3)
            peers[0].sendall(struct.pack("<IHHQq", 0, 1, 0, 16, 5))
            peers[2].sendall(struct.pack("<IHHQqq", 0, 1, 0, 16, 5, 6))
            into = {0: words(0, 0), 2: words(0, 0)}
            lost = link.try_exchange({}, into)
            assert {peer: type(error) for peer, error in lost.items()} == {0: PartyTimeoutError}
            assert into[2].tolist() == [5, 6]
            peers[0].sendall(struct.pack("<q", 6))
            peers[2].sendall(struct.pack("<IHHQqq", 1, 2, 0, 16, 7, 8))
            assert link.try_exchange({}, into).keys() == {0}
            assert into[2].tolist() == [7, 8]

    def test_a_peer_that_takes_no_more_of_a_message_is_lost_at_the_deadline(self) -> None:
        with contextlib.ExitStack() as stack:
            link, peers = bare(stack, deadline_s=0.3)
            much = torch.zeros(2**22, dtype=torch.int64)  # more than the kernel keeps for a peer that does not read
            lost = link.try_exchange({0: much, 2: words(5)}, {})
            assert {peer: type(error) for peer, error in lost.items()} == {0: PartyTimeoutError}
            assert read(peers[2], HEADER_BYTES + 8)[HEADER_BYTES:] == struct.pack("<q", 5)

    def test_a_pause_lets_time_pass(self) -> None:
        with mock.patch.object(tcp_link.time, "sleep") as slept:
            tcp_link.TcpLink(0, {}, deadline_s=1.0).pause(1.5)
        slept.assert_called_once_with(1.5)


def assert_counts_what_leaves(links: list[AnyLink]) -> None:
    for link in links:
        link.meter.reset()
    send(links[0], 1, 1, 2, 3)
    send(links[0], 1)
    send(links[0], 2, 4)
    receive(links[1], 0, 3)
    receive(links[1], 0, 0)
    receive(links[2], 0, 1)
    sent = Cost(payload_bytes=32, wire_bytes=80, messages=3, rounds=0)
    assert links[0].meter.traffic() == Traffic(offline=Cost.none(), mpc=sent, upload=Cost.none())
    for link in links[1:]:
        assert link.meter.traffic() == Traffic(offline=Cost.none(), mpc=Cost.none(rounds=1), upload=Cost.none())


def assert_keeps_kinds_apart(links: list[AnyLink]) -> None:
    """Offline a word to a member and two to the board, then three and four of them, as 1 and the board hear them."""
    zero, one, _, board = links
    with zero.meter.offline(), one.meter.offline(), board.meter.offline():
        zero.exchange({1: words(1), BOARD: words(1, 2)}, {})
        receive(one, 0, 1)
        receive(board, 0, 2)
    zero.exchange({1: words(1, 2, 3), BOARD: words(1, 2, 3, 4)}, {})
    receive(one, 0, 3)
    receive(board, 0, 4)

    def cost(count: int, messages: int, hops: int) -> Cost:
        wire_bytes = 8 * count + HEADER_BYTES * messages
        return Cost(payload_bytes=8 * count, wire_bytes=wire_bytes, messages=messages, rounds=hops)

    assert zero.meter.traffic() == Traffic(offline=cost(3, 2, 0), mpc=cost(3, 1, 0), upload=cost(4, 1, 0))
    assert one.meter.traffic() == Traffic(offline=cost(0, 0, 1), mpc=cost(0, 0, 1), upload=cost(0, 0, 0))
    assert board.meter.traffic() == Traffic(offline=cost(0, 0, 1), mpc=cost(0, 0, 0), upload=cost(0, 0, 1))
    hop(links, 1, BOARD)
    assert rounds(board) == (1, 1), "two chains of different kinds are not one of both"
    hop(links, BOARD, 0)
    assert rounds(zero) == (1, 2)


class TestMeter:
    def test_counts_payload_and_messages_where_they_leave(self, three: list[AnyLink]) -> None:
        assert_counts_what_leaves(three)

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("words instead of bytes", lambda real, meter, rank, peer, k, size: real(meter, rank, peer, k, size // 8)),
            ("bytes are counted twice", lambda real, meter, *message: (real(meter, *message), real(meter, *message))),
            ("the last one only", lambda real, meter, *message: (meter.reset(), real(meter, *message))),
            ("messages without words are free", lambda real, meter, *message: message[3] and real(meter, *message)),
            ("all to the board", lambda real, meter, rank, peer, *rest: real(meter, rank, BOARD, *rest)),
        ],
    )
    def test_another_count_is_seen(self, connect: Connect, bug: str, planted: Callable) -> None:
        original = Meter.header
        links = connect(3)

        def miscount(meter: Meter, rank: int, peer: int, sequence: int, payload_bytes: int) -> Header:
            planted(original, meter, rank, peer, sequence, payload_bytes)
            return Header(sequence, 1, 0, payload_bytes)

        with mock.patch.object(Meter, "header", miscount), pytest.raises(AssertionError):
            assert_counts_what_leaves(links)

    def test_keeps_the_board_and_the_other_parties_apart_whoever_sends(self) -> None:
        for rank, peer in ((0, BOARD), (BOARD, 0)):
            meter = Meter()
            meter.header(rank, peer, 0, 100)
            meter.header(0, 3, 0, 1)
            traffic = meter.traffic()
            assert (traffic.upload.payload_bytes, traffic.upload.messages) == (100, 1)
            assert traffic.upload.wire_bytes == 100 + HEADER_BYTES
            assert (traffic.mpc.payload_bytes, traffic.mpc.messages) == (1, 1)

    def test_keeps_what_is_sent_offline_apart_from_the_rest_and_members_from_the_board(self, connect: Connect) -> None:
        assert_keeps_kinds_apart(connect(3, board=True))

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("everything is online", lambda meter: None),
            ("everything after is offline", lambda meter: setattr(meter, "_is_offline", True)),
        ],
    )
    def test_another_kind_is_seen(self, connect: Connect, bug: str, planted: Callable) -> None:
        @contextlib.contextmanager
        def offline(meter: Meter) -> Iterator[None]:
            planted(meter)
            yield

        links = connect(3, board=True)
        with mock.patch.object(Meter, "offline", offline), pytest.raises(AssertionError):
            assert_keeps_kinds_apart(links)

    def test_an_error_ends_the_offline_part(self) -> None:
        meter = Meter()
        with contextlib.suppress(OutOfStepError), meter.offline():
            raise OutOfStepError("somebody failed")
        meter.header(0, 1, 0, 8)
        assert (meter.traffic().offline.messages, meter.traffic().mpc.messages) == (0, 1)

    @given(
        offline=st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), max_size=8),
        online=st.lists(st.tuples(st.integers(-1, 3), st.integers(-1, 3)), max_size=8),
    )
    def test_rounds_are_the_longest_chains_of_each_kind_whoever_sends_what(
        self, offline: list[tuple[int, int]], online: list[tuple[int, int]]
    ) -> None:
        assert_rounds_equal_the_longest_paths(offline, online)

    def test_offline_hops_that_lengthen_online_chains_are_seen(self) -> None:
        """0 tells 1 something offline, and 1 answers online: one round of each, not two online."""
        original = Meter.offline

        @contextlib.contextmanager
        def planted(meter: Meter) -> Iterator[None]:
            with original(meter):
                yield
            meter._hops[False] = list(meter._hops[True])

        assert_rounds_equal_the_longest_paths([(0, 1)], [(1, 0)])
        with mock.patch.object(Meter, "offline", planted), pytest.raises(AssertionError):
            assert_rounds_equal_the_longest_paths([(0, 1)], [(1, 0)])

    def test_counts_anew_after_a_reset_while_messages_stay_in_step(self, connect: Connect) -> None:
        links = connect(2)
        run(links, lambda link: swap(link, 2))
        for link in links:
            link.begin()
        assert links[0].meter.traffic() == Traffic.none()
        run(links, lambda link: swap(link, 2))
        assert links[0].meter.traffic().mpc.messages == 1
        assert rounds(links[0]) == (1, 0)


def assert_rounds_equal_the_longest_paths(offline: list[tuple[int, int]], online: list[tuple[int, int]]) -> None:
    """Send these messages (sender, receiver) one after the other; compare with all paths through them."""
    meters = {rank: Meter() for rank in range(-1, 4)}
    for sender, receiver in offline:
        if sender != receiver:
            with meters[sender].offline(), meters[receiver].offline():
                meters[receiver].received(meters[sender].header(sender, receiver, 0, 8))
    for sender, receiver in online:
        if sender != receiver:
            meters[receiver].received(meters[sender].header(sender, receiver, 0, 8))
    for rank, meter in meters.items():
        traffic = meter.traffic()
        assert traffic.offline.rounds == longest(offline, rank, board=False) + longest(offline, rank, board=True)
        assert traffic.mpc.rounds == longest(online, rank, board=False)
        assert traffic.upload.rounds == longest(online, rank, board=True)
    sent = total([meter.traffic() for meter in meters.values()])
    assert sent.offline.messages == sum(sender != receiver for sender, receiver in offline)
    assert sent.mpc.messages + sent.upload.messages == sum(sender != receiver for sender, receiver in online)


def longest(messages: list[tuple[int, int]], end: int, *, board: bool) -> int:
    """The most hops of one kind on any path of messages, in their order, that ends at this party."""
    return max(
        (
            longest(messages[:k], sender, board=board) + ((BOARD in (sender, receiver)) == board)
            for k, (sender, receiver) in enumerate(messages)
            if receiver == end and sender != receiver
        ),
        default=0,
    )
