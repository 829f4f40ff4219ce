"""Rand-k with a shared mask: all processes send the same coordinates, drawn anew in every round."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.compression import Code, check_share, compressors, share_of


@compressors.register(
    source="Konečný et al. 2016, arXiv:1610.05492 (subsampled updates); one mask for all, against Byzantine processes: "
    "Gupta, Honsell, Xu, Gupta, Neglia 2025, arXiv:2508.17129 (RoSDHB)",
    examples=({"k": 0.5}, {"k": 0.25, "unbiased": False, "error_feedback": True}),
)
@dataclass(frozen=True, kw_only=True)
class RandK:
    """Keeps the share `k` of the coordinates, the same ones for all processes.

    `unbiased` multiplies what is left by d / k, after it was decompressed: so no message is longer than its update, and
    noise that is calibrated to the length of updates hides as much as before. With `error_feedback` each process
    remembers what was left out; a scaled update is no contraction, with which that would diverge.
    The mask is public before anybody sends: see the attack `compression_aware`.

    Guarantees:
        Every set of k coordinates is equally likely.
    """

    k: float = 0.1
    unbiased: bool = True
    error_feedback: bool = False

    def __post_init__(self) -> None:
        check_share(k=self.k)
        if self.unbiased and self.error_feedback:
            raise CloisterError(
                "error_feedback = True with unbiased = True is not allowed, it diverges; allowed: one of them"
            )

    @property
    def linear(self) -> bool:
        """Coordinates are left out."""
        return True

    @property
    def server_memory(self) -> bool:
        """The server gets all that is sent."""
        return False

    def coordinates(self, dimension: int) -> int:
        """See Compressor."""
        return share_of(self.k, dimension)

    def unfit(self, dimension: int) -> str | None:  # noqa: ARG002
        """It never sends more than all."""
        return None

    def code(self, dimension: int, rng: np.random.Generator) -> Code:
        """See Compressor."""
        drawn = rng.choice(dimension, size=self.coordinates(dimension), replace=False)
        return self._kept(dimension, torch.from_numpy(np.sort(drawn)))

    def codes(self, dimension: int) -> Iterator[Code]:
        """All sets of k coordinates."""
        for kept in combinations(range(dimension), self.coordinates(dimension)):
            yield self._kept(dimension, torch.tensor(kept))

    def _kept(self, dimension: int, kept: Tensor) -> Code:
        return _Kept(dimension=dimension, kept=kept, scale=dimension / len(kept) if self.unbiased else 1.0)

    def contraction(self, dimension: int) -> float | None:
        """k / d, with equality (Stich, Cordonnier, Jaggi 2018, NeurIPS); none of what is scaled, below k = d."""
        share = self.coordinates(dimension) / dimension
        return None if self.unbiased and share < 1 else share

    def gain(self, dimension: int) -> float | None:  # noqa: ARG002
        """A row without some of its coordinates is not longer."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """Coordinates `kept` (k,), in ascending order; what comes back is multiplied by `scale`."""

    dimension: int
    kept: Tensor
    scale: float

    def compress(self, updates: Tensor) -> Tensor:
        """See Code."""
        return updates.index_select(1, self.kept.to(updates.device))

    def decompress(self, rows: Tensor) -> Tensor:
        """See Code."""
        updates = rows.new_zeros(len(rows), self.dimension)
        return updates.index_copy_(1, self.kept.to(rows.device), rows * self.scale)
