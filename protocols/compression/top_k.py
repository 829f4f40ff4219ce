"""Top-k: each process sends its own largest coordinates, and remembers the others."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.compression import Code, check_share, compressors, share_of


@compressors.register(
    source="Stich, Cordonnier, Jaggi 2018, NeurIPS, Sparsified SGD with Memory (top-k); "
    "error feedback: Karimireddy et al. 2019, ICML (EF-SGD)",
    examples=({"k": 0.5}, {"k": 0.25, "error_feedback": False}),
)
@dataclass(frozen=True, kw_only=True)
class TopK:
    """Each process sends the share `k` of its coordinates that are largest in size, and which ones they are.

    Two words for each: its number and its value. The masks differ, so messages cannot be added: this is for processes
    whose messages are read one by one, which hides nothing of them; a secure sum would need a mask that all share.
    Nor can a coordinate-wise median combine them: most rows are zero in most coordinates, so it is zero there, and the
    model learns nothing even without any attack; rules that compare whole rows can.

    Guarantees:
        No set of as many coordinates is nearer to the update than those that are sent.
    """

    k: float = 0.1
    error_feedback: bool = True

    def __post_init__(self) -> None:
        check_share(k=self.k)

    @property
    def linear(self) -> bool:
        """Each has a mask of its own."""
        return False

    @property
    def unbiased(self) -> bool:
        """Small coordinates are left out, always."""
        return False

    @property
    def server_memory(self) -> bool:
        """The server gets all that is sent."""
        return False

    def coordinates(self, dimension: int) -> int:
        """Twice the number of the coordinates that are sent."""
        return 2 * share_of(self.k, dimension)

    def unfit(self, dimension: int) -> str | None:
        """Where numbers and values are more words than the update has."""
        words = self.coordinates(dimension)
        if words > dimension:
            return f"top_k with k = {self.k} sends {words} words for {dimension} coordinates; allowed: a smaller k"
        return None

    def code(self, dimension: int, rng: np.random.Generator) -> Code:  # noqa: ARG002
        """See Compressor; nothing is drawn."""
        return _Largest(dimension=dimension, count=share_of(self.k, dimension))

    def codes(self, dimension: int) -> Iterator[Code]:
        """There is one."""
        yield _Largest(dimension=dimension, count=share_of(self.k, dimension))

    def contraction(self, dimension: int) -> float | None:
        """k / d: what is left out is smaller than what is sent, coordinate by coordinate (Stich et al. 2018)."""
        return share_of(self.k, dimension) / dimension

    def gain(self, dimension: int) -> float | None:  # noqa: ARG002
        """Not bounded: the numbers of coordinates are as large as they are, however short the update is."""
        return None


@dataclass(frozen=True, kw_only=True)
class _Largest:
    """The `count` coordinates of largest size, as their values and then their numbers; NaN is larger than all."""

    dimension: int
    count: int

    def compress(self, updates: Tensor) -> Tensor:
        """See Code."""
        _check_numbers(self.dimension, updates.dtype)
        places = updates.abs().topk(self.count, dim=1).indices.sort(dim=1).values
        return torch.cat([updates.gather(1, places), places.to(updates.dtype)], dim=1)

    def decompress(self, rows: Tensor) -> Tensor:
        """See Code; numbers of coordinates that there are not mean the nearest one, and values of one number add up."""
        values, numbers = rows[:, : self.count], rows[:, self.count :]
        places = numbers.nan_to_num(0.0).round().clamp(0, self.dimension - 1).to(torch.int64)
        return rows.new_zeros(len(rows), self.dimension).scatter_add_(1, places, values)


def _check_numbers(dimension: int, dtype: torch.dtype) -> None:
    """Raise CloisterError where the numbers of coordinates are not among those of the type."""
    most = round(2 / torch.finfo(dtype).eps)
    if dimension > most:
        raise CloisterError(f"{dimension} coordinates cannot be numbered in {dtype}; allowed: up to {most}, or float64")
