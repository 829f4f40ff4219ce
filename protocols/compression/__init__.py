"""What reduces the d coordinates of an update before it is shared, one compressor a file.

A compressor draws a code for a round from a public stream, the same for all processes. A linear code commutes with
every secure sum: the sum of compressed updates is the compressed sum, word for word; so masks, noise, robust
statistics and rules all work on k coordinates, and know nothing of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from torch import Tensor

from protocols.check import CloisterError
from protocols.registry import Registry

__all__ = ["PLAIN", "Code", "Compressor", "Plain", "check_share", "compressors", "corrected", "share_of"]


class Code(Protocol):
    """The map of one round, from d coordinates to k and back; whoever knows the public stream knows it."""

    def compress(self, updates: Tensor) -> Tensor:
        """Return the rows (n, k) that stand for updates (n, d), each made from its own row alone.

        The type and the device stay: float32 or float64, and for a linear compressor also int64 ring words, whose sums
        wrap around.
        """
        ...

    def decompress(self, rows: Tensor) -> Tensor:
        """Return the updates (m, d) that rows (m, k) stand for, of the type and on the device of the rows."""
        ...


class Compressor(Protocol):
    """Makes fewer coordinates of an update.

    Guarantees:
        Equal streams give equal codes.
    """

    @property
    def linear(self) -> bool:
        """Whether rows may be added, and compared coordinate by coordinate, without being decompressed."""
        ...

    @property
    def unbiased(self) -> bool:
        """Whether D(C(x)) is x on average over the codes, where C, D compress and decompress."""
        ...

    @property
    def error_feedback(self) -> bool:
        """Whether each process adds to its update what its messages have left out so far: see `corrected`."""
        ...

    @property
    def server_memory(self) -> bool:
        """Whether the server keeps what it did not decode for the next round; then all rounds share one code."""
        ...

    def coordinates(self, dimension: int) -> int:
        """Return k: how many words stand for an update of d coordinates."""
        ...

    def unfit(self, dimension: int) -> str | None:
        """Return why it saves nothing of d coordinates, or not the share that it says, in words; None if it does.

        The grid skips such a cell with these words; `code` works all the same.
        """
        ...

    def code(self, dimension: int, rng: np.random.Generator) -> Code:
        """Return a code, drawn from the stream."""
        ...

    def codes(self, dimension: int) -> Iterator[Code]:
        """Return all codes that may be drawn, each equally likely; their number explodes with the dimension."""
        ...

    def contraction(self, dimension: int) -> float | None:
        """Return delta with E ||D(C(x)) - x||^2 <= (1 - delta) ||x||^2, on average over the codes.

        None where no delta > 0 is proved; then error feedback need not converge. (Stich, Cordonnier, Jaggi 2018,
        NeurIPS; Karimireddy et al. 2019, ICML)
        """
        ...

    def gain(self, dimension: int) -> float | None:
        """Return g with ||C(x)|| <= g ||x||, which noise calibrated to the length of updates needs; None: unproved."""
        ...


compressors: Registry[Compressor] = Registry("compression", ("protocols.compression",), "cloister.compressors")


@dataclass(frozen=True, kw_only=True)
class Plain:
    """The code that changes nothing.

    Guarantees:
        What comes out is what went in.
    """

    def compress(self, updates: Tensor) -> Tensor:
        """See Code."""
        return updates

    def decompress(self, rows: Tensor) -> Tensor:
        """See Code."""
        return rows


PLAIN: Code = Plain()


def corrected(code: Code, updates: Tensor, errors: Tensor) -> tuple[Tensor, Tensor]:
    """Return updates (n, d) with the errors (n, d) of all messages before, and the errors after sending them.

    Guarantees:
        What was sent, decompressed, and the errors that are left add up to all updates so far.

    Source: Karimireddy, Rebjock, Stich, Jaggi 2019, ICML (EF-SGD; before it Seide et al. 2014, Interspeech).
    """
    whole = updates + errors
    return whole, whole - code.decompress(code.compress(whole))


def share_of(k: float, dimension: int) -> int:
    """Return the nearest integer to k x dimension, at least 1."""
    return max(1, round(k * dimension))


def check_share(**named: float) -> None:
    """Raise CloisterError unless each named number lies in (0, 1]."""
    for name, value in named.items():
        if isinstance(value, bool) or not 0 < value <= 1:
            raise CloisterError(f"{name} = {value!r} is not allowed; allowed: a share of them all, 0 < {name} <= 1")
