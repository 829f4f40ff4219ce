"""Every byte between parties: what a link is, what it counts, and how it fails.

Threat model: a plain link is not encrypted or authenticated beyond a shared start-up token; whoever can read the
loopback interface sees shares and opened sums (masked shares alone reveal only their sum), and whoever can
write to it can change them. `sealed_link` says what sealing adds.
"""

import struct
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from torch import Tensor

from protocols.types import Cost, Traffic

__all__ = [
    "BOARD",
    "HEADER_BYTES",
    "CheatingDetectedError",
    "Header",
    "Link",
    "Meter",
    "NetworkError",
    "OutOfStepError",
    "PartyCrashedError",
    "PartyFailedError",
    "PartyTimeoutError",
    "TooFewPartiesError",
    "bytes_of",
    "check_header",
    "cost_of",
    "name_of",
    "raise_lost",
]

BOARD = -1
"""The peer number of the board: where clusters publish, and the server of protocols that have one; not a party."""

_HEADER = struct.Struct("<IHHQ")
HEADER_BYTES = _HEADER.size
_MOST_HOPS = 2**16 - 1


def cost_of(*, messages: int, payload_bytes: int, rounds: int, comparisons: int = 0) -> Cost:
    """Return the cost of so many messages with so many bytes in all, each of which has a header on the wire."""
    return Cost(
        payload_bytes=payload_bytes,
        wire_bytes=payload_bytes + HEADER_BYTES * messages,
        messages=messages,
        rounds=rounds,
        comparisons=comparisons,
    )


class NetworkError(RuntimeError):
    """A protocol could not go on because of another party."""


class PartyFailedError(NetworkError):
    """The code of a party process raised an error that is none of these."""


class PartyCrashedError(NetworkError):
    """A peer closed its connection."""


class PartyTimeoutError(NetworkError):
    """A peer stayed silent past the deadline."""


class OutOfStepError(NetworkError):
    """A peer sent a message that does not belong at this place of the protocol."""


class TooFewPartiesError(NetworkError):
    """Fewer parties are left than the protocol needs to open its sum."""


class CheatingDetectedError(NetworkError):
    """Somebody sent what no honest party sends; nothing was opened.

    `suspects` are parties of which at least one cheats; a set of one names the culprit. Empty: nobody in
    particular can be named.
    """

    def __init__(self, text: str, *, suspects: frozenset[int] = frozenset()) -> None:
        super().__init__(text)
        self.suspects = suspects


class Header(NamedTuple):
    """What precedes each payload: its number on this link, the chain of messages behind it, its length."""

    sequence: int
    member_hops: int
    board_hops: int
    payload_bytes: int

    def pack(self) -> bytes:
        """Return the HEADER_BYTES bytes on the wire."""
        return _HEADER.pack(*self)

    @classmethod
    def unpack(cls, wire: bytes | bytearray) -> "Header":
        """Return the header that these HEADER_BYTES bytes are."""
        return cls(*_HEADER.unpack(wire))


class Meter:
    """Counts what one party sends, and the dependent messages behind its state, offline and online apart.

    A chain of messages is counted as its hops between members and its hops from or to the board; each is the
    largest over all chains that end at this party. Offline messages and the others make chains of their own.
    A comparison of shared numbers is counted by one of those who make it, so that all meters add up to what was made.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start counting anew; sequence numbers are the link's and go on."""
        self._sent: dict[tuple[bool, bool], list[int]] = {}
        self._hops = {False: [0, 0], True: [0, 0]}
        self._compared = {False: 0, True: 0}
        self._is_offline = False

    @property
    def is_offline(self) -> bool:
        """Whether what is sent now counts as offline."""
        return self._is_offline

    @contextmanager
    def offline(self) -> Generator[None, None, None]:
        """Count what is sent inside as offline: a protocol does it before it looks at any input."""
        self._is_offline = True
        try:
            yield
        finally:
            self._is_offline = False

    def header(self, rank: int, peer: int, sequence: int, payload_bytes: int) -> Header:
        """Count one message as it leaves and return its header."""
        board = BOARD in (rank, peer)
        sent = self._sent.setdefault((self._is_offline, board), [0, 0])
        sent[0] += 1
        sent[1] += payload_bytes
        member_hops, board_hops = self._hops[self._is_offline]
        # A peer may lie about the hops behind its message; what it says must not keep this party from sending.
        member_hops, board_hops = min(member_hops + (not board), _MOST_HOPS), min(board_hops + board, _MOST_HOPS)
        return Header(sequence, member_hops, board_hops, payload_bytes)

    def received(self, header: Header) -> None:
        """Take over the longer chains of a message that has come in."""
        member_hops, board_hops = self._hops[self._is_offline]
        self._hops[self._is_offline] = [max(member_hops, header.member_hops), max(board_hops, header.board_hops)]

    def compared(self, lanes: int) -> None:
        """Count one comparison in each of so many lanes."""
        self._compared[self._is_offline] += lanes

    def traffic(self) -> Traffic:
        """Return what has been counted since the last reset."""
        members, board = self._hops[False]
        offline = self._cost((True, False), 0).beside(self._cost((True, True), 0))
        return Traffic(
            offline=offline.then(Cost.none(rounds=sum(self._hops[True]), comparisons=self._compared[True])),
            mpc=self._cost((False, False), members, self._compared[False]),
            upload=self._cost((False, True), board),
        )

    def _cost(self, kind: tuple[bool, bool], rounds: int, comparisons: int = 0) -> Cost:
        messages, payload_bytes = self._sent.get(kind, (0, 0))
        return cost_of(messages=messages, payload_bytes=payload_bytes, rounds=rounds, comparisons=comparisons)


class Link(Protocol):
    """One party's connections to its peers."""

    @property
    def rank(self) -> int:
        """This party's number, or BOARD."""
        ...

    @property
    def meter(self) -> Meter:
        """What this party has sent."""
        ...

    def exchange(self, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]) -> None:
        """Send each outgoing tensor to its peer while filling each contiguous incoming tensor from its peer.

        Guarantees:
            Messages leave before any is awaited, so that parties which exchange with each other never deadlock.
            The chains of messages behind this party become the longest that it received, once all have come.
            What is sent to a peer that is gone is lost and counts as sent; that it is gone tells its silence alone.

        Raises: PartyCrashedError, PartyTimeoutError, OutOfStepError as soon as one peer fails.
        """
        ...

    def try_exchange(
        self, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]
    ) -> Mapping[int, NetworkError]:
        """Exchange like `exchange`, but go on without the peers that fail; return why each of those is lost.

        Guarantees:
            The tensors of all other peers are filled; those of lost peers hold nothing of use.
            A peer once lost stays lost, at no further wait; nothing more is sent to it.
            Parties that run the same exchanges in step wait long enough for one that had to wait for a lost peer.
        """
        ...

    def skip(self, exchanges: int) -> None:
        """Wait so many exchanges longer in the next try_exchange: those in which only the others take part."""
        ...

    def begin(self) -> None:
        """Start a new batch: counters at zero, deadlines from now on."""
        ...

    def pause(self, seconds: float) -> None:
        """Let time pass, as a slow party does."""
        ...


def bytes_of(tensor: Tensor) -> memoryview:
    """Return the memory of a contiguous tensor as bytes."""
    return tensor.numpy().data.cast("B") if tensor.numel() else memoryview(b"")


def check_header(peer: int, header: Header, sequence: int, payload_bytes: int) -> None:
    """Raise OutOfStepError unless the header announces the message that is due."""
    if header.sequence != sequence or header.payload_bytes != payload_bytes:
        raise OutOfStepError(
            f"{name_of(peer)} sent message {header.sequence} of {header.payload_bytes} bytes; "
            f"expected message {sequence} of {payload_bytes} bytes"
        )


def name_of(peer: int) -> str:
    """Return how errors call this peer."""
    return "the board" if peer == BOARD else f"party {peer}"


def raise_lost(lost: Mapping[int, NetworkError]) -> None:
    """Raise why the first of the lost peers is lost, if any is."""
    for peer in sorted(lost):
        raise lost[peer]
