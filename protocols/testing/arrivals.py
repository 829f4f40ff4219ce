"""Links whose messages arrive in a chosen order: what comes next is a small integer wherever there is a choice.

A message that was sent is on its way until it arrives; those of one sender to one receiver keep their order, and the
end of a closed connection is the last of them. A party runs on, alone, as far as it can with what has arrived. When
all wait, one event happens: a message on its way arrives, any of them; where none is on its way, a deadline passes,
one of those that are due first. So messages arrive in time and in any order, a fair schedule. Parties that run side
by side share nothing but messages, so that running one of them up to its next wait loses no schedule.

A schedule is the list of these choices, in the order of the events that have more than one candidate. Choices that
are too large mean the last candidate, and where the list ends the first one is taken: every list is a schedule.
"""

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from protocols.check import CloisterError
from protocols.in_process_link import Channel, InProcessLink, Message
from protocols.network import BOARD, Header, PartyCrashedError, name_of

__all__ = ["EVERYBODY", "Event", "Order", "Point", "order_of"]

EVERYBODY = -2
"""The focus of an order that branches wherever it can."""


class Event(NamedTuple):
    """What may happen next: a message (or the end of all of them) arrives, or a deadline passes at a receiver."""

    kind: Literal["arrival", "deadline"]
    receiver: int
    sender: int


@dataclass(frozen=True, kw_only=True)
class Point:
    """A choice between several events: which places in their list are worth a branch, which one was taken, and where.

    `state` is a digest of all that decides what can happen from here on.
    """

    branches: tuple[int, ...]
    taken: int
    state: bytes


class Order:
    """One schedule: which event comes next wherever several may; it remembers the points at which it chose.

    With a `focus` only arrivals at that party are worth a branch, when all others have got everything and wait, and
    deadlines that are due at the same time. `read` are digests of what each party has read and sent, in its order;
    with `contents` False of who sent what length to whom only, for protocols that draw randomness of their own.

    Guarantees:
        The choices of a run give the same run again, where all of its randomness repeats.
        Every list of choices is a schedule in which messages of one sender to one receiver keep their order.
        A deadline passes only when nothing is on its way to those that run.
    """

    def __init__(self, choices: Sequence[int] = (), *, focus: int = EVERYBODY, contents: bool = True) -> None:
        self.points: list[Point] = []
        self._passed: list[int] = []
        self.contents = contents
        self._choices = choices
        self._focus = focus
        self._hubs: list[_OrderedHub] = []

    @property
    def taken(self) -> tuple[int, ...]:
        """The choices of the run, without the zeros at its end."""
        chosen = [point.taken for point in self.points]
        while chosen and not chosen[-1]:
            chosen.pop()
        return tuple(chosen)

    @property
    def read(self) -> tuple[bytes, ...]:
        """What each party has read and sent."""
        return tuple(log for hub in self._hubs for log in hub.logs())

    @property
    def deadlines(self) -> tuple[int, ...]:
        """At whom deadlines have passed, in their order."""
        return tuple(self._passed)

    def links(self, parties: int, deadline_s: float) -> list[InProcessLink]:
        """Return links whose messages arrive in this order; see in_process_links."""
        ranks = [*range(parties), BOARD]
        hub = _OrderedHub(ranks, self)
        self._hubs.append(hub)
        return [InProcessLink(rank, hub, deadline_s=deadline_s) for rank in ranks]

    def choose(self, events: Sequence[Event], state: Callable[[], bytes]) -> Event:
        """Return the event that happens, of one or more."""
        event = events[0] if len(events) == 1 else events[self._taken(events, state)]
        if event.kind == "deadline":
            self._passed.append(event.receiver)
        return event

    def _taken(self, events: Sequence[Event], state: Callable[[], bytes]) -> int:
        branches = self._branches(events)
        place = len(self.points)
        taken = min(self._choices[place], len(events) - 1) if place < len(self._choices) else branches[0]
        self.points.append(Point(branches=branches, taken=taken, state=state() if len(branches) > 1 else b""))
        return taken

    def _branches(self, events: Sequence[Event]) -> tuple[int, ...]:
        others = [place for place, event in enumerate(events) if event.receiver != self._focus]
        at_focus = self._focus == EVERYBODY or not others or events[0].kind == "deadline"
        return tuple(range(len(events))) if at_focus else (others[0],)


class _Arrived(NamedTuple):
    """What has arrived and is not read yet; no message: the sender has closed its connections."""

    sender: int
    message: Message | None


class _OrderedHub:
    """See protocols.in_process_link.Hub: messages arrive in the order that is chosen when all parties wait."""

    def __init__(self, ranks: Sequence[int], order: Order) -> None:
        self._lock = threading.RLock()
        self._changed = {rank: threading.Condition(self._lock) for rank in ranks}
        self._on_the_way: dict[Channel, deque[Message | None]] = {
            (a, b): deque() for b in sorted(ranks) for a in sorted(ranks) if a != b
        }
        self._arrived: dict[int, list[_Arrived]] = {rank: [] for rank in ranks}
        self._logs = {rank: hashlib.blake2b(digest_size=16) for rank in sorted(ranks)}
        self._running = set(ranks)
        self._waiting: dict[int, tuple[float, int]] = {}
        self._timed_out: set[int] = set()
        self._order = order

    def logs(self) -> list[bytes]:
        return [log.digest() for log in self._logs.values()]

    def run(self, ranks: set[int]) -> None:
        with self._lock:
            self._running = set(ranks)

    @contextmanager
    def turn(self) -> Generator[None, None, None]:
        with self._lock:
            yield

    def post(self, channel: Channel, header: Header, payload: bytes, now: float) -> None:
        sender, receiver = channel
        with self._lock:
            self._on_the_way[channel].append(Message(header=header, payload=payload, arrives=now))
            self._note(sender, "sends", receiver, header, payload)

    def leave(self, rank: int, *, closed: bool) -> None:
        with self._lock:
            self._running.discard(rank)
            self._note(rank, "closes" if closed else "finishes")
            for (sender, _), messages in self._on_the_way.items():
                if sender == rank and closed:
                    messages.append(None)
            self._go_on()

    def take(self, channel: Channel, due: float, patience_s: float) -> Message | None:
        sender, receiver = channel
        with self._lock:
            while (place := self._place(receiver, sender)) is None:
                if receiver in self._timed_out:
                    self._timed_out.discard(receiver)
                    del self._waiting[receiver]
                    self._note(receiver, "waits in vain for", sender)
                    return None
                self._waiting[receiver] = (due, sender)
                self._go_on()
                if self._waits(receiver):
                    self._changed[receiver].wait(patience_s)
            origin, message = self._arrived[receiver][place]
            if message is None:
                self._note(receiver, "finds closed", origin)
                raise PartyCrashedError(f"{name_of(sender)} closed its connection")
            del self._arrived[receiver][place]
            self._note(receiver, "reads", origin, message.header, message.payload)
            return message if message.arrives <= due else None

    def _place(self, receiver: int, sender: int) -> int | None:
        """Return the place of the sender's next message among what has arrived, None where nothing has."""
        return next((n for n, each in enumerate(self._arrived[receiver]) if each.sender == sender), None)

    def _waits(self, receiver: int) -> bool:
        return receiver in self._waiting and receiver not in self._timed_out

    def _go_on(self) -> None:
        """Let events happen until one of those that run has something to do."""
        while self._running and all(map(self._waits, self._running)):
            event = self._order.choose(self._events(), self._state)
            if event.kind == "deadline":
                self._timed_out.add(event.receiver)
            else:
                message = self._on_the_way[event.sender, event.receiver].popleft()
                self._arrived[event.receiver].append(_Arrived(event.sender, message))
                # A message wakes its receiver where it is what the receiver waits for.
                if self._place(event.receiver, self._waiting[event.receiver][1]) is None:
                    continue
                del self._waiting[event.receiver]
            self._changed[event.receiver].notify()

    def _events(self) -> list[Event]:
        """Return what may happen next at those that run, by receiver and sender: arrivals, else the first deadlines."""
        arrivals = [
            Event("arrival", receiver, sender)
            for (sender, receiver), messages in self._on_the_way.items()
            if messages and receiver in self._running
        ]
        first = min(self._waiting[rank][0] for rank in self._running)
        due = [rank for rank in sorted(self._running) if self._waiting[rank][0] == first]
        return arrivals or [Event("deadline", rank, self._waiting[rank][1]) for rank in due]

    def _state(self) -> bytes:
        unread = {rank: [each.sender for each in arrived] for rank, arrived in self._arrived.items()}
        on_the_way = [len(messages) for messages in self._on_the_way.values()]
        said = f"{sorted(self._running)} {sorted(self._waiting.items())} {sorted(unread.items())} {on_the_way}"
        return hashlib.blake2b(said.encode() + b"".join(self.logs()), digest_size=16).digest()

    def _note(
        self, rank: int, what: str, peer: int | None = None, header: Header | None = None, payload: bytes = b""
    ) -> None:
        self._logs[rank].update(f"{what} {peer} {header} ".encode())
        if self._order.contents:
            self._logs[rank].update(payload)


def order_of(given: object) -> tuple[int, ...] | None:
    """Return the choices that a line of text gives, None for none. Raises: CloisterError for what is no schedule."""
    if given is None:
        return None
    choices = cast(list[object], given) if isinstance(given, list) else [given]
    if not isinstance(given, list) or not all(type(choice) is int and choice >= 0 for choice in choices):
        raise CloisterError(f"order = {given!r} is not allowed; allowed: a list of integers >= 0")
    return tuple(cast(list[int], choices))
