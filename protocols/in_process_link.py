"""Links between threads of one process, with virtual time: the same run for the same seed, and no real waiting.

Every party reads from one named peer at a time and blocks until that peer's next message is there, so what a
party computes does not depend on how the threads happen to be scheduled. Time is virtual: a message arrives a
latency after it was sent, drawn from the schedule's seed for each message; a deadline passes, at once, when all
parties wait for messages that nobody has sent.

Parties may run side by side, or take turns (`InProcessLink.turn`), which changes nothing but the time that it takes:
PyTorch lets go of the interpreter in every operation, and threads that pass it to each other that often spend up to
four times as long on it as on their work.
"""

import hashlib
import math
import threading
import time
from collections import deque
from collections.abc import Generator, Iterable, Mapping, Set
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from protocols.network import (
    BOARD,
    Header,
    Meter,
    NetworkError,
    PartyCrashedError,
    PartyTimeoutError,
    bytes_of,
    check_header,
    name_of,
    raise_lost,
)

__all__ = ["Channel", "Hub", "InProcessLink", "Message", "Received", "in_process_links"]

Channel = tuple[int, int]
"""(sender, receiver)."""


@dataclass(frozen=True, kw_only=True)
class Received:
    """One message that a party has seen, in the order of its reads."""

    sender: int
    header: Header
    payload: Tensor = field(repr=False)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message on its way, and when it arrives, in virtual seconds."""

    header: Header
    payload: bytes = field(repr=False)
    arrives: float


class Hub(Protocol):
    """What the links of one set of parties share; it decides what arrives when."""

    def run(self, ranks: set[int]) -> None:
        """Say which parties run from now on: only those can end another one's wait."""
        ...

    def turn(self) -> AbstractContextManager[None]:
        """Let one thread run as the only one of all that take turns, but for the times in which it waits."""
        ...

    def post(self, channel: Channel, header: Header, payload: bytes, now: float) -> None:
        """Send a message at the virtual time `now`."""
        ...

    def leave(self, rank: int, *, closed: bool) -> None:
        """Take a party out: it has done its work, or it has closed its connections."""
        ...

    def take(self, channel: Channel, due: float, patience_s: float) -> Message | None:
        """Return the next message, or None when none comes until the virtual time `due`.

        Raises: PartyCrashedError when the sender has closed its connections.
        """
        ...


class _Hub:
    """What the links of one set of parties share: messages on their way, and who waits for whom."""

    def __init__(self, ranks: list[int], *, seed: int | None, latency_s: float) -> None:
        # A party whose turn it is holds the lock until it waits. One condition a party, so that a message wakes only
        # who waits for it.
        self._lock = threading.RLock()
        self._changed = {rank: threading.Condition(self._lock) for rank in ranks}
        self._channels: dict[Channel, deque[Message]] = {(a, b): deque() for a in ranks for b in ranks if a != b}
        self._running = set(ranks)
        self._closed: set[int] = set()
        self._waiting: dict[int, tuple[float, int]] = {}
        self._timed_out: set[int] = set()
        self._all_run_here = False
        self._seed = seed
        self._latency_s = latency_s

    def run(self, ranks: set[int]) -> None:
        with self._lock:
            self._running = ranks - self._closed
            self._all_run_here = True

    @contextmanager
    def turn(self) -> Generator[None, None, None]:
        with self._lock:
            yield

    def post(self, channel: Channel, header: Header, payload: bytes, now: float) -> None:
        with self._lock:
            arrives = now + self._latency(channel, header.sequence)
            self._channels[channel].append(Message(header=header, payload=payload, arrives=arrives))
            self._wake(channel)

    def leave(self, rank: int, *, closed: bool) -> None:
        with self._lock:
            self._running.discard(rank)
            if closed:
                self._closed.add(rank)
            for sender, receiver in self._channels:
                if sender == rank:
                    self._wake((sender, receiver))
            self._pass_deadline()

    def take(self, channel: Channel, due: float, patience_s: float) -> Message | None:
        sender, receiver = channel
        # Where it is not known who runs, only real time tells that nobody will send.
        real_due = math.inf if self._all_run_here else time.monotonic() + patience_s
        with self._lock:
            while not self._channels[channel]:
                if sender in self._closed:
                    raise PartyCrashedError(f"{name_of(sender)} closed its connection")
                if receiver in self._timed_out or time.monotonic() > real_due:
                    self._timed_out.discard(receiver)
                    self._waiting.pop(receiver, None)
                    return None
                self._waiting[receiver] = (due, sender)
                self._pass_deadline()
                if receiver not in self._timed_out:
                    self._changed[receiver].wait(patience_s)
            self._waiting.pop(receiver, None)
            self._timed_out.discard(receiver)
            message = self._channels[channel].popleft()
            return message if message.arrives <= due else None

    def _latency(self, channel: Channel, sequence: int) -> float:
        if self._seed is None:
            return 0.0
        # One draw a message, whoever asks first: the schedule does not depend on the threads.
        place = f"{self._seed}/{channel[0]}/{channel[1]}/{sequence}".encode()
        return int.from_bytes(hashlib.blake2b(place, digest_size=8).digest()) / 2**64 * self._latency_s

    def _wake(self, channel: Channel) -> None:
        sender, receiver = channel
        if self._waiting.get(receiver, (0.0, None))[1] == sender:
            del self._waiting[receiver]
            self._changed[receiver].notify()

    def _pass_deadline(self) -> None:
        """Let the earliest deadline pass if all who run wait for messages that are not there."""
        if self._waiting and self._running <= self._waiting.keys() and not self._timed_out:
            first = min(self._waiting, key=lambda rank: (self._waiting[rank][0], rank))
            self._timed_out.add(first)
            self._changed[first].notify()


class InProcessLink:
    """Links between parties that are threads of one process."""

    def __init__(self, rank: int, hub: Hub, *, deadline_s: float) -> None:
        self.rank = rank
        self.meter = Meter()
        self.transcript: list[Received] | None = None
        self._hub = hub
        self._deadline_s = deadline_s
        self._now = 0.0
        self._due = 0.0
        self._sent: dict[int, int] = {}
        self._received: dict[int, int] = {}
        self._lost: dict[int, NetworkError] = {}

    @property
    def lost(self) -> Mapping[int, NetworkError]:
        """The peers that are lost for good, and why."""
        return self._lost

    def begin(self) -> None:
        """See Link.begin."""
        self.meter.reset()
        self._now = self._due = 0.0

    def skip(self, exchanges: int) -> None:
        """See Link.skip."""
        self._due = max(self._due, self._now) + exchanges * self._deadline_s

    def pause(self, seconds: float) -> None:
        """See Link.pause; the time is virtual."""
        self._now += seconds

    def run(self, ranks: set[int]) -> None:
        """Say which parties run from now on, so that a wait for the others ends."""
        self._hub.run(ranks)

    @contextmanager
    def turn(self) -> Generator[None, None, None]:
        """Let this thread run as the only one of all that take turns, but for the times in which it waits."""
        with self._hub.turn():
            yield

    def finish(self) -> None:
        """Say that this party has done its work: nobody waits for it any more."""
        self._hub.leave(self.rank, closed=False)

    def close(self) -> None:
        """Tell all peers that nothing more will come."""
        self._hub.leave(self.rank, closed=True)

    def exchange(self, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]) -> None:
        """See Link.exchange."""
        self._send(outgoing)
        due = self._now + self._deadline_s
        came: list[Header] = []
        for peer, tensor in incoming.items():
            came += self._receive(peer, tensor, due)
            raise_lost(self._lost_among(outgoing.keys() | incoming.keys()))
        raise_lost(self._lost_among(outgoing.keys()))
        self._count(came)

    def try_exchange(
        self, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]
    ) -> Mapping[int, NetworkError]:
        """See Link.try_exchange."""
        self._send(outgoing)
        if incoming:
            self._due = max(self._due, self._now) + self._deadline_s
        for peer, tensor in incoming.items():
            self._count(self._receive(peer, tensor, self._due))
        return self._lost_among(outgoing.keys() | incoming.keys())

    def _lost_among(self, peers: Set[int]) -> dict[int, NetworkError]:
        return {peer: error for peer, error in self._lost.items() if peer in peers}

    def _send(self, outgoing: Mapping[int, Tensor]) -> None:
        for peer, tensor in outgoing.items():
            if peer in self._lost:
                continue
            payload = bytes(bytes_of(tensor.contiguous()))
            header = self.meter.header(self.rank, peer, self._sent.get(peer, 0), len(payload))
            self._sent[peer] = self._sent.get(peer, 0) + 1
            self._hub.post((self.rank, peer), header, payload, self._now)

    def _count(self, came: Iterable[Header]) -> None:
        for header in came:
            self.meter.received(header)

    def _receive(self, peer: int, tensor: Tensor, due: float) -> list[Header]:
        """Fill the tensor; return the header of what came, if anything did."""
        if peer in self._lost:
            return []
        try:
            message = self._hub.take((peer, self.rank), due, self._deadline_s)
            if message is None:
                self._now = max(self._now, due)
                raise PartyTimeoutError(f"{name_of(peer)} sent nothing for {self._deadline_s} s")
            self._now = max(self._now, message.arrives)
            self._fill(peer, tensor, message)
        except NetworkError as error:
            self._lost[peer] = error
            return []
        return [message.header]

    def _fill(self, peer: int, tensor: Tensor, message: Message) -> None:
        target = bytes_of(tensor)
        check_header(peer, message.header, self._received.get(peer, 0), len(target))
        self._received[peer] = self._received.get(peer, 0) + 1
        if message.payload:
            target[:] = message.payload
        if self.transcript is not None:
            self.transcript.append(Received(sender=peer, header=message.header, payload=tensor.clone()))


def in_process_links(
    parties: int, *, deadline_s: float = 60.0, seed: int | None = None, latency_s: float | None = None
) -> list[InProcessLink]:
    """Return the connected links of the parties 0..parties-1 and, last, of the board.

    With a `seed` each message takes a time between 0 and `latency_s` (default: a hundredth of the deadline) of its own.
    """
    ranks = [*range(parties), BOARD]
    hub = _Hub(ranks, seed=seed, latency_s=deadline_s / 100 if latency_s is None else latency_s)
    return [InProcessLink(rank, hub, deadline_s=deadline_s) for rank in ranks]
