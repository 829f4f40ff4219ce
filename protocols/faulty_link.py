"""A link whose party is faulty: what it wants to send passes through a fault.

An exchange is one call of a link, counted from 0 in each batch; a fault acts in one of them. A batch is what
`Link.begin` starts: one run of a protocol, hence one round of a cluster.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol

from torch import Tensor

from protocols.network import Link, Meter, NetworkError

__all__ = ["Batches", "Fault", "FaultyLink", "Kind", "Messages", "Pause"]

Messages = Mapping[int, Tensor]
"""What is sent to each peer (BOARD among them) in one exchange."""
Batches = Sequence[Sequence[Messages]]
"""What a party's protocol wanted to send: [-1] in each exchange of this batch up to now, [-2] in the batch before."""
Kind = Literal["crash", "byzantine"]
_REMEMBERED_BATCHES = 4


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

    def __init__(self, link: Link, fault: Fault | None = None) -> None:
        self.fault = fault
        self._link = link
        self._batches: deque[list[Messages]] = deque([[]], maxlen=_REMEMBERED_BATCHES)

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
        self._batches.append([])
        self._link.begin()

    def skip(self, exchanges: int) -> None:
        """See Link.skip."""
        self._link.skip(exchanges)

    def pause(self, seconds: float) -> None:
        """See Link.pause."""
        self._link.pause(seconds)

    def exchange(self, outgoing: Messages, incoming: Messages) -> None:
        """See Link.exchange."""
        sent = self._faulty(outgoing)
        if sent is None:
            self._link.exchange(outgoing, incoming)
            return
        for messages in sent:
            self._link.exchange(messages, {})
        self._link.exchange({}, incoming)

    def try_exchange(self, outgoing: Messages, incoming: Messages) -> Mapping[int, NetworkError]:
        """See Link.try_exchange."""
        sent = self._faulty(outgoing)
        if sent is None:
            return self._link.try_exchange(outgoing, incoming)
        lost: dict[int, NetworkError] = {}
        for messages in sent:
            lost.update(self._link.try_exchange(messages, {}))
        lost.update(self._link.try_exchange({}, incoming))
        return lost

    def _faulty(self, outgoing: Messages) -> Iterator[Messages] | None:
        """Remember the messages; return what is sent instead of them, or None where nothing is changed."""
        here = self._batches[-1]
        step = len(here)
        here.append({peer: tensor.clone() for peer, tensor in outgoing.items()})
        return None if self.fault is None else self._paused(self.fault(step, outgoing, list(self._batches)))

    def _paused(self, sent: Iterable[Messages | Pause]) -> Iterator[Messages]:
        for item in sent:
            if isinstance(item, Pause):
                self._link.pause(item.seconds)
            else:
                yield item
