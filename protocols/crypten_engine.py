# CrypTen has no type information.
# pyright: reportUnknownVariableType=false
"""The only import of CrypTen: a version shim, and a world in which its collectives run on our links."""

import contextvars
import importlib
import sys
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor

from protocols.link_communicator import LinkCommunicator
from protocols.network import Link

__all__ = ["reveal", "stock_sum", "world"]


def _alias_moved_module() -> None:
    # CrypTen 0.4.1 imports torch.onnx._internal.registration, which torch 2.9 moved.
    old = "torch.onnx._internal.registration"
    try:
        importlib.import_module(old)
    except ModuleNotFoundError:
        sys.modules[old] = importlib.import_module("torch.onnx._internal.torchscript_exporter.registration")


_alias_moved_module()
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # deprecations inside CrypTen's own imports
    import crypten
    import crypten.communicator
    from crypten.mpc.primitives import ArithmeticSharedTensor


class _Generators:
    """CrypTen's table of generators, one table a party where CrypTen has one a process.

    Parties that are threads of one process would otherwise draw from each other's generators, and their shares
    of zero would not add up to zero.
    """

    def keys(self) -> list[str]:
        """The names of CrypTen's generators."""
        return list(_tables.get())

    def __getitem__(self, name: str) -> dict[torch.device, torch.Generator]:
        return _tables.get()[name]


_tables: contextvars.ContextVar[dict[str, dict[torch.device, torch.Generator]]] = contextvars.ContextVar("generators")
_current: contextvars.ContextVar[LinkCommunicator | None] = contextvars.ContextVar("communicator", default=None)


def _get() -> LinkCommunicator:
    communicator = _current.get()
    if communicator is None:
        raise RuntimeError("CrypTen is used outside `with world(...)`, so it has no parties to talk to")
    return communicator


# CrypTen asks its module for the communicator at each use; a context variable gives every thread its own,
# where CrypTen's own global would be shared by all parties of one process.
crypten.communicator.get = _get
crypten.generators = _Generators()


@contextmanager
def world(link: Link, parties: int) -> Generator[None, None, None]:
    """Let CrypTen's collectives of this thread run over the link, among the parties 0..parties-1."""
    communicator = _current.set(LinkCommunicator(link, parties))
    generators = _tables.set({name: {} for name in ("prev", "next", "local", "global")})
    try:
        yield
    finally:
        _tables.reset(generators)
        _current.reset(communicator)


def reveal(link: Link, parties: int, share: Tensor, *, fraction_bits: int) -> Tensor:
    """Return the ring words that CrypTen opens from this party's arithmetic share, int64, not decoded.

    CrypTen's own decoding is off by one for some negative numbers, so decoding is left to FixedPoint.
    """
    with world(link, parties):
        shared = ArithmeticSharedTensor.from_shares(share.as_subclass(_Uncopied), precision=fraction_bits)
        opened = shared.reveal()
    return cast(Tensor, opened)


class _Uncopied(Tensor):
    """A share that CrypTen opens without copying it first: our all_reduce leaves what it is given as it is."""

    def clone(self, *, memory_format: torch.memory_format | None = None) -> Tensor:  # noqa: ARG002
        """Return the share itself."""
        return self.as_subclass(Tensor)


def stock_sum(link: Link, parties: int, words: Tensor) -> Tensor:
    """Return the sum of all parties' int64 words as CrypTen adds them by itself: its seeds, its shares of zero.

    Each party's words are shared in turn by that party, the shares are added, and the sum is opened.
    """
    with world(link, parties):
        crypten._setup_prng()  # pyright: ignore[reportPrivateUsage] - what crypten.init() does after connecting
        shared = [
            ArithmeticSharedTensor(words if link.rank == owner else None, words.shape, precision=0, src=owner)
            for owner in range(parties)
        ]
        opened = sum(shared[1:], start=shared[0]).reveal()
    return cast(Tensor, opened)
