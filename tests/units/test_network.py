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

from protocols import mesh, network
from protocols.crypten_engine import LinkCommunicator
from protocols.network import (
    BOARD,
    HEADER_BYTES,
    InProcessLink,
    Meter,
    NetworkError,
    OutOfStepError,
    PartyCrashedError,
    PartyTimeoutError,
    TcpLink,
    in_process_links,
)
from protocols.types import Cost
from tests.tcp import in_parallel, tcp_links

AnyLink = InProcessLink | TcpLink
Connect = Callable[..., list[Any]]
TOKEN = b"0123456789abcdef"
KINDS = {"in process": lambda parties: in_process_links(parties)[:parties], "tcp": tcp_links}


@pytest.fixture(params=KINDS, scope="module")
def three(request: pytest.FixtureRequest) -> Iterator[list[AnyLink]]:
    """Three connected parties that no test breaks."""
    links = KINDS[request.param](3)
    yield links
    for link in links:
        link.close()


@pytest.fixture(params=KINDS)
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """A function that connects so many parties with such a deadline, of which tests may break some."""
    made: list[AnyLink] = []

    def connected(parties: int, deadline_s: float = 60.0) -> list[AnyLink]:
        links = KINDS[request.param](parties)
        made.extend(links)
        for link in links:
            link._deadline_s = deadline_s
        return links

    yield connected
    for link in made:
        link.close()


def run(links: list[AnyLink], work: Callable[[AnyLink], Any]) -> list[Any]:
    return in_parallel(len(links), lambda rank: work(links[rank]))


def words(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def send(link: AnyLink, peer: int, *values: int) -> None:
    link.exchange({peer: words(*values)}, {})


def receive(link: AnyLink, peer: int, count: int) -> list[int]:
    into = torch.full((count,), -1, dtype=torch.int64)
    link.exchange({}, {peer: into})
    return into.tolist()


def swap(link: AnyLink, parties: int, count: int = 2) -> None:
    """Exchange `count` words with each of the others."""
    peers = [peer for peer in range(parties) if peer != link.rank]
    incoming = {peer: torch.empty(count, dtype=torch.int64) for peer in peers}
    link.exchange({peer: torch.full((count,), 100 * link.rank + peer) for peer in peers}, incoming)
    for peer, got in incoming.items():
        assert got.tolist() == [100 * peer + link.rank] * count, "a message went to the wrong party"


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

    def test_carries_a_message_without_words(self, connect: Connect) -> None:
        links = connect(2)
        run(links, lambda link: swap(link, 2, count=0))
        assert links[0].meter.messages == {1: 1}
        assert links[0].meter.payload_bytes == {1: 0}

    def test_of_nothing_with_nobody_returns_at_once(self, connect: Connect) -> None:
        link = connect(2)[0]
        link.exchange({}, {})
        assert link.meter == Meter()

    def test_messages_leave_before_any_is_awaited_so_that_parties_which_exchange_never_deadlock(
        self, connect: Connect
    ) -> None:
        """5 MB from each to each other through socket buffers of 64 kB: nobody may wait for a send to end."""
        links = connect(3)
        narrow(links)
        run(links, lambda link: swap(link, 3, count=5 * 2**17))
        assert all(sum(link.meter.payload_bytes.values()) == 2 * 5 * 2**20 for link in links)

    def test_parties_that_wait_first_are_seen(self, connect: Connect) -> None:
        links = connect(2, deadline_s=0.3)
        original = type(links[0]).exchange

        def planted(self: AnyLink, outgoing: dict, incoming: dict) -> None:
            original(self, {}, incoming)
            original(self, outgoing, {})

        with mock.patch.object(type(links[0]), "exchange", planted), pytest.raises(PartyTimeoutError):
            run(links, lambda link: swap(link, 2))

    def test_parties_that_send_all_before_they_receive_are_seen(self) -> None:
        links = tcp_links(2)
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
            for link in links:
                link.close()


def narrow(links: list[AnyLink]) -> None:
    """Keep the kernel from swallowing whole messages."""
    for link in links:
        for peer in link.sockets.values() if isinstance(link, TcpLink) else ():
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**16)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2**16)


def assert_depths_are_longest_chains(links: list[AnyLink]) -> None:
    depths = [link.meter.depth for link in links]
    assert depths == [0, 0, 0], "a depth before the first message"
    for k in range(3):
        run(links, lambda link: swap(link, 3))
        assert [link.meter.depth for link in links] == [k + 1] * 3, "parties at the same time are one round, not more"
    for hop in range(4):  # 0 -> 1 -> 2 -> 0 -> 1
        send(links[hop % 3], (hop + 1) % 3, hop)
        assert receive(links[(hop + 1) % 3], hop % 3, 1) == [hop]
        assert links[(hop + 1) % 3].meter.depth == 3 + hop + 1, "a chain of messages has as many rounds as hops"
    assert [link.meter.depth for link in links] == [6, 7, 5]
    send(links[2], 1, 0)
    receive(links[1], 2, 1)
    assert links[1].meter.depth == 7, "a message from a shorter chain adds no round"


class TestDepth:
    def test_of_a_party_becomes_the_largest_depth_that_it_received(self, connect: Connect) -> None:
        assert_depths_are_longest_chains(connect(3))

    @pytest.mark.parametrize(
        ("bug", "depth"),
        [
            ("each message received is a round", lambda before, after, incoming: before + len(incoming)),
            ("sending is a round", lambda before, after, incoming: after + (not incoming)),
            ("the last one counts", lambda before, after, incoming: after if after > before else after - 1),
            ("never more than one", lambda before, after, incoming: min(after, 1)),
        ],
    )
    def test_another_count_of_rounds_is_seen(
        self, connect: Connect, bug: str, depth: Callable[[int, int, dict], int]
    ) -> None:
        links = connect(3)
        original = type(links[0]).exchange

        def planted(self: AnyLink, outgoing: dict, incoming: dict) -> None:
            before = self.meter.depth
            original(self, outgoing, incoming)
            self.meter.depth = depth(before, self.meter.depth, incoming)

        with mock.patch.object(type(links[0]), "exchange", planted), pytest.raises(AssertionError):
            assert_depths_are_longest_chains(links)


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
        with mock.patch.object(network, "_check_header"):
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

    def test_a_peer_that_stays_silent_past_the_deadline_has_timed_out(self, connect: Connect) -> None:
        links = connect(3, deadline_s=0.05)
        send(links[0], 1, 7)
        with pytest.raises(PartyTimeoutError, match=r"2.* 0\.05 s"):
            links[1].exchange({}, {0: words(0), 2: words(0)})

    def test_every_failure_of_a_peer_is_a_network_error(self) -> None:
        for kind in (PartyCrashedError, PartyTimeoutError, OutOfStepError):
            assert issubclass(kind, NetworkError)


@pytest.fixture
def raw() -> Iterator[tuple[TcpLink, socket.socket]]:
    """A party whose peer 0 is a bare socket, on which the test writes bytes of its own."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    link = TcpLink(1, {0: ours}, deadline_s=60.0)
    yield link, theirs
    theirs.close()
    link.close()


class TestBytesOnTheWire:
    def test_are_a_header_of_16_bytes_and_the_words(self, raw: tuple[TcpLink, socket.socket]) -> None:
        link, peer = raw
        send(link, 0, 258, -1)
        send(link, 0)
        expected = struct.pack("<IIQqq", 0, 1, 16, 258, -1) + struct.pack("<IIQ", 1, 1, 0)
        assert HEADER_BYTES == 16
        assert read(peer, len(expected)) == expected

    def test_may_come_one_by_one(self, raw: tuple[TcpLink, socket.socket]) -> None:
        link, peer = raw
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        message = struct.pack("<IIQqq", 0, 3, 16, 5, 6) + struct.pack("<IIQq", 1, 9, 8, 7)

        def trickle() -> None:
            for byte in message:
                peer.sendall(bytes([byte]))

        thread = threading.Thread(target=trickle)
        thread.start()
        assert receive(link, 0, 2) == [5, 6]
        assert link.meter.depth == 3
        assert receive(link, 0, 1) == [7]
        assert link.meter.depth == 9
        thread.join()

    @pytest.mark.parametrize("kept", [0, 1, 15, 16, 17, 31])
    def test_that_end_within_a_message_are_a_crash(self, raw: tuple[TcpLink, socket.socket], kept: int) -> None:
        link, peer = raw
        peer.sendall(struct.pack("<IIQqq", 0, 1, 16, 5, 6)[:kept])
        peer.close()
        with pytest.raises(PartyCrashedError, match="party 0 closed its connection"):
            receive(link, 0, 2)

    def test_a_connection_that_is_reset_is_a_crash(self, raw: tuple[TcpLink, socket.socket]) -> None:
        link, peer = raw
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with pytest.raises(PartyCrashedError, match="the connection to party 0 broke"):
            receive(link, 0, 2)

    def test_a_peer_that_is_gone_while_much_is_sent_to_it_is_a_crash(self, raw: tuple[TcpLink, socket.socket]) -> None:
        link, peer = raw
        peer.close()
        much = torch.zeros(2**23, dtype=torch.int64)  # more than the kernel takes before it hears of the reset
        with pytest.raises(PartyCrashedError, match="party 0"):
            link.exchange({0: much}, {})

    def test_a_length_beyond_what_is_expected_is_refused_before_anything_is_stored(
        self, raw: tuple[TcpLink, socket.socket]
    ) -> None:
        link, peer = raw
        peer.sendall(struct.pack("<IIQ", 0, 1, 2**63))
        with pytest.raises(OutOfStepError, match=f"of {2**63} bytes; expected message 0 of 8 bytes"):
            receive(link, 0, 1)


def read(peer: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        received += peer.recv(count - len(received))
    return received


def assert_counts_what_leaves(links: list[AnyLink]) -> None:
    for link in links:
        link.meter.reset()
    send(links[0], 1, 1, 2, 3)
    send(links[0], 1)
    send(links[0], 2, 4)
    receive(links[1], 0, 3)
    receive(links[1], 0, 0)
    receive(links[2], 0, 1)
    assert links[0].meter.payload_bytes == {1: 24, 2: 8}
    assert links[0].meter.messages == {1: 2, 2: 1}
    assert links[0].meter.cost(board=False) == Cost(payload_bytes=32, wire_bytes=80, messages=3, rounds=0)
    for link in links[1:]:
        assert link.meter.cost(board=False) == Cost(payload_bytes=0, wire_bytes=0, messages=0, rounds=1)


class TestMeter:
    def test_counts_payload_and_messages_per_peer_where_they_leave(self, three: list[AnyLink]) -> None:
        assert_counts_what_leaves(three)

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("messages without words are free", lambda count, meter, peer, size: size and count(meter, peer, size)),
            ("all to one peer", lambda count, meter, peer, size: count(meter, 1, size)),
            ("words instead of bytes", lambda count, meter, peer, size: count(meter, peer, size // 8)),
            ("the last one only", lambda count, meter, peer, size: (meter.messages.clear(), count(meter, peer, size))),
        ],
    )
    def test_another_count_is_seen(self, connect: Connect, bug: str, planted: Callable) -> None:
        count = Meter.count
        links = connect(3)

        def miscount(meter: Meter, peer: int, size: int) -> None:
            planted(count, meter, peer, size)

        with mock.patch.object(Meter, "count", miscount), pytest.raises(AssertionError):
            assert_counts_what_leaves(links)

    def test_keeps_the_board_and_the_other_parties_apart(self) -> None:
        meter = Meter()
        meter.count(BOARD, 100)
        meter.count(0, 10)
        meter.count(3, 1)
        assert (meter.cost(board=True).payload_bytes, meter.cost(board=True).messages) == (100, 1)
        assert (meter.cost(board=False).payload_bytes, meter.cost(board=False).messages) == (11, 2)
        assert meter.cost(board=True).wire_bytes == 100 + HEADER_BYTES

    def test_counts_anew_after_a_reset_while_messages_stay_in_step(self, connect: Connect) -> None:
        links = connect(2)
        run(links, lambda link: swap(link, 2))
        for link in links:
            link.meter.reset()
        assert links[0].meter == Meter()
        run(links, lambda link: swap(link, 2))
        assert links[0].meter.messages == {1: 1}
        assert links[0].meter.depth == 1


class TestJoining:
    def test_a_mesh_connects_every_party_to_every_other_one(self) -> None:
        links = tcp_links(4)
        assert [sorted(link.sockets) for link in links] == [[q for q in range(4) if q != p] for p in range(4)]
        run(links, lambda link: swap(link, 4))
        for link in links:
            link.close()

    def test_links_in_process_end_with_that_of_the_board(self) -> None:
        *links, board = in_process_links(2)
        assert [link.rank for link in links] == [0, 1]
        assert board.rank == BOARD
        send(links[1], BOARD, 5)
        assert receive(board, 1, 1) == [5]

    @pytest.mark.parametrize(
        "hello",
        [b"", TOKEN[:7], b"x" * 16 + struct.pack("<i", 3), TOKEN[::-1] + struct.pack("<i", 3), b"\0" * 20],
        ids=["nothing", "half of the token", "another token", "the token turned round", "zeros"],
    )
    def test_a_stranger_without_the_token_is_dropped_and_the_next_party_accepted(self, hello: bytes) -> None:
        assert_drops_strangers(hello)

    def test_a_stranger_who_hangs_up_with_a_reset_is_dropped(self) -> None:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stranger = socket.create_connection(listener.getsockname(), timeout=60.0)
            stranger.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            stranger.close()
            party = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=60.0))
            party.sendall(TOKEN + struct.pack("<i", 3))
            accepted = mesh.accept_parties(listener, TOKEN, {3}, deadline_s=60.0)
            assert set(accepted) == {3}
            stack.enter_context(accepted[3])

    def test_a_silent_stranger_holds_up_nobody(self) -> None:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            stack.enter_context(socket.create_connection(listener.getsockname(), timeout=60.0))
            party = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=60.0))
            party.sendall(TOKEN + struct.pack("<i", 3))
            accepted = mesh.accept_parties(listener, TOKEN, {3}, deadline_s=60.0)
            assert set(accepted) == {3}
            stack.enter_context(accepted[3])

    def test_a_rank_that_is_not_expected_or_comes_twice_is_dropped(self) -> None:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            for rank in (3, 3, 5, 4):
                party = stack.enter_context(socket.create_connection(listener.getsockname(), timeout=60.0))
                party.sendall(TOKEN + struct.pack("<i", rank))
            accepted = mesh.accept_parties(listener, TOKEN, {3, 4}, deadline_s=60.0)
            assert set(accepted) == {3, 4}
            for each in accepted.values():
                stack.enter_context(each)

    def test_parties_that_never_call_are_named_at_the_deadline(self) -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as listener,
            pytest.raises(PartyTimeoutError, match=r"parties \[2, 3\] did not connect"),
        ):
            mesh.accept_parties(listener, TOKEN, {2, 3}, deadline_s=0.05)

    def test_a_stranger_who_is_accepted_is_seen(self) -> None:
        seen = pytest.raises((AssertionError, ConnectionError))  # the party's connection is the one that is dropped
        with mock.patch.object(mesh.hmac, "compare_digest", return_value=True), seen:
            assert_drops_strangers(b"x" * 16 + struct.pack("<i", 3))

    def test_the_token_is_compared_in_constant_time(self) -> None:
        with mock.patch.object(mesh.hmac, "compare_digest", wraps=mesh.hmac.compare_digest) as spy:
            assert_drops_strangers(b"x" * 16 + struct.pack("<i", 3))
        assert spy.call_count == 2


def assert_drops_strangers(hello: bytes) -> None:
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        stranger, party = (
            stack.enter_context(socket.create_connection(listener.getsockname(), timeout=60.0)) for _ in range(2)
        )
        stranger.sendall(hello)
        stranger.shutdown(socket.SHUT_WR)
        party.sendall(TOKEN + struct.pack("<i", 3))
        found = mesh.accept_parties(listener, TOKEN, {3}, deadline_s=60.0)
        accepted = stack.enter_context(found[3])
        party.sendall(b"hello")
        assert read(accepted, 5) == b"hello"
        assert stranger.recv(1) == b"", "the stranger's connection is still open"


def spied_reduction(parties: int, shares: list[torch.Tensor]) -> tuple[list[torch.Tensor], list[tuple[int, int, Any]]]:
    """Return what each party gets from all_reduce, and all messages (sender, receiver, words) in sending order."""
    messages: list[tuple[int, int, Any]] = []
    original = InProcessLink.exchange

    def spy(self: InProcessLink, outgoing: dict[int, torch.Tensor], incoming: dict[int, torch.Tensor]) -> None:
        messages.extend((self.rank, peer, tensor.clone()) for peer, tensor in outgoing.items())
        original(self, outgoing, incoming)

    links = in_process_links(parties)[:parties]
    with mock.patch.object(InProcessLink, "exchange", spy):
        results = run(links, lambda link: LinkCommunicator(link, parties).all_reduce(shares[link.rank]))
    return results, messages


def by_link(messages: list[tuple[int, int, Any]]) -> dict[tuple[int, int], list[torch.Tensor]]:
    return {
        (a, b): [tensor for sender, receiver, tensor in messages if (sender, receiver) == (a, b)]
        for a, b in {(sender, receiver) for sender, receiver, _ in messages}
    }


class TestCryptensCollectives:
    @given(parties=st.integers(1, 5), clusters=st.integers(1, 3), coordinates=st.integers(1, 12), data=st.data())
    def test_all_reduce_returns_the_sum_modulo_2_64_at_every_party(
        self, parties: int, clusters: int, coordinates: int, data: st.DataObject
    ) -> None:
        count = parties * clusters * coordinates
        flat = data.draw(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=count, max_size=count))
        shares = torch.tensor(flat, dtype=torch.int64).view(parties, clusters, coordinates)
        plain = shares.tolist()
        expected = [
            [(sum(plain[i][j][k] for i in range(parties)) + 2**63) % 2**64 - 2**63 for k in range(coordinates)]
            for j in range(clusters)
        ]
        results, _ = spied_reduction(parties, list(shares))
        assert [result.tolist() for result in results] == [expected] * parties

    @pytest.mark.parametrize(("parties", "coordinates"), [(2, 7), (3, 7), (5, 3), (4, 4)])
    def test_all_reduce_has_each_coordinate_summed_by_exactly_one_party(self, parties: int, coordinates: int) -> None:
        """Shares that are the numbers of the coordinates show who gets which in the first round."""
        shares = [torch.arange(coordinates)[None] for _ in range(parties)]
        _, messages = spied_reduction(parties, shares)
        links = by_link(messages)
        for sender in range(parties):
            given_away = [k for peer in range(parties) if peer != sender for k in links[sender, peer][0][0].tolist()]
            assert len(set(given_away)) == len(given_away), "two parties sum the same coordinate"
            own = set(range(coordinates)) - set(given_away)
            for other in range(parties):
                if other != sender:
                    assert set(links[other, sender][0][0].tolist()) == own, "a coordinate is summed by nobody"

    def test_a_cluster_of_a_batch_sends_the_same_words_as_if_it_ran_alone(self) -> None:
        shares = torch.arange(3 * 4 * 7).view(3, 4, 7) ** 3
        _, batch = spied_reduction(3, list(shares))
        for j in range(4):
            _, alone = spied_reduction(3, list(shares[:, j : j + 1]))
            together, single = by_link(batch), by_link(alone)
            assert together.keys() == single.keys()
            for pair, sent in single.items():
                assert [tensor[j : j + 1].tolist() for tensor in together[pair]] == [tensor.tolist() for tensor in sent]
