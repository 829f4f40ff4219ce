"""Links between processes: one TCP socket a peer, sent and received side by side by one thread.

Messages are plain unless the link is given a seal for each peer; `sealed_link` makes them and says what they add.
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Protocol

import numpy as np
from torch import Tensor

from protocols.network import (
    HEADER_BYTES,
    Header,
    Meter,
    NetworkError,
    OutOfStepError,
    PartyCrashedError,
    PartyTimeoutError,
    bytes_of,
    check_header,
    name_of,
    raise_lost,
)

__all__ = ["Seal", "TcpLink"]

_DISCARDED_BYTES = 2**18
_LONGEST_PAUSE_S = 1e6  # eleven days: nobody waits for so long, and the kernel counts no more than 25 days


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
class _Sending:
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
class _Receiving:
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
class _Transfer:
    """What one exchange still has to send and to receive, and the peers that it has lost."""

    sending: dict[int, _Sending]
    receiving: dict[int, _Receiving]
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


class TcpLink:
    """Links between processes over TCP sockets, one per peer, sent and received concurrently by one thread."""

    def __init__(
        self,
        rank: int,
        sockets: Mapping[int, socket.socket],
        *,
        deadline_s: float,
        wait: Callable[[float], object] = time.sleep,
    ) -> None:
        """`wait` lets so many seconds pass, or fewer where nobody waits for this party any more."""
        self.rank = rank
        self._wait = wait
        self.meter = Meter()
        self._sockets = dict(sockets)
        self._deadline_s = deadline_s
        self._due = time.monotonic()
        self._sent = dict.fromkeys(self._sockets, 0)
        self._received = dict.fromkeys(self._sockets, 0)
        self._lost: dict[int, NetworkError] = {}
        self._seals: Mapping[int, Seal] = {}
        for peer in self._sockets.values():
            peer.setblocking(False)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    @property
    def sockets(self) -> Mapping[int, socket.socket]:
        """The socket to each peer, for whoever wants to ask the kernel what it counted."""
        return self._sockets

    @property
    def lost(self) -> Mapping[int, NetworkError]:
        """The peers that are lost for good, and why."""
        return self._lost

    def seal(self, seals: Mapping[int, Seal]) -> None:
        """Seal all messages to and from these peers from now on."""
        self._seals = seals

    def close(self) -> None:
        """Close all connections."""
        for peer in self._sockets.values():
            peer.close()

    def leave(self) -> None:
        """Send nothing more: what was sent arrives, and the peers then find this party gone."""
        for peer in self._sockets.values():
            with contextlib.suppress(OSError):  # some are gone themselves
                peer.shutdown(socket.SHUT_WR)

    def discard_until(self, order: Connection) -> None:
        """Throw away what peers send, so that none of them waits for room, until there is something to read there."""
        talking = list(self._sockets.values())
        while order not in (ready := wait([order, *talking])):
            for peer in talking[:]:
                if peer in ready and not _discarded(peer):
                    talking.remove(peer)

    def begin(self) -> None:
        """See Link.begin."""
        self.meter.reset()
        self._due = time.monotonic()

    def skip(self, exchanges: int) -> None:
        """See Link.skip."""
        self._due = max(self._due, time.monotonic()) + exchanges * self._deadline_s

    def pause(self, seconds: float) -> None:
        """See Link.pause."""
        self._wait(min(seconds, _LONGEST_PAUSE_S))

    def exchange(self, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]) -> None:
        """See Link.exchange."""
        raise_lost(self._exchange(outgoing, incoming, time.monotonic() + self._deadline_s, stop_early=True))

    def try_exchange(
        self, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]
    ) -> Mapping[int, NetworkError]:
        """See Link.try_exchange."""
        now = time.monotonic()
        if incoming:
            # The wait that an early party did not need is left for one that comes late.
            self._due = max(self._due, now) + self._deadline_s
        return self._exchange(outgoing, incoming, max(self._due, now + self._deadline_s), stop_early=False)

    def _exchange(
        self, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor], due: float, *, stop_early: bool
    ) -> dict[int, NetworkError]:
        receiving = {
            peer: _Receiving(
                peer=peer, sequence=self._received[peer], target=bytes_of(tensor), seal=self._seals.get(peer)
            )
            for peer, tensor in incoming.items()
            if peer not in self._lost
        }
        sending = {peer: self._outgoing(peer, tensor) for peer, tensor in outgoing.items() if peer not in self._lost}
        transfer = _Transfer(sending=sending, receiving=dict(receiving))
        transfer.lost.update(
            {peer: self._lost[peer] for peer in outgoing.keys() | incoming.keys() if peer in self._lost}
        )
        self._run(transfer, due, stop_early)
        # An exchange that fails as a whole adds no link to any chain, whichever of its messages came first.
        came = {} if stop_early and transfer.lost else receiving
        for peer, message in came.items():
            if peer not in transfer.lost and message.header is not None:
                self._received[peer] += 1
                self.meter.received(message.header)
        self._lost.update(transfer.lost)
        return transfer.lost

    def _outgoing(self, peer: int, tensor: Tensor) -> _Sending:
        payload = bytes_of(tensor.contiguous())
        header = self.meter.header(self.rank, peer, self._sent[peer], len(payload)).pack()
        self._sent[peer] += 1
        seal = self._seals.get(peer)
        body = payload if seal is None else seal.close(header, payload)
        return _Sending(parts=[memoryview(header), body])

    def _run(self, transfer: _Transfer, due: float, stop_early: bool) -> None:
        """Move all messages on until each has left or come in, or its peer is lost."""
        peers = {self._sockets[peer].fileno(): peer for peer in transfer.open_peers()}
        poll = select.poll()
        for file, peer in peers.items():
            transfer.step(peer, self._sockets[peer], select.POLLOUT)  # most sockets take it at once
            if wanted := transfer.wanted(peer):
                poll.register(file, wanted)
        while transfer.open_peers() and not (stop_early and transfer.lost):
            ready = poll.poll(1e3 * max(0.0, due - time.monotonic()))
            if not ready:
                self._time_out(transfer)
            for file, events in ready:
                transfer.step(peers[file], self._sockets[peers[file]], events)
                if wanted := transfer.wanted(peers[file]):
                    poll.modify(file, wanted)
                else:
                    poll.unregister(file)

    def _time_out(self, transfer: _Transfer) -> None:
        silent = transfer.open_peers()
        for peer in silent:
            transfer.lose(peer, PartyTimeoutError(f"no progress with parties {silent} for {self._deadline_s} s"))


def _discarded(peer: socket.socket) -> bool:
    """Throw away what the socket has; return whether there may be more."""
    try:
        return bool(peer.recv(_DISCARDED_BYTES))
    except BlockingIOError:
        return True
    except OSError:
        return False
