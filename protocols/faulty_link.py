"""A link whose party is faulty: what it wants to send passes through a fault.

An exchange is one call of a link, counted from 0 in each batch; a fault acts in one of them. A batch is what
`Link.begin` starts: one run of a protocol, hence one round of a cluster.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from torch import Tensor

from protocols.network import Link, Meter, NetworkError, PartyCrashedError

__all__ = ["Batches", "Fault", "FaultyLink", "Kind", "Messages", "Pause", "Sent"]

Messages = Mapping[int, Tensor]
"""What is sent to each peer (BOARD among them) in one exchange."""
Batches = Sequence[Sequence[Messages]]
"""What a party's protocol wanted to send: [-1] in each exchange of this batch up to now, [-2] in the batch before."""
Kind = Literal["crash", "byzantine"]
_REMEMBERED_BATCHES = 4


class Sent:
    """What one party's protocol wanted to send in its last batches; it outlives the links that it was sent over."""

    def __init__(self) -> None:
        self.batches: deque[list[Messages]] = deque([[]], maxlen=_REMEMBERED_BATCHES)


@dataclass(frozen=True, kw_only=True)
class Pause:
    """So much time passes before what is sent next."""

    seconds: float


class Fault(Protocol):
    """Changes the messages of one exchange.

    `kind` says as what a party with this fault counts: a crash needs no ill will, anything else is Byzantine.
    """

    kind: ClassVar[Kind]

    @property
    def step(self) -> int:
        """The exchange in which it acts, or the first of them."""
        ...

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> Iterable[Messages | Pause]:
        """Return what is sent instead of `outgoing` in exchange number `step`: none, one or more sets of messages.

        Raises: PartyCrashedError where the party is gone; what was returned before that has been sent.
        """
        ...


class FaultyLink:
    """A link whose outgoing messages pass through a fault, which may change from batch to batch.

    Guarantees:
        Without a fault it sends and receives what the link itself does.
        What its party wanted to send is remembered over batches, for faults that send it again.
    """

    def __init__(self, link: Link, fault: Fault | None = None, sent: Sent | None = None) -> None:
        """`sent` is what the party has sent over other links; None: nothing."""
        self.fault = fault
        self.sent = Sent() if sent is None else sent
        self._link = link

    @property
    def rank(self) -> int:
        """See Link."""
        return self._link.rank

    @property
    def meter(self) -> Meter:
        """See Link."""
        return self._link.meter

    def begin(self) -> None:
        """See Link.begin; exchanges count from 0 again."""
        self.sent.batches.append([])
        self._link.begin()

    def skip(self, exchanges: int) -> None:
        """See Link.skip."""
        self._link.skip(exchanges)

    def pause(self, seconds: float) -> None:
        """See Link.pause."""
        self._link.pause(seconds)

    def exchange(self, outgoing: Messages, incoming: Messages) -> None:
        """See Link.exchange."""
        last = self._send(outgoing, lambda messages: self._link.exchange(messages, {}))
        self._link.exchange(last, incoming)

    def try_exchange(self, outgoing: Messages, incoming: Messages) -> Mapping[int, NetworkError]:
        """See Link.try_exchange."""
        lost: dict[int, NetworkError] = {}
        last = self._send(outgoing, lambda messages: lost.update(self._link.try_exchange(messages, {})))
        lost.update(self._link.try_exchange(last, incoming))
        return lost

    def _send(self, outgoing: Messages, send: Callable[[Messages], None]) -> Messages:
        """Remember the messages, send what is sent instead of them, and return the last of it.

        The last leaves while others' messages come in, as without a fault: two parties that wait until all of theirs
        has left may wait for each other.
        """
        here = self.sent.batches[-1]
        step = len(here)
        here.append({peer: tensor.clone() for peer, tensor in outgoing.items()})
        if self.fault is None:
            return outgoing
        held: Messages = {}
        try:
            for item in self.fault(step, outgoing, list(self.sent.batches)):
                _send_held(held, send)
                held = {}
                if isinstance(item, Pause):
                    self._link.pause(item.seconds)
                else:
                    held = item
        except PartyCrashedError:
            _send_held(held, send)
            raise
        return held


def _send_held(held: Messages, send: Callable[[Messages], None]) -> None:
    if held:
        send(held)
