"""What is on its way over TCP: messages of one exchange, each moved on as far as its socket allows."""

import select
import socket
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from protocols.network import (
    HEADER_BYTES,
    Header,
    NetworkError,
    OutOfStepError,
    PartyCrashedError,
    check_header,
    name_of,
)

__all__ = ["Receiving", "Seal", "Sending", "Transfer"]


class Seal(Protocol):
    """Encrypts what leaves on one connection and checks what comes in, message by message, in order."""

    @property
    def extra_bytes(self) -> int:
        """How much longer a sealed payload is."""
        ...

    def close(self, header: bytes, payload: memoryview) -> memoryview:
        """Return the next sealed payload, bound to its header."""
        ...

    def open(self, header: bytes, sealed: memoryview, payload: memoryview) -> bool:
        """Fill `payload` from what should be the next sealed one; return whether it is, to the bit, with its header."""
        ...


@dataclass(kw_only=True)
class Sending:
    """One message on its way out: what is left of its header and payload."""

    parts: list[memoryview]

    def step(self, peer: socket.socket) -> bool:
        """Send what the socket takes; return True when all has left."""
        sent = peer.sendmsg(self.parts)
        while self.parts and sent >= len(self.parts[0]):
            sent -= len(self.parts.pop(0))
        if self.parts:
            self.parts[0] = self.parts[0][sent:]
        return not self.parts


@dataclass(kw_only=True)
class Receiving:
    """One message on its way in: header first, then the payload straight into the tensor's memory, unless sealed."""

    peer: int
    sequence: int
    target: memoryview
    seal: Seal | None
    wire: bytearray = field(default_factory=lambda: bytearray(HEADER_BYTES))
    wire_filled: int = 0
    filled: int = 0
    header: Header | None = None

    def __post_init__(self) -> None:
        self.body = self.target
        if self.seal is not None:
            self.body = np.empty(len(self.target) + self.seal.extra_bytes, dtype=np.uint8).data

    def step(self, peer: socket.socket) -> bool:
        """Take what the socket has; return True when the message is complete."""
        if self.header is None:
            self.wire_filled += self._take(peer, memoryview(self.wire)[self.wire_filled :])
            if self.wire_filled < HEADER_BYTES:
                return False
            self.header = Header.unpack(self.wire)
            check_header(self.peer, self.header, self.sequence, len(self.target))
        if self.filled < len(self.body):
            self.filled += self._take(peer, self.body[self.filled :])
        if self.filled < len(self.body):
            return False
        if self.seal is not None and not self.seal.open(bytes(self.wire), self.body, self.target):
            raise OutOfStepError(f"message {self.sequence} of {name_of(self.peer)} is not as it was sealed for here")
        return True

    def _take(self, peer: socket.socket, into: memoryview) -> int:
        count = peer.recv_into(into)
        if count == 0:
            raise PartyCrashedError(f"{name_of(self.peer)} closed its connection")
        return count


@dataclass(kw_only=True)
class Transfer:
    """What one exchange still has to send and to receive, and the peers that it has lost."""

    sending: dict[int, Sending]
    receiving: dict[int, Receiving]
    lost: dict[int, NetworkError] = field(default_factory=dict[int, NetworkError])

    def wanted(self, peer: int) -> int:
        """Return the events of this peer's socket that matter."""
        return (select.POLLOUT if peer in self.sending else 0) | (select.POLLIN if peer in self.receiving else 0)

    def open_peers(self) -> list[int]:
        """Return the peers with something left to do."""
        return sorted(self.sending.keys() | self.receiving.keys())

    def lose(self, peer: int, error: NetworkError) -> None:
        """Give this peer up."""
        self.sending.pop(peer, None)
        self.receiving.pop(peer, None)
        self.lost[peer] = error

    def step(self, peer: int, connection: socket.socket, events: int) -> None:
        """Move one peer's messages on as far as its socket allows."""
        try:
            # An error or a hang-up is neither; both calls find out about it.
            if events & ~select.POLLOUT and peer in self.receiving and self.receiving[peer].step(connection):
                del self.receiving[peer]
            if events & ~select.POLLIN and peer in self.sending and self._has_sent(peer, connection):
                del self.sending[peer]
        except BlockingIOError:
            return  # the kernel changed its mind between select and the call; ask again
        except ConnectionError as error:
            self.lose(peer, PartyCrashedError(f"the connection to {name_of(peer)} broke: {error}"))
        except NetworkError as error:
            self.lose(peer, error)

    def _has_sent(self, peer: int, connection: socket.socket) -> bool:
        """Send what the socket takes; return whether that was all, or the peer is gone and only its silence tells."""
        try:
            return self.sending[peer].step(connection)
        except ConnectionError:
            return True
