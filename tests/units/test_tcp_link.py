"""Links over TCP: the bytes on the wire, and who may join."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from multiprocessing import Pipe
from unittest import mock

import pytest
import torch

from protocols import mesh
from protocols.in_process_link import in_process_links
from protocols.network import BOARD, HEADER_BYTES, Header, OutOfStepError, PartyCrashedError, PartyTimeoutError
from protocols.tcp_link import TcpLink
from tests.links import TOKEN, read, receive, rounds, run, send, swap
from tests.tcp import tcp_links


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
        expected = struct.pack("<IHHQqq", 0, 1, 0, 16, 258, -1) + struct.pack("<IHHQ", 1, 1, 0, 0)
        assert HEADER_BYTES == 16
        assert read(peer, len(expected)) == expected

    def test_may_come_one_by_one(self, raw: tuple[TcpLink, socket.socket]) -> None:
        link, peer = raw
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        message = struct.pack("<IHHQqq", 0, 3, 2, 16, 5, 6) + struct.pack("<IHHQq", 1, 9, 1, 8, 7)

        def trickle() -> None:
            for byte in message:
                peer.sendall(bytes([byte]))

        thread = threading.Thread(target=trickle)
        thread.start()
        assert receive(link, 0, 2) == [5, 6]
        assert rounds(link) == (3, 2)
        assert receive(link, 0, 1) == [7]
        assert rounds(link) == (9, 2)
        thread.join()

    @pytest.mark.parametrize("kept", [0, 1, 15, 16, 17, 31])
    def test_that_end_within_a_message_are_a_crash(self, raw: tuple[TcpLink, socket.socket], kept: int) -> None:
        link, peer = raw
        peer.sendall(struct.pack("<IHHQqq", 0, 1, 0, 16, 5, 6)[:kept])
        peer.close()
        with pytest.raises(PartyCrashedError, match="party 0 closed its connection"):
            receive(link, 0, 2)

    def test_a_connection_that_is_reset_is_a_crash(self, raw: tuple[TcpLink, socket.socket]) -> None:
        link, peer = raw
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with pytest.raises(PartyCrashedError, match="the connection to party 0 broke"):
            receive(link, 0, 2)

    def test_a_peer_that_is_gone_while_much_is_sent_to_it_is_a_crash_once_something_is_expected_of_it(
        self, raw: tuple[TcpLink, socket.socket]
    ) -> None:
        """As between threads: what is sent to it counts as sent."""
        link, peer = raw
        peer.close()
        much = torch.zeros(2**23, dtype=torch.int64)  # more than the kernel takes before it hears of the reset
        link.exchange({0: much}, {})
        assert link.meter.traffic().mpc.payload_bytes == much.nbytes
        with pytest.raises(PartyCrashedError, match="party 0"):
            receive(link, 0, 2)

    def test_what_a_peer_sent_before_it_was_gone_arrives_although_nothing_reaches_it(
        self, raw: tuple[TcpLink, socket.socket]
    ) -> None:
        """Whether the reset is seen first or the words, the words are read."""
        link, peer = raw
        link.exchange({0: torch.zeros(2, dtype=torch.int64)}, {})  # unread when it closes, which makes a reset of that
        peer.sendall(Header(0, 1, 0, 16).pack() + bytes(16))
        peer.close()
        much, words = torch.zeros(2**23, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
        link.exchange({0: much}, {0: words})
        assert words.tolist() == [0, 0]
        assert not link.lost

    def test_a_length_beyond_what_is_expected_is_refused_before_anything_is_stored(
        self, raw: tuple[TcpLink, socket.socket]
    ) -> None:
        link, peer = raw
        peer.sendall(struct.pack("<IHHQ", 0, 1, 0, 2**63))
        with pytest.raises(OutOfStepError, match=f"of {2**63} bytes; expected message 0 of 8 bytes"):
            receive(link, 0, 1)


class TestJoining:
    def test_a_mesh_connects_every_party_to_every_other_one_and_to_the_board(self) -> None:
        links = tcp_links(4)
        assert [sorted(link.sockets) for link in links] == [
            [q for q in range(-1, 4) if q != p] for p in (0, 1, 2, 3, -1)
        ]
        run(links[:4], lambda link: swap(link, 4))
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


@pytest.mark.parametrize("seconds", [0.01, 1e7, 1e300])
def test_a_pause_of_any_length_ends_once_there_is_something_to_read(seconds: float) -> None:
    """The kernel counts its milliseconds in 31 bits, and so refuses some as too many: as if that were the party's."""
    here, there = Pipe()
    with here, there:
        there.send_bytes(b"it is over")
        TcpLink(1, {}, deadline_s=60.0, wait=here.poll).pause(seconds)
