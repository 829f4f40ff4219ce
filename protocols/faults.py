"""What a faulty party does to the messages that it sends; everything else of it follows the protocol."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from protocols.network import Link, Meter, PartyCrashedError

__all__ = ["Crash", "Duplicate", "Fault", "FaultyLink", "Garbage", "Mute", "Replay", "Tamper", "Truncate"]

Messages = Mapping[int, Tensor]


class Fault(Protocol):
    """Changes the messages of one exchange."""

    def __call__(self, step: int, outgoing: Messages, earlier: list[Messages]) -> list[Messages]:
        """Return what is sent instead of `outgoing` in exchange number `step`: none, one or more sets of messages.

        `earlier` are the sets of messages that this party's protocol wanted to send before, oldest first.
        """
        ...


class FaultyLink:
    """A link whose outgoing messages pass through a fault."""

    def __init__(self, link: Link, fault: Fault) -> None:
        self._link = link
        self._fault = fault
        self._earlier: list[Messages] = []

    @property
    def rank(self) -> int:
        """See Link."""
        return self._link.rank

    @property
    def meter(self) -> Meter:
        """See Link."""
        return self._link.meter

    def exchange(self, outgoing: Messages, incoming: Messages) -> None:
        """See Link.exchange."""
        sent = self._fault(len(self._earlier), outgoing, self._earlier)
        self._earlier.append({peer: tensor.clone() for peer, tensor in outgoing.items()})
        for messages in sent:
            self._link.exchange(messages, {})
        self._link.exchange({}, incoming)


@dataclass(frozen=True, kw_only=True)
class Crash:
    """The party is gone before it sends in this exchange."""

    step: int

    def __call__(self, step: int, outgoing: Messages, earlier: list[Messages]) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        if step == self.step:
            raise PartyCrashedError("this party crashes, as its fault says")
        return [outgoing]


@dataclass(frozen=True, kw_only=True)
class Mute:
    """The party sends nothing in this exchange and goes on receiving."""

    step: int

    def __call__(self, step: int, outgoing: Messages, earlier: list[Messages]) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        return [] if step == self.step else [outgoing]


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """The party sends everything twice in this exchange."""

    step: int

    def __call__(self, step: int, outgoing: Messages, earlier: list[Messages]) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        return [outgoing, outgoing] if step == self.step else [outgoing]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The party sends what it sent in the exchange before, instead of this one's messages."""

    step: int

    def __call__(self, step: int, outgoing: Messages, earlier: list[Messages]) -> list[Messages]:
        """See Fault."""
        return [earlier[-1]] if step == self.step and earlier else [outgoing]


@dataclass(frozen=True, kw_only=True)
class Truncate:
    """The party leaves out the second half of each message of this exchange."""

    step: int

    def __call__(self, step: int, outgoing: Messages, earlier: list[Messages]) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        if step != self.step:
            return [outgoing]
        return [{peer: tensor.flatten()[: tensor.numel() // 2] for peer, tensor in outgoing.items()}]


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """The party sends one byte more than it should, all zeros."""

    step: int

    def __call__(self, step: int, outgoing: Messages, earlier: list[Messages]) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        if step != self.step:
            return [outgoing]
        return [{peer: torch.zeros(tensor.nbytes + 1, dtype=torch.uint8) for peer, tensor in outgoing.items()}]


@dataclass(frozen=True, kw_only=True)
class Tamper:
    """The party adds `delta` to each word that it sends in this exchange, to one peer only where `to` is given."""

    step: int
    delta: int
    to: int | None = None

    def __call__(self, step: int, outgoing: Messages, earlier: list[Messages]) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        if step != self.step:
            return [outgoing]
        return [{peer: tensor + self.delta if self.to in (None, peer) else tensor for peer, tensor in outgoing.items()}]
