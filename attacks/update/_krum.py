"""How long the crafted update of the attack on Krum may be for Krum to choose it, without an n x n x d tensor."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attacks.update._statistics import lengths
from protocols.gram import squared_from

__all__ = ["Bait", "choice", "longest_chosen", "squared_distances", "supporters"]

_SHORTEST = 1e-5  # the threshold of Fang et al.: a shorter update harms nobody
_HALVINGS = 1041  # from the largest float64, below 2^1024, to below that threshold, which is above 2^-17


@dataclass(frozen=True, kw_only=True)
class Bait:
    """What Krum sees of rows (k, d) and of copies of -length x direction beside them.

    `squared` (k, k) are the rows' squared distances, with infinity on the diagonal; `norms` and `along` (k,) their
    squared lengths and inner products with the direction, whose squared length is `size`.
    """

    squared: Tensor
    norms: Tensor
    along: Tensor
    size: float

    @classmethod
    def of(cls, rows: Tensor, direction: Tensor) -> "Bait":
        """Return it for rows (k, d) and a direction (d,)."""
        norms = rows.square().sum(dim=1)
        return cls(
            squared=squared_distances(rows), norms=norms, along=rows @ direction, size=float(direction.square().sum())
        )

    def chosen(self, length: float, *, copies: int, tolerate: int) -> bool:
        """Whether Krum, told of `tolerate` faulty rows, prefers the crafted update to every row."""
        neighbours = _neighbours(len(self.norms) + copies, tolerate)
        # A product of floats becomes infinite where a power raises.
        to_rows = self.norms + 2 * length * self.along + length * length * self.size
        to_rows = to_rows.clamp(min=0)
        beside = torch.cat([self.squared, to_rows[:, None].expand(-1, copies)], dim=1)
        scores = beside.sort(dim=1).values[:, :neighbours].sum(dim=1)
        own = torch.cat([to_rows.new_zeros(copies - 1), to_rows]).sort().values[:neighbours].sum()
        return bool(own < scores.min())

    def bound(self, *, copies: int, tolerate: int) -> float:
        """Return a length beyond which Krum cannot prefer the crafted update: Fang et al. 2020, Theorem 1."""
        m = len(self.norms) + copies
        nearest = self.squared.sort(dim=1).values[:, : min(_neighbours(m, tolerate), len(self.norms) - 1)]
        closest = float(nearest.sum(dim=1).min()) if nearest.numel() else 0.0
        farthest = math.sqrt(float(self.norms.max()))
        size = max(self.size, 1.0)
        return math.sqrt(closest / (max(m - 2 * tolerate - 1, 1) * size)) + farthest / math.sqrt(size)


def squared_distances(rows: Tensor) -> Tensor:
    """Return the squared distances (k, k) of rows (k, d), with infinity on the diagonal; centred, then by Gram."""
    centred = rows - rows.mean(dim=0)
    return squared_from(centred @ centred.T).fill_diagonal_(torch.inf)


def choice(rows: Tensor, *, tolerate: int) -> Tensor:
    """Return the row (d,) that Krum chooses."""
    nearest = squared_distances(rows).sort(dim=1).values[:, : min(_neighbours(len(rows), tolerate), len(rows) - 1)]
    return rows[int(nearest.sum(dim=1).argmin())]


def supporters(crafted: Tensor, f: int, epsilon: float, rng: np.random.Generator) -> Tensor:
    """Return the crafted update (d,) and f - 1 others in random directions around it, at most epsilon away."""
    noise = torch.from_numpy(rng.uniform(-0.5, 0.5, size=(f, len(crafted))))
    sizes = torch.from_numpy(rng.uniform(0.0, epsilon, size=f))
    noise = noise * (sizes / lengths(noise))[:, None]
    noise[0] = 0.0
    return crafted + noise


def _neighbours(m: int, tolerate: int) -> int:
    return max(m - tolerate - 2, 1)


def longest_chosen(bait: Bait, *, copies: int, tolerate: int) -> tuple[float, bool]:
    """Return the length, found by halving from the bound, and whether Krum chooses the crafted update with it.

    It is 0 where there is no bound, as squared lengths of rows are beyond float64.
    """
    length = bait.bound(copies=copies, tolerate=tolerate)
    if not math.isfinite(length):
        return 0.0, False
    for _ in range(_HALVINGS):
        if length <= _SHORTEST:
            break
        if bait.chosen(length, copies=copies, tolerate=tolerate):
            return length, True
        length /= 2
    return length, False
