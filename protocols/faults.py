"""What a faulty party does to the messages that it sends; everything else of it follows the protocol.

Each fault acts in one exchange of a batch, number `step`, on messages of any size, to members and to the board.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from protocols import check
from protocols.faulty_link import Batches, Fault, FaultyLink, Kind, Messages, Pause
from protocols.network import BOARD, PartyCrashedError
from protocols.randomness import public_stream

__all__ = [
    "Batches",
    "Combined",
    "Crash",
    "Delay",
    "Duplicate",
    "Equivocate",
    "Fault",
    "FaultyLink",
    "Garbage",
    "Kind",
    "Messages",
    "Mute",
    "Pause",
    "Replay",
    "Tamper",
    "Truncate",
    "Width",
    "WrongCluster",
    "WrongDtype",
    "pauses",
]


@dataclass(frozen=True, kw_only=True)
class Crash:
    """The party is gone before it sends in this exchange, or after the first `after` of its messages.

    Messages leave in the order of ranks, the board's last.
    """

    kind: ClassVar[Kind] = "crash"
    step: int
    after: int | None = None

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> Iterator[Messages]:  # noqa: ARG002
        """See Fault."""
        if step == self.step:
            last = sorted(outgoing, key=lambda peer: (peer == BOARD, peer))[: self.after or 0]
            yield {peer: outgoing[peer] for peer in last}
            raise PartyCrashedError("this party crashes, as its fault says")
        yield outgoing


@dataclass(frozen=True, kw_only=True)
class Mute:
    """The party sends nothing in this exchange, or nothing to one peer only, and goes on afterwards.

    A dead or slow party is a Crash or a Delay; one that is silent once and then on time again is neither.
    """

    kind: ClassVar[Kind] = "byzantine"
    step: int
    to: int | None = None

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        if step != self.step:
            return [outgoing]
        return [] if self.to is None else [{peer: tensor for peer, tensor in outgoing.items() if peer != self.to}]


@dataclass(frozen=True, kw_only=True)
class Delay:
    """The party is slow: it sends its messages of this exchange so many seconds late, beyond the deadline in vain."""

    kind: ClassVar[Kind] = "crash"
    step: int
    seconds: float

    def __post_init__(self) -> None:
        check.non_negative(seconds=self.seconds)

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages | Pause]:  # noqa: ARG002
        """See Fault."""
        return [Pause(seconds=self.seconds), outgoing] if step == self.step else [outgoing]


@dataclass(frozen=True, kw_only=True)
class Duplicate:
    """The party sends everything twice in this exchange."""

    kind: ClassVar[Kind] = "byzantine"
    step: int

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        return [outgoing, outgoing] if step == self.step else [outgoing]


@dataclass(frozen=True, kw_only=True)
class Replay:
    """The party sends what it sent in the exchange before, or in this exchange of an older batch, instead of this.

    `batches_back` is how many batches ago; where it then sent nothing, it follows the protocol.
    """

    kind: ClassVar[Kind] = "byzantine"
    step: int
    batches_back: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, batches_back=self.batches_back)

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:
        """See Fault."""
        batch = batches[-1 - self.batches_back] if self.batches_back < len(batches) else ()
        place = step if self.batches_back else step - 1
        return [batch[place]] if step == self.step and 0 <= place < len(batch) else [outgoing]


@dataclass(frozen=True, kw_only=True)
class Equivocate:
    """The party sends other words (`delta` added) to the peers in `to` than to the others in this exchange."""

    kind: ClassVar[Kind] = "byzantine"
    step: int
    delta: int
    to: frozenset[int]

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        return _changed(step == self.step, outgoing, self.to, lambda _, tensor: _shifted(tensor, self.delta, None))


@dataclass(frozen=True, kw_only=True)
class Tamper:
    """The party adds `delta` to words that it sends in this exchange: to all of them, or to the one at place `word`.

    To one peer only where `to` is given. A negative `word` counts from the message's end; places beyond either
    end go round. In messages of bytes, the bits of `delta` modulo 256 are flipped (all bits if none is set).
    """

    kind: ClassVar[Kind] = "byzantine"
    step: int
    delta: int
    to: int | None = None
    word: int | None = None

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        to = outgoing.keys() if self.to is None else {self.to}
        return _changed(step == self.step, outgoing, to, lambda _, tensor: _shifted(tensor, self.delta, self.word))


@dataclass(frozen=True, kw_only=True)
class Truncate:
    """The party leaves out the second half of each message of this exchange."""

    kind: ClassVar[Kind] = "byzantine"
    step: int

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        return _changed(
            step == self.step, outgoing, outgoing.keys(), lambda _, tensor: tensor.flatten()[: tensor.numel() // 2]
        )


@dataclass(frozen=True, kw_only=True)
class Garbage:
    """The party sends random bytes in this exchange, `excess_bytes` more than it should (fewer if negative)."""

    kind: ClassVar[Kind] = "byzantine"
    step: int
    seed: int = 0
    excess_bytes: int = 1

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:  # noqa: ARG002
        """See Fault."""

        def garbage(peer: int, tensor: Tensor) -> Tensor:
            length = max(tensor.nbytes + self.excess_bytes, 0)
            stream = public_stream(self.seed, "garbage", step, peer)
            return torch.frombuffer(bytearray(stream.bytes(length)) or bytearray(1), dtype=torch.uint8)[:length]

        return _changed(step == self.step, outgoing, outgoing.keys(), garbage)


Width = Literal["half", "same", "double"]


@dataclass(frozen=True, kw_only=True)
class WrongDtype:
    """The party sends its numbers of this exchange in another type: half as wide, as floats, or twice as wide."""

    kind: ClassVar[Kind] = "byzantine"
    step: int
    width: Width = "same"

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        return _changed(
            step == self.step, outgoing, outgoing.keys(), lambda _, tensor: _retyped(tensor.flatten(), self.width)
        )


@dataclass(frozen=True, kw_only=True)
class WrongCluster:
    """The party swaps the parts of two clusters in each message of this exchange that has a part for each cluster.

    A message whose size is no multiple of the number of clusters stays as it is.
    """

    kind: ClassVar[Kind] = "byzantine"
    step: int
    clusters: int
    first: int = 0
    second: int = 1

    def __post_init__(self) -> None:
        check.integer_at_least(2, clusters=self.clusters)
        check.integer_at_least(0, first=self.first, second=self.second)

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:  # noqa: ARG002
        """See Fault."""

        def swapped(_: int, tensor: Tensor) -> Tensor:
            if tensor.numel() % self.clusters:
                return tensor
            rows = tensor.reshape(self.clusters, tensor.numel() // self.clusters).clone()
            places = [self.first % self.clusters, self.second % self.clusters]
            rows[places] = rows[places[::-1]]
            return rows

        return _changed(step == self.step, outgoing, outgoing.keys(), swapped)


@dataclass(frozen=True, kw_only=True)
class Combined:
    """The party has several faults: each acts on what the ones before it let through."""

    kind: ClassVar[Kind] = "byzantine"
    faults: tuple[Fault, ...]

    @property
    def step(self) -> int:
        """See Fault."""
        return min(fault.step for fault in self.faults)

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> Iterator[Messages | Pause]:
        """See Fault."""
        sent: Iterable[Messages | Pause] = [outgoing]
        for fault in self.faults:
            sent = _through(fault, step, sent, batches)
        yield from sent


def pauses(fault: Fault) -> bool:
    """Return whether a party with this fault may let time pass before it sends."""
    return isinstance(fault, Delay) or (isinstance(fault, Combined) and any(map(pauses, fault.faults)))


def _through(fault: Fault, step: int, sent: Iterable[Messages | Pause], batches: Batches) -> Iterator[Messages | Pause]:
    for item in sent:
        if isinstance(item, Pause):
            yield item
        else:
            yield from fault(step, item, batches)


def _changed(
    acts: bool, outgoing: Messages, to: Collection[int], change: Callable[[int, Tensor], Tensor]
) -> list[Messages]:
    if not acts:
        return [outgoing]
    return [{peer: change(peer, tensor) if peer in to else tensor for peer, tensor in outgoing.items()}]


def _shifted(tensor: Tensor, delta: int, word: int | None) -> Tensor:
    if tensor.numel() == 0:
        return tensor
    flat = tensor.flatten().clone()
    chosen = flat if word is None else flat[word % len(flat)]
    if tensor.dtype == torch.uint8:
        chosen.bitwise_xor_(delta % 256 or 255)
    else:
        chosen.add_((delta + 2**63) % 2**64 - 2**63)
    return flat.view(tensor.shape)


def _retyped(flat: Tensor, width: Width) -> Tensor:
    """Return a flat message of words or bytes as bytes: half as many, as many, or twice as many."""
    if flat.dtype != torch.uint8:
        types = {"half": torch.int32, "same": torch.float64, "double": torch.complex128}
    else:
        types = {"half": torch.uint8, "same": torch.float8_e4m3fn, "double": torch.int16}
        if width == "half":  # no type is narrower: two numbers in a byte, four bits of each
            pairs = torch.cat([flat, flat.new_zeros(len(flat) % 2)]).view(-1, 2)
            flat = pairs[:, 0] % 16 + pairs[:, 1] % 16 * 16
    return flat.to(types[width]).view(torch.uint8)
