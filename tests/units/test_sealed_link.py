"""Sealed links: the same sums at the same cost, and nothing that anybody on the wire does goes unseen.

The man in the middle is real: two TCP connections with a process-wide thread a direction between them, which reads
whole messages (their headers are readable) and forwards what a test wants instead.
"""

import pickle
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from unittest import mock

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from protocols import mesh, party_pool, sealed_link
from protocols.keyring import make_keyring
from protocols.network import BOARD, HEADER_BYTES, NetworkError, OutOfStepError, PartyCrashedError, PartyTimeoutError
from protocols.parties import run_board, run_member
from protocols.party_pool import PartyPool
from protocols.sealed_link import SEAL_BYTES, ConnectionSeal, seal_link, shown_token
from protocols.secure_sum import Board, Party, secure_sums
from protocols.tcp_link import TcpLink
from tests.tcp import in_parallel, kernel_received_bytes, tcp_links

TOKEN = b"0123456789abcdef"
OTHER = b"0123456789abcdeg"
WORDS = {0: [11, -12, 13], 1: [-21, 22, -23]}
STEPS = 3
MESSAGE_BYTES = HEADER_BYTES + 24
"""A plain message of WORDS; the first message of a sealed connection is a public key of 32 bytes instead."""

Meddle = Callable[[int, int, bytes], list[tuple[int, bytes]]]
"""From (sender, number, message) to the messages that are forwarded, each with the party that gets it."""


def forward(sender: int, number: int, message: bytes) -> list[tuple[int, bytes]]:
    return [(1 - sender, message)]


@dataclass(kw_only=True)
class Wire:
    """Two parties with a man in the middle, who notes all that he reads."""

    links: list[TcpLink]
    heard: dict[int, bytearray] = field(default_factory=lambda: {0: bytearray(), 1: bytearray()})


def tcp_pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        calling = socket.create_connection(listener.getsockname())
        answering, _ = listener.accept()
    return calling, answering


@contextmanager
def man_in_the_middle(meddle: Meddle, *, sealed: bool, deadline_s: float = 60.0) -> Iterator[Wire]:
    """Yield two connected parties, 0 and 1, between which every message goes through `meddle`."""
    pairs = [tcp_pair() for _ in range(2)]
    ends = {rank: pair[1] for rank, pair in enumerate(pairs)}
    links = [TcpLink(rank, {1 - rank: pair[0]}, deadline_s=deadline_s) for rank, pair in enumerate(pairs)]
    wire = Wire(links=links)
    tag_bytes = SEAL_BYTES if sealed else 0

    def relay(sender: int) -> None:
        number = 0
        try:
            while message := next_message(ends[sender], tag_bytes):
                wire.heard[sender] += message
                for receiver, forwarded in meddle(sender, number, message):
                    ends[receiver].sendall(forwarded)
                number += 1
        except OSError:
            pass  # a party has hung up with a reset
        finally:
            with suppress(OSError):
                ends[1 - sender].shutdown(socket.SHUT_WR)

    with ThreadPoolExecutor(2) as threads:
        for sender in ends:
            threads.submit(relay, sender)
        try:
            yield wire
        finally:
            for link in links:
                link.close()
    for end in ends.values():
        end.close()


def next_message(end: socket.socket, tag_bytes: int) -> bytes:
    """Return the next whole message, or nothing at the end of the stream."""
    header = end.recv(HEADER_BYTES, socket.MSG_WAITALL)
    if len(header) < HEADER_BYTES:
        return b""
    (payload_bytes,) = struct.unpack("<Q", header[8:])
    return header + end.recv(payload_bytes + tag_bytes, socket.MSG_WAITALL)


@dataclass(kw_only=True)
class Outcome:
    """What one party has received, step by step, and what ended it."""

    received: list[list[int]] = field(default_factory=list)
    error: NetworkError | None = None


def talk(
    meddle: Meddle, *, sealed: bool = True, tokens: tuple[bytes, bytes] = (TOKEN, TOKEN), deadline_s: float = 60.0
) -> list[Outcome]:
    """Let two parties exchange WORDS in STEPS exchanges; a party that fails hangs up."""

    def play(link: TcpLink) -> Outcome:
        outcome = Outcome()
        try:
            if sealed:
                seal_link(link, tokens[link.rank])
            for _ in range(STEPS):
                into = torch.full((3,), -1)
                link.exchange({1 - link.rank: torch.tensor(WORDS[link.rank])}, {1 - link.rank: into})
                outcome.received.append(into.tolist())
        except NetworkError as error:
            outcome.error = error
            link.close()
        return outcome

    with man_in_the_middle(meddle, sealed=sealed, deadline_s=deadline_s) as wire:
        return in_parallel(2, lambda rank: play(wire.links[rank]))


def assert_seen(outcomes: list[Outcome], *, victim: int = 1) -> None:
    """The victim stopped with a typed error, and nobody has ever accepted a word that was not sent."""
    for rank, outcome in enumerate(outcomes):
        assert all(words == WORDS[1 - rank] for words in outcome.received), "words that nobody sent were accepted"
        assert outcome.error is None or isinstance(
            outcome.error, OutOfStepError | PartyCrashedError | PartyTimeoutError
        )
    assert outcomes[victim].error is not None, "a message that nobody sent was accepted"
    assert len(outcomes[victim].received) < STEPS


def at(number: int, change: Callable[[bytes], list[tuple[int, bytes]]]) -> Meddle:
    """Change message `number` of party 0."""
    return lambda sender, count, message: (
        change(message) if (sender, count) == (0, number) else forward(sender, count, message)
    )


def flip(bit: int) -> Callable[[bytes], list[tuple[int, bytes]]]:
    def change(message: bytes) -> list[tuple[int, bytes]]:
        changed = bytearray(message)
        changed[bit // 8] ^= 1 << bit % 8
        return [(1, bytes(changed))]

    return change


def once_more() -> Meddle:
    """Send the second message of party 0 again in the place of its third."""
    kept: list[bytes] = []

    def meddle(sender: int, number: int, message: bytes) -> list[tuple[int, bytes]]:
        if sender == 0:
            kept.append(message)
        return [(1, kept[1])] if (sender, number) == (0, 2) else forward(sender, number, message)

    return meddle


def renumbered(message: bytes, sequence: int) -> bytes:
    return struct.pack("<I", sequence) + message[4:]


class TestTheManInTheMiddle:
    def test_forwards_all_that_he_does_not_change(self) -> None:
        for sealed in (False, True):
            outcomes = talk(forward, sealed=sealed)
            assert [each.received for each in outcomes] == [[WORDS[1]] * STEPS, [WORDS[0]] * STEPS]
            assert not any(each.error for each in outcomes)

    @pytest.mark.parametrize("number", [0, 1, 2])
    def test_cannot_flip_any_bit_of_any_message(self, number: int) -> None:
        """Header, payload and tag of the public key (message 0) and of words: every bit, of message 2 each seventh."""
        size = HEADER_BYTES + (32 if number == 0 else 24) + SEAL_BYTES
        step = 1 if number < 2 else 7
        for bit in range(0, 8 * size, step):
            assert_seen(talk(at(number, flip(bit))))

    def test_can_flip_most_bits_of_a_plain_message_unseen(self) -> None:
        for bit in range(8 * HEADER_BYTES, 8 * MESSAGE_BYTES, 5):
            outcomes = talk(at(1, flip(bit)), sealed=False)
            with pytest.raises(AssertionError, match="words that nobody sent were accepted"):
                assert_seen(outcomes)

    def test_cannot_repeat_a_message(self) -> None:
        assert_seen(talk(at(1, lambda message: [(1, message), (1, message)])))
        assert_seen(talk(once_more()))

    def test_cannot_repeat_a_message_under_another_number(self) -> None:
        meddle = once_more()

        def renumber(sender: int, number: int, message: bytes) -> list[tuple[int, bytes]]:
            sent = meddle(sender, number, message)
            return [(1, renumbered(sent[0][1], 2))] if (sender, number) == (0, 2) else sent

        assert_seen(talk(renumber))

    def test_can_repeat_a_plain_message_under_another_number_unseen(self) -> None:
        """The words are the same in each step here, so only that the second copy was accepted shows."""

        def repeat(message: bytes) -> list[tuple[int, bytes]]:
            return [(1, message), (1, renumbered(message, 2))]

        def meddle(sender: int, number: int, message: bytes) -> list[tuple[int, bytes]]:
            if (sender, number) == (0, 2):
                return []
            return at(1, repeat)(sender, number, message)

        with pytest.raises(AssertionError, match="a message that nobody sent was accepted"):
            assert_seen(talk(meddle, sealed=False))

    @pytest.mark.parametrize("renumber", [False, True])
    def test_cannot_swap_two_messages(self, renumber: bool) -> None:
        """Party 0 must not wait for party 1 between them, so all of it sends first."""
        kept: list[bytes] = []

        def meddle(sender: int, number: int, message: bytes) -> list[tuple[int, bytes]]:
            if (sender, number) == (0, 1):
                kept.append(message)
                return []
            if (sender, number) == (0, 2):
                pair = [message, kept[0]]
                return [(1, renumbered(each, place)) if renumber else (1, each) for place, each in enumerate(pair, 1)]
            return forward(sender, number, message)

        with man_in_the_middle(meddle, sealed=True) as wire:
            in_parallel(2, lambda rank: seal_link(wire.links[rank], TOKEN))
            for words in ([1, 2, 3], [4, 5, 6]):
                wire.links[0].exchange({1: torch.tensor(words)}, {})
            into = torch.full((3,), -1)
            with pytest.raises(OutOfStepError):
                wire.links[1].exchange({}, {0: into})

    def test_cannot_leave_a_message_out(self) -> None:
        assert_seen(talk(at(1, lambda message: []), deadline_s=0.5))

    def test_cannot_send_a_party_its_own_message_back(self) -> None:
        """Its number and its length are those of the message that is due."""
        kept: dict[int, bytes] = {}

        def meddle(sender: int, number: int, message: bytes) -> list[tuple[int, bytes]]:
            if number != 1:
                return forward(sender, number, message)
            kept[sender] = message
            return [(sender, message)]

        for sealed in (True, False):
            outcomes = talk(meddle, sealed=sealed)
            if sealed:
                assert_seen(outcomes, victim=0)
                assert_seen(outcomes, victim=1)
            else:
                with pytest.raises(AssertionError, match="words that nobody sent were accepted"):
                    assert_seen(outcomes)

    @pytest.mark.parametrize("number", [0, 1, 3])
    @pytest.mark.parametrize("kept_bytes", [0, 1, 15, 16, 17, 39, 40, 55])
    def test_cannot_cut_a_message_short(self, number: int, kept_bytes: int) -> None:
        """He hangs up within a message, or goes on with the next one."""
        assert_seen(talk(at(number, lambda message: [(1, message[:kept_bytes])]), deadline_s=0.5))

    def test_cannot_exchange_the_public_keys_for_his_own(self) -> None:
        """He does not know the token, so he cannot seal them; in the clear they are refused as well."""
        key = X25519PrivateKey.generate().public_key().public_bytes_raw()

        def meddle(sender: int, number: int, message: bytes) -> list[tuple[int, bytes]]:
            return [(1 - sender, message[:16] + key + message[48:])] if number == 0 else [(1 - sender, message)]

        outcomes = talk(meddle)
        assert_seen(outcomes, victim=0)
        assert_seen(outcomes, victim=1)
        assert all(not outcome.received for outcome in outcomes)

    def test_who_knows_the_token_can_stand_in_between(self) -> None:
        """What the token is for: with it he opens the first message, and puts a key of his own there."""
        his = X25519PrivateKey.generate()

        def meddle(sender: int, number: int, message: bytes) -> list[tuple[int, bytes]]:
            if number > 0:
                return forward(sender, number, message)
            start = {"secret": TOKEN, "salt": b"", "context": b"start"}
            key = bytearray(32)
            opened = sealed_link._seal(1 - sender, sender, **start).open(message[:16], memoryview(message)[16:], key)
            assert opened, "the token does not open the first message"
            own = memoryview(his.public_key().public_bytes_raw())
            return [
                (1 - sender, message[:16] + sealed_link._seal(sender, 1 - sender, **start).close(message[:16], own))
            ]

        outcomes = talk(meddle)
        # The parties have taken his key; without doing the same with all later messages he is found out there.
        assert all(isinstance(each.error, NetworkError) and not each.received for each in outcomes)
        assert any("message 1 " in str(each.error) for each in outcomes)

    def test_parties_with_different_tokens_do_not_connect(self) -> None:
        outcomes = talk(forward, tokens=(TOKEN, OTHER))
        assert all(isinstance(each.error, OutOfStepError | PartyCrashedError) for each in outcomes)
        assert any(isinstance(each.error, OutOfStepError) for each in outcomes)
        assert all(not each.received for each in outcomes)


def hears_canary(*, sealed: bool) -> bool:
    """Send 64 random words both ways; return whether any of them was on the wire as it is."""
    canary = torch.randint(-(2**63), 2**63 - 1, (64,), generator=torch.Generator().manual_seed(1))
    with man_in_the_middle(forward, sealed=sealed) as wire:

        def play(rank: int) -> None:
            link, into = wire.links[rank], torch.empty_like(canary)
            if sealed:
                seal_link(link, TOKEN)
            link.exchange({1 - rank: canary}, {1 - rank: into})
            assert torch.equal(into, canary)

        in_parallel(2, play)
        heard = [bytes(said) for said in wire.heard.values()]
    assert all(len(said) >= HEADER_BYTES + canary.nbytes for said in heard)
    return any(word.to_bytes(8, "little", signed=True) in said for word in canary.tolist() for said in heard)


class TestTheWire:
    def test_the_words_do_not_occur_on_sealed_links(self) -> None:
        """64 words against fewer than 2 x 1024 places: by chance with probability below 2^(6 + 11 - 64) = 2^-47."""
        assert not hears_canary(sealed=True)

    def test_the_words_do_occur_on_plain_links(self) -> None:
        assert hears_canary(sealed=False)

    def test_equal_messages_look_different_and_so_do_the_two_directions(self) -> None:
        """Equal payloads of 24 bytes under 3 numbers in 2 directions: equal by chance below 15 x 2^-192."""
        with man_in_the_middle(forward, sealed=True) as wire:

            def play(rank: int) -> None:
                seal_link(wire.links[rank], TOKEN)
                for _ in range(STEPS):
                    wire.links[rank].exchange({1 - rank: torch.ones(3).long()}, {1 - rank: torch.empty(3).long()})

            in_parallel(2, play)
            heard = [bytes(said) for said in wire.heard.values()]
        size = MESSAGE_BYTES + SEAL_BYTES
        start = HEADER_BYTES + 32 + SEAL_BYTES
        assert all(len(said) == start + STEPS * size for said in heard)
        bodies = {said[start + k * size :][HEADER_BYTES:size] for said in heard for k in range(STEPS)}
        assert len(bodies) == 2 * STEPS

    def test_the_token_is_not_shown_where_parties_connect(self) -> None:
        assert shown_token(TOKEN) != TOKEN
        assert len(shown_token(TOKEN)) == mesh.TOKEN_BYTES
        assert shown_token(TOKEN) == shown_token(TOKEN)
        assert len({shown_token(bytes([k] * 16)) for k in range(256)}) == 256

    @pytest.mark.parametrize("name", ["additive", "plaintext", "additive_stock"])
    def test_a_sealed_message_is_16_bytes_longer_and_the_meter_counts_plain_ones(self, name: str) -> None:
        """Counted by the kernel at all sockets, members' and board's."""
        parties, clusters, coordinates = 3, 2, 1001
        words = torch.randint(-(2**40), 2**40, (clusters, parties, coordinates))
        links = tcp_links(parties)
        in_parallel(parties + 1, lambda place: seal_link(links[place], TOKEN))
        keys = in_parallel(parties, lambda rank: make_keyring(links[rank], parties))
        before = sum(kernel_received_bytes(link) for link in links)
        protocol = secure_sums.resolve(name)

        def work(place: int) -> None:
            if links[place].rank == BOARD:
                board = Board(link=links[place], parties=parties, use=1, clusters=clusters, coordinates=coordinates)
                assert torch.equal(run_board(protocol, board).sums, words.sum(dim=1))
            else:
                party = Party(link=links[place], parties=parties, use=1, keys=keys[place])
                run_member(protocol, party, words[:, place])

        in_parallel(parties + 1, work)
        counted = sum(kernel_received_bytes(link) for link in links) - before
        cost = secure_sums.make(protocol).cost(parties=parties, clusters=clusters, coordinates=coordinates)
        metered = [link.meter.traffic() for link in links]
        for link in links:
            link.close()
        messages = cost.mpc.messages + cost.upload.messages
        assert sum(each.wire_bytes for each in metered) == cost.wire_bytes
        assert counted == cost.wire_bytes + SEAL_BYTES * messages


def ends() -> tuple[ConnectionSeal, ConnectionSeal]:
    there, back = b"t" * 16, b"b" * 16
    return ConnectionSeal(sending=there, receiving=back), ConnectionSeal(sending=back, receiving=there)


def opened(seal: ConnectionSeal, header: bytes, sealed: bytes) -> bytes | None:
    payload = bytearray(len(sealed) - SEAL_BYTES)
    if seal.open(header, memoryview(sealed), memoryview(payload)):
        return bytes(payload)
    assert not any(payload), "what was refused was left behind"
    return None


class TestSeals:
    @given(payloads=st.lists(st.binary(max_size=80), max_size=4), header=st.binary(min_size=16, max_size=16))
    def test_what_one_end_closes_the_other_end_opens_in_the_same_order_to_the_bit(
        self, payloads: list[bytes], header: bytes
    ) -> None:
        ours, theirs = ends()
        sealed = [bytes(ours.close(header, memoryview(payload))) for payload in payloads]
        assert [opened(theirs, header, each) for each in sealed] == payloads

    @pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 31, 32, 33, 2**18 + 5])
    def test_payloads_of_any_size_are_aes_128_in_gcm_under_the_number_of_the_message(self, size: int) -> None:
        """By the one-shot interface of the same library, which has another way through it."""
        ours, theirs = ends()
        payload = bytes(k % 251 for k in range(size))
        for number in range(3):
            sealed = bytes(ours.close(b"h" * 16, memoryview(payload)))
            assert sealed == AESGCM(b"t" * 16).encrypt(number.to_bytes(12, "big"), payload, b"h" * 16)
            assert opened(theirs, b"h" * 16, sealed) == payload

    @pytest.mark.parametrize("size", [0, 1, 24])
    def test_a_message_with_any_bit_changed_is_refused_and_leaves_nothing(self, size: int) -> None:
        for bit in range(8 * (16 + size + SEAL_BYTES)):
            ours, theirs = ends()
            message = bytearray(b"h" * 16 + ours.close(b"h" * 16, memoryview(bytes(range(size)))))
            message[bit // 8] ^= 1 << bit % 8
            assert opened(theirs, bytes(message[:16]), bytes(message[16:])) is None

    def test_a_message_that_was_repeated_left_out_reordered_or_sent_back_is_refused(self) -> None:
        header = b"h" * 16
        ours, theirs = ends()
        first, second = (bytes(ours.close(header, memoryview(b"words"))) for _ in range(2))
        assert opened(theirs, header, first) == b"words"
        assert opened(theirs, header, first) is None
        assert opened(ends()[1], header, second) is None
        assert opened(ours, header, first) is None

    def test_an_opener_that_does_not_look_at_the_tag_is_seen(self) -> None:
        original = ConnectionSeal.open

        def planted(self: ConnectionSeal, header: bytes, sealed: memoryview, payload: memoryview) -> bool:
            return original(self, header, sealed, payload) or True

        with mock.patch.object(ConnectionSeal, "open", planted):
            with pytest.raises(AssertionError):
                self.test_a_message_with_any_bit_changed_is_refused_and_leaves_nothing(24)
            with pytest.raises(AssertionError, match="words that nobody sent were accepted"):
                assert_seen(talk(at(1, flip(8 * HEADER_BYTES))))

    def test_keys_appear_neither_in_repr_nor_in_a_pickle(self) -> None:
        seal = ends()[0]
        assert repr(seal) == "ConnectionSeal(keys hidden)"
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(seal)

    def test_connections_and_directions_have_different_keys(self) -> None:
        """All keys of two runs of 4 parties and a board: 2 x 20 first ones, 2 x 20 later ones, each at both ends."""
        keys: list[tuple[bytes, bytes]] = []

        def spy(*, sending: bytes, receiving: bytes) -> ConnectionSeal:
            keys.append((sending, receiving))
            return ConnectionSeal(sending=sending, receiving=receiving)

        with mock.patch.object(sealed_link, "ConnectionSeal", spy):
            for token in (TOKEN, OTHER):
                links = tcp_links(4)
                in_parallel(5, lambda place, links=links, token=token: seal_link(links[place], token))
                for link in links:
                    link.close()
        assert len(keys) == 2 * 2 * 20
        assert len({key for pair in keys for key in pair}) == 2 * 2 * 20
        assert {(b, a) for a, b in keys} == set(keys), "the two ends have different keys"


class TestSealedPools:
    def test_open_the_same_sums_at_the_same_cost_as_plain_ones(self) -> None:
        words = torch.randint(-(2**40), 2**40, (2, 3, 1001))
        with PartyPool(3) as plain, PartyPool(3, sealed=True) as sealed:
            for name in ("additive", "plaintext", "additive_stock"):
                spec = secure_sums.resolve(name)
                ours, theirs = sealed.open_sums(spec, words), plain.open_sums(spec, words)
                assert torch.equal(ours.sums, words.sum(dim=1))
                assert torch.equal(ours.sums, theirs.sums)
                assert ours.traffic == theirs.traffic
            for members in (1, 2, 3):
                opened = sealed.open_sums(secure_sums.resolve("additive"), words[:, :members])
                assert torch.equal(opened.sums, words[:, :members].sum(dim=1))

    def test_of_which_one_member_has_another_token_do_not_start(self) -> None:
        """Here the board has; the processes say on stderr that they cannot go on."""
        original = party_pool.seal_link
        with (
            mock.patch.object(party_pool, "seal_link", lambda link, token: original(link, OTHER)),
            pytest.raises((OutOfStepError, PartyCrashedError)),
        ):
            PartyPool(2, sealed=True).start()

    def test_really_are_sealed(self) -> None:
        """The pool tells its processes, which would not understand a sealed board otherwise."""
        with PartyPool(2, sealed=True) as pool:
            assert pool.start()._seals.keys() == {0, 1}
        with PartyPool(2) as pool:
            assert not pool.start()._seals


def test_no_thread_is_left_behind() -> None:
    before = threading.active_count()
    talk(forward)
    assert threading.active_count() <= before
