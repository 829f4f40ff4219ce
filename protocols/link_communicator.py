"""CrypTen's communicator over our links: every collective metered, with deadlines, faults and typed errors."""

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import cast, overload

import torch
from torch import Tensor
from torch.distributed import ReduceOp

from protocols.check import CloisterError
from protocols.network import Link

__all__ = ["LinkCommunicator"]

_SIZES = torch.int64


def _sum(rows: Tensor) -> Tensor:
    return rows.sum(dim=0, dtype=rows.dtype)


def _xor(rows: Tensor) -> Tensor:
    total = rows[0].clone()
    for row in rows[1:]:  # a row for each party
        total ^= row
    return total


_OPERATIONS: Mapping[object, Callable[[Tensor], Tensor]] = MappingProxyType({ReduceOp.SUM: _sum, ReduceOp.BXOR: _xor})


class LinkCommunicator:
    """CrypTen's communicator interface over a Link, for tensors of any shape and type.

    Guarantees:
        all_reduce returns the sum modulo 2^64 at every party, each coordinate summed by exactly one of them.
        A cluster (row) of a batch sends the same words as if it ran alone.
        Every collective returns what CrypTen's communicator over torch.distributed returns; tensors that are given
        are left as they are, but for those that broadcast and irecv fill.
        No pickle crosses the wire: of objects only the sizes of tensors are sent.

    Raises: CloisterError for an operation other than SUM and BXOR, an unnamed sender, and objects; NetworkError.
    """

    def __init__(self, link: Link, parties: int) -> None:
        self._link = link
        self._parties = parties

    def get_rank(self) -> int:
        """Return this party's rank."""
        return self._link.rank

    def get_world_size(self) -> int:
        """Return the number of parties."""
        return self._parties

    def send(self, tensor: Tensor, dst: int) -> None:
        """Send the tensor to one party."""
        self._link.exchange({dst: _flat(tensor)}, {})

    def recv(self, tensor: Tensor, src: int | None = None) -> Tensor:
        """Return what `src` sends, of the shape and type of `tensor`."""
        if src is None:
            raise CloisterError("src = None is not allowed; allowed: the rank of the party that sends")
        received = torch.empty_like(tensor, memory_format=torch.contiguous_format)
        self._link.exchange({}, {src: received.view(-1)})
        return received

    def isend(self, tensor: Tensor, dst: int) -> "_Pending":
        """Send at once; CrypTen uses it for seeds, which no socket buffer is too small for."""
        self.send(tensor, dst)
        return _Pending(lambda: None)

    def irecv(self, tensor: Tensor, src: int) -> "_Pending":
        """Fill the tensor when it is waited for."""
        return _Pending(lambda: self._link.exchange({}, {src: tensor.view(-1)}))

    def scatter(
        self,
        scatter_list: Sequence[Tensor],
        src: int,
        size: Sequence[int] | None = None,
        device: object = None,  # noqa: ARG002 - CrypTen passes it
    ) -> Tensor:
        """Return this party's tensor of the list of party `src`; the others know its size, or hold a list like it."""
        rank = self._link.rank
        if rank == src:
            self._link.exchange({peer: _flat(scatter_list[peer]) for peer in self._peers()}, {})
            return scatter_list[rank]
        like = torch.empty(tuple(scatter_list[rank].shape) if size is None else tuple(size), dtype=torch.int64)
        return self.recv(like, src)

    def gather(self, tensor: Tensor, dst: int) -> Sequence[Tensor | None]:
        """Return the tensors of all parties, by rank, at party `dst`, and [None] at the others."""
        if self._link.rank != dst:
            self.send(tensor, dst)
            return [None]
        return list(self._gathered(tensor, {}))

    def all_gather(self, tensor: Tensor) -> list[Tensor]:
        """Return the tensors of all parties, by rank."""
        return list(self._gathered(tensor, dict.fromkeys(self._peers(), _flat(tensor))))

    @overload
    def broadcast(self, tensor: Tensor, src: int) -> Tensor: ...

    @overload
    def broadcast(self, tensor: list[Tensor], src: int, *, batched: bool) -> list[Tensor]: ...

    def broadcast(self, tensor: Tensor | list[Tensor], src: int, *, batched: bool = False) -> Tensor | list[Tensor]:
        """Return the tensor of party `src` at every party, or the list of its tensors."""
        for each in cast(list[Tensor], tensor) if batched else [cast(Tensor, tensor)]:
            if self._link.rank == src:
                self._link.exchange(dict.fromkeys(self._peers(), _flat(each)), {})
            else:
                each.copy_(self.recv(each, src))
        return tensor

    @overload
    def reduce(self, words: Tensor, dst: int, op: object = ReduceOp.SUM) -> Tensor | None: ...

    @overload
    def reduce(
        self, words: list[Tensor], dst: int, op: object = ReduceOp.SUM, *, batched: bool
    ) -> list[Tensor] | None: ...

    def reduce(
        self, words: Tensor | list[Tensor], dst: int, op: object = ReduceOp.SUM, *, batched: bool = False
    ) -> Tensor | list[Tensor] | None:
        """Return the sum (or exclusive or) over the parties at party `dst`, and None at the others."""
        joined = _joined(words) if batched else cast(Tensor, words)
        combine = _operation(op)
        if self._link.rank != dst:
            self.send(joined, dst)
            return None
        total = combine(self._gathered(joined, {}))
        return _parted(total, cast(list[Tensor], words)) if batched else total

    @overload
    def all_reduce(self, words: Tensor, op: object = ReduceOp.SUM) -> Tensor: ...

    @overload
    def all_reduce(self, words: list[Tensor], op: object = ReduceOp.SUM, *, batched: bool) -> list[Tensor]: ...

    def all_reduce(
        self, words: Tensor | list[Tensor], op: object = ReduceOp.SUM, *, batched: bool = False
    ) -> Tensor | list[Tensor]:
        """Return the sum (or exclusive or) over parties of words of shape (clusters, coordinates), or any other one.

        Party j collects and adds the j-th part of the coordinates, then hands its part to all: 2 (c - 1) words
        a coordinate in all, where sending every share to every party would take c (c - 1).
        """
        if batched:
            lists = cast(list[Tensor], words)
            return _parted(self.all_reduce(_joined(lists), op), lists)
        tensor = cast(Tensor, words)
        rows = tensor if tensor.dim() else tensor.view(1)
        mine = self._reduce_scatter(torch.tensor_split(rows, self._parties, dim=-1), _operation(op))
        opened = torch.empty_like(rows, memory_format=torch.contiguous_format)
        self._hand_to_all(mine, torch.tensor_split(opened, self._parties, dim=-1))
        return opened.view(tensor.shape)

    def barrier(self) -> None:
        """Return when all parties are here."""
        self.all_gather(torch.zeros(1, dtype=_SIZES))

    def broadcast_obj(self, size: Sequence[int] | None, src: int) -> torch.Size:
        """Return the size of a tensor that party `src` names, at every party."""
        mine = self._link.rank == src
        if mine and not (isinstance(size, tuple) and all(type(each) is int for each in size)):
            raise CloisterError(
                f"a {type(size).__name__} cannot be broadcast; allowed: the size of a tensor (pickles run code)"
            )
        dimensions = self.broadcast(torch.tensor(len(size or ()) if mine else 0), src)
        sizes = torch.tensor(tuple(size or ()), dtype=_SIZES) if mine else torch.zeros(int(dimensions), dtype=_SIZES)
        return torch.Size(int(each) for each in self.broadcast(sizes, src))

    def _peers(self) -> list[int]:
        return [peer for peer in range(self._parties) if peer != self._link.rank]

    def _gathered(self, tensor: Tensor, outgoing: Mapping[int, Tensor]) -> Tensor:
        """Return the tensors of all parties (parties, ...), while this one's goes out.

        They are received in their shape: transcripts, and what checks make of them, tell clusters apart by it.
        """
        rows = torch.empty(self._parties, *tensor.shape, dtype=tensor.dtype)
        rows[self._link.rank] = tensor
        received = rows if tensor.dim() else rows.view(-1, 1)
        self._link.exchange(outgoing, {peer: received[peer] for peer in self._peers()})
        return rows

    def _reduce_scatter(self, parts: tuple[Tensor, ...], combine: Callable[[Tensor], Tensor]) -> Tensor:
        return combine(self._gathered(parts[self._link.rank], {peer: parts[peer] for peer in self._peers()}))

    def _hand_to_all(self, mine: Tensor, opened: tuple[Tensor, ...]) -> None:
        """Fill the parts of the opened words, straight from the wire where a part lies in one piece."""
        peers = self._peers()
        received = {peer: opened[peer].contiguous() for peer in peers}
        self._link.exchange(dict.fromkeys(peers, mine), received)
        opened[self._link.rank].copy_(mine)
        for peer in peers:
            if received[peer].data_ptr() != opened[peer].data_ptr():
                opened[peer].copy_(received[peer])


class _Pending:
    """What isend and irecv return."""

    def __init__(self, finish: Callable[[], None]) -> None:
        self._finish = finish

    def wait(self) -> None:
        """Block until the message is sent or received."""
        self._finish()


def _operation(op: object) -> Callable[[Tensor], Tensor]:
    if op not in _OPERATIONS:
        raise CloisterError(f"op = {op} is not allowed; allowed: ReduceOp.SUM, ReduceOp.BXOR")
    return _OPERATIONS[op]


def _flat(tensor: Tensor) -> Tensor:
    return tensor.detach().reshape(-1)


def _joined(tensors: Tensor | list[Tensor]) -> Tensor:
    """Return the elements of tensors of one type in one row, so that a batch is one message."""
    rows = [tensor.reshape(-1) for tensor in tensors]
    if len({row.dtype for row in rows}) > 1:
        raise CloisterError(f"a batch of {[row.dtype for row in rows]} is not allowed; allowed: tensors of one type")
    return torch.cat(rows)


def _parted(row: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Return the row as tensors of these shapes."""
    parts = torch.split(row, [tensor.numel() for tensor in like])
    return [part.view(tensor.shape) for part, tensor in zip(parts, like, strict=True)]
