"""Every byte between parties: one exchange primitive, metered where it leaves, in process and over TCP.

Threat model: links are not encrypted or authenticated beyond a shared start-up token; whoever can read the
loopback interface sees shares and opened sums (masked shares alone reveal only their sum), and whoever can
write to it can change them.
"""

import queue
import selectors
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from protocols.types import Cost

__all__ = [
    "BOARD",
    "HEADER_BYTES",
    "InProcessLink",
    "Link",
    "Meter",
    "NetworkError",
    "OutOfStepError",
    "PartyCrashedError",
    "PartyTimeoutError",
    "TcpLink",
    "in_process_links",
]

BOARD = -1
"""The peer number of the board: where clusters publish what they opened; not a party."""

_HEADER = struct.Struct("<IIQ")  # sequence number on this link, depth in the chain of messages, payload bytes
HEADER_BYTES = _HEADER.size


class NetworkError(RuntimeError):
    """A protocol could not go on because of another party."""


class PartyCrashedError(NetworkError):
    """A peer closed its connection."""


class PartyTimeoutError(NetworkError):
    """A peer stayed silent past the deadline."""


class OutOfStepError(NetworkError):
    """A peer sent a message that does not belong at this place of the protocol."""


@dataclass(kw_only=True)
class Meter:
    """Counts what one party sends, per peer, and the depth of the longest chain of messages behind its state."""

    payload_bytes: dict[int, int] = field(default_factory=dict[int, int])
    messages: dict[int, int] = field(default_factory=dict[int, int])
    depth: int = 0

    def count(self, peer: int, payload_bytes: int) -> None:
        """Count one message as it leaves."""
        self.payload_bytes[peer] = self.payload_bytes.get(peer, 0) + payload_bytes
        self.messages[peer] = self.messages.get(peer, 0) + 1

    def cost(self, *, board: bool) -> Cost:
        """Return what was sent to the board, or else to the other parties."""
        peers = [peer for peer in self.messages if (peer == BOARD) == board]
        payload_bytes = sum(self.payload_bytes[peer] for peer in peers)
        messages = sum(self.messages[peer] for peer in peers)
        return Cost(
            payload_bytes=payload_bytes,
            wire_bytes=payload_bytes + HEADER_BYTES * messages,
            messages=messages,
            rounds=min(messages, 1) if board else self.depth,
        )

    def reset(self) -> None:
        """Start counting anew; sequence numbers are the link's and go on."""
        self.payload_bytes.clear()
        self.messages.clear()
        self.depth = 0


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
            The dependent-message depth of this party becomes the largest depth that it received.

        Raises: PartyCrashedError, PartyTimeoutError, OutOfStepError.
        """
        ...


def _bytes_of(tensor: Tensor) -> memoryview:
    flat = tensor.view(-1).view(torch.uint8).numpy()
    return flat.data if tensor.numel() else memoryview(b"")


def _check_header(peer: int, header: tuple[int, int, int], sequence: int, payload_bytes: int) -> None:
    if header[0] != sequence or header[2] != payload_bytes:
        raise OutOfStepError(
            f"party {peer} sent message {header[0]} of {header[2]} bytes; "
            f"expected message {sequence} of {payload_bytes} bytes"
        )


_Box = queue.SimpleQueue[tuple[tuple[int, int, int], bytes] | None]


class InProcessLink:
    """Links between parties that are threads of one process, for tests."""

    def __init__(self, rank: int, boxes: Mapping[tuple[int, int], _Box], *, deadline_s: float) -> None:
        self.rank = rank
        self.meter = Meter()
        self._boxes = boxes
        self._deadline_s = deadline_s
        self._sent: dict[int, int] = {}
        self._received: dict[int, int] = {}

    def exchange(self, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]) -> None:
        """See Link.exchange."""
        depth = self.meter.depth + 1
        for peer, tensor in outgoing.items():
            payload = bytes(_bytes_of(tensor.contiguous()))
            self._boxes[self.rank, peer].put(((self._sent.get(peer, 0), depth, len(payload)), payload))
            self._sent[peer] = self._sent.get(peer, 0) + 1
            self.meter.count(peer, len(payload))
        for peer, tensor in incoming.items():
            self._receive(peer, tensor)

    def close(self) -> None:
        """Tell all peers that nothing more will come."""
        for (sender, _), box in self._boxes.items():
            if sender == self.rank:
                box.put(None)

    def _receive(self, peer: int, tensor: Tensor) -> None:
        try:
            message = self._boxes[peer, self.rank].get(timeout=self._deadline_s)
        except queue.Empty:
            raise PartyTimeoutError(f"party {peer} sent nothing for {self._deadline_s} s") from None
        if message is None:
            raise PartyCrashedError(f"party {peer} closed its connection")
        header, payload = message
        target = _bytes_of(tensor)
        _check_header(peer, header, self._received.get(peer, 0), len(target))
        self._received[peer] = self._received.get(peer, 0) + 1
        if payload:
            target[:] = payload
        self.meter.depth = max(self.meter.depth, header[1])


def in_process_links(parties: int, *, deadline_s: float = 60.0) -> list[InProcessLink]:
    """Return the connected links of the parties 0..parties-1 and, last, of the board."""
    ranks = [*range(parties), BOARD]
    boxes: dict[tuple[int, int], _Box] = {(a, b): queue.SimpleQueue() for a in ranks for b in ranks if a != b}
    return [InProcessLink(rank, boxes, deadline_s=deadline_s) for rank in ranks]


@dataclass(kw_only=True)
class _Sending:
    """One message on its way out: what is left of its header and payload."""

    parts: list[memoryview]

    def step(self, peer: socket.socket) -> bool:
        """Send what the socket takes; return True when all has left."""
        while self.parts:
            self.parts[0] = self.parts[0][peer.send(self.parts[0]) :]
            if self.parts[0]:
                return False
            self.parts.pop(0)
        return True


@dataclass(kw_only=True)
class _Receiving:
    """One message on its way in: header first, then the payload straight into the tensor's memory."""

    peer: int
    sequence: int
    target: memoryview
    header: bytearray = field(default_factory=lambda: bytearray(HEADER_BYTES))
    header_filled: int = 0
    filled: int = 0
    depth: int = 0

    def step(self, peer: socket.socket) -> bool:
        """Take what the socket has; return True when the message is complete."""
        if self.header_filled < HEADER_BYTES:
            self.header_filled += self._take(peer, memoryview(self.header)[self.header_filled :])
            if self.header_filled < HEADER_BYTES:
                return False
            header = _HEADER.unpack(self.header)
            _check_header(self.peer, header, self.sequence, len(self.target))
            self.depth = header[1]
            if self.target:
                return False  # the payload may not have come yet: wait for the socket to be readable again
        if self.filled < len(self.target):
            self.filled += self._take(peer, self.target[self.filled :])
        return self.filled == len(self.target)

    def _take(self, peer: socket.socket, into: memoryview) -> int:
        count = peer.recv_into(into)
        if count == 0:
            raise PartyCrashedError(f"party {self.peer} closed its connection")
        return count


class TcpLink:
    """Links between processes over TCP sockets, one per peer, sent and received concurrently by one thread."""

    def __init__(self, rank: int, sockets: Mapping[int, socket.socket], *, deadline_s: float) -> None:
        self.rank = rank
        self.meter = Meter()
        self._sockets = dict(sockets)
        self._deadline_s = deadline_s
        self._sent = dict.fromkeys(self._sockets, 0)
        self._received = dict.fromkeys(self._sockets, 0)
        for peer in self._sockets.values():
            peer.setblocking(False)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def sockets(self) -> Mapping[int, socket.socket]:
        """The socket to each peer, for whoever wants to ask the kernel what it counted."""
        return self._sockets

    def close(self) -> None:
        """Close all connections."""
        for peer in self._sockets.values():
            peer.close()

    def exchange(self, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]) -> None:
        """See Link.exchange."""
        sending = {peer: self._outgoing(peer, tensor) for peer, tensor in outgoing.items()}
        receiving = {
            peer: _Receiving(peer=peer, sequence=self._received[peer], target=_bytes_of(tensor))
            for peer, tensor in incoming.items()
        }
        self._run(dict(sending), dict(receiving))
        for peer, message in receiving.items():
            self._received[peer] += 1
            self.meter.depth = max(self.meter.depth, message.depth)

    def _outgoing(self, peer: int, tensor: Tensor) -> _Sending:
        payload = _bytes_of(tensor.contiguous())
        header = _HEADER.pack(self._sent[peer], self.meter.depth + 1, len(payload))
        self._sent[peer] += 1
        self.meter.count(peer, len(payload))
        return _Sending(parts=[memoryview(header), payload] if payload else [memoryview(header)])

    def _run(self, sending: dict[int, _Sending], receiving: dict[int, _Receiving]) -> None:
        deadline = time.monotonic() + self._deadline_s
        with selectors.DefaultSelector() as selector:
            for peer in sending.keys() | receiving.keys():
                selector.register(self._sockets[peer], self._wanted(peer, sending, receiving), peer)
            while sending or receiving:
                ready = selector.select(max(0.0, deadline - time.monotonic()))
                if not ready:
                    silent = sorted(sending.keys() | receiving.keys())
                    raise PartyTimeoutError(f"no progress with parties {silent} for {self._deadline_s} s")
                for key, events in ready:
                    self._step(key.data, events, sending, receiving)
                    wanted = self._wanted(key.data, sending, receiving)
                    if wanted != key.events:
                        selector.modify(key.fileobj, wanted, key.data) if wanted else selector.unregister(key.fileobj)

    @staticmethod
    def _wanted(peer: int, sending: Mapping[int, _Sending], receiving: Mapping[int, _Receiving]) -> int:
        return (selectors.EVENT_WRITE if peer in sending else 0) | (selectors.EVENT_READ if peer in receiving else 0)

    def _step(self, peer: int, events: int, sending: dict[int, _Sending], receiving: dict[int, _Receiving]) -> None:
        try:
            if events & selectors.EVENT_READ and receiving[peer].step(self._sockets[peer]):
                del receiving[peer]
            if events & selectors.EVENT_WRITE and sending[peer].step(self._sockets[peer]):
                del sending[peer]
        except BlockingIOError:
            return  # the kernel changed its mind between select and the call; ask again
        except ConnectionError as error:
            raise PartyCrashedError(f"the connection to party {peer} broke: {error}") from None
