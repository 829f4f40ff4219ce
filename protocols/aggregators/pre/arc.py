"""Adaptive robust clipping: the longest cluster means are scaled down to the next longest one's length."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, majority_breakdown
from protocols.aggregators._bounds import faulty_share
from protocols.aggregators.pre import pre_aggregators
from protocols.aggregators.pre._support import screen_alike
from protocols.norms import row_norms
from protocols.privacy import clip_to_norm


@pre_aggregators.register(source="Allouah, Guerraoui, Gupta, Jellouli, Rizk, Stephan 2025, ICLR, Algorithm 2 (ARC)")
@dataclass(frozen=True, kw_only=True)
class AdaptiveClipping:
    """Scales the k = floor(2 (F / m) (m - F)) longest cluster means down to the length of the next longest one.

    Guarantees:
        No new row is longer than the (k + 1)-th longest old one, and one that was not longer stays as it is.
    """

    def __call__(
        self,
        means: Tensor,
        sizes: Tensor,
        tolerate: int,
        given: Given = NOTHING,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor, int]:
        """See PreAggregator."""
        points = screen_alike(self, means, sizes, tolerate)
        cut = torch.stack([_cut(rows.double(), points.tolerate) for rows in points.means]).to(means.dtype)
        return cut if means.dim() == 3 else cut[0], points.sizes, points.tolerate

    @property
    def in_place(self) -> bool:
        """Each new row points the old one's way."""
        return True

    def clusters(self, m: int) -> int:
        """As many as before."""
        return m

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def coefficient(self, m: int, tolerate: int, rule: float) -> float:
        """Rule + 2 r with r = F / (m - 2 F): Allouah et al. 2025, ICLR, the theorem on F composed with ARC."""
        return rule + 2 * faulty_share(m, tolerate)

    def sensitivity(self, rule: float | None) -> float | None:  # noqa: ARG002
        """Not bounded: one mean's length may set the others'."""
        return None


def _cut(rows: Tensor, tolerate: int) -> Tensor:
    """Return the rows (m, d), the longest ones cut."""
    m = rows.shape[0]
    longest = 2 * tolerate * (m - tolerate) // m  # in whole numbers: no rounding below a whole 2 (F / m) (m - F)
    length = float(row_norms(rows)[:, 0].sort(descending=True).values[longest])
    return clip_to_norm(rows, length) if length > 0 else torch.zeros_like(rows)
