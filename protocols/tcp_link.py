"""Links between processes: one TCP socket a peer, sent and received side by side by one thread.

Messages are plain unless the link is given a seal for each peer; `sealed_link` makes them and says what they add.
"""

import contextlib
import select
import socket
import time
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection, wait

from torch import Tensor

from protocols.network import Meter, NetworkError, PartyTimeoutError, bytes_of, raise_lost
from protocols.tcp_transfer import Receiving, Seal, Sending, Transfer

__all__ = ["TcpLink"]

_DISCARDED_BYTES = 2**18
_LONGEST_PAUSE_S = 1e6  # eleven days: nobody waits for so long, and the kernel counts no more than 25 days


class TcpLink:
    """Links between processes over TCP sockets, one per peer, sent and received concurrently by one thread."""

    def __init__(
        self,
        rank: int,
        sockets: Mapping[int, socket.socket],
        *,
        deadline_s: float,
        wait: Callable[[float], object] | None = None,
    ) -> None:
        """`wait` lets so many seconds pass, or fewer where nobody waits for this party any more; None: all of them."""
        self.rank = rank
        self._wait = time.sleep if wait is None else wait
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
            peer: Receiving(
                peer=peer, sequence=self._received[peer], target=bytes_of(tensor), seal=self._seals.get(peer)
            )
            for peer, tensor in incoming.items()
            if peer not in self._lost
        }
        sending = {peer: self._outgoing(peer, tensor) for peer, tensor in outgoing.items() if peer not in self._lost}
        transfer = Transfer(sending=sending, receiving=dict(receiving))
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

    def _outgoing(self, peer: int, tensor: Tensor) -> Sending:
        payload = bytes_of(tensor.contiguous())
        header = self.meter.header(self.rank, peer, self._sent[peer], len(payload)).pack()
        self._sent[peer] += 1
        seal = self._seals.get(peer)
        body = payload if seal is None else seal.close(header, payload)
        return Sending(parts=[memoryview(header), body])

    def _run(self, transfer: Transfer, due: float, stop_early: bool) -> None:
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

    def _time_out(self, transfer: Transfer) -> None:
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
