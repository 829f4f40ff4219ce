"""Static clipping: cluster means longer than a fixed radius are scaled down to it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points
from protocols.aggregators._rows import cut_to, lengths_of
from protocols.aggregators.pre import pre_aggregators
from protocols.aggregators.pre._support import with_new_rows


@pre_aggregators.register(
    source="Pascanu, Mikolov, Bengio 2013, ICML (norm clipping); before a rule: Allouah et al. 2025, ICLR",
    examples=({}, {"radius": 0.1}),
)
@dataclass(frozen=True, kw_only=True)
class Clip:
    """Scales each cluster mean that is longer than `radius` down to that L2 norm.

    Guarantees:
        No new row is longer than `radius`, and one that was not longer stays as it is.
    """

    radius: float = 1.0

    def __post_init__(self) -> None:
        check.positive(radius=self.radius)

    def __call__(
        self,
        means: Tensor,
        sizes: Tensor,
        tolerate: int,
        given: Given = NOTHING,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor, int]:
        """See PreAggregator."""
        return with_new_rows(self, means, sizes, tolerate, self._cut)

    def _cut(self, points: Points) -> Tensor:
        lengths = lengths_of(points.means)
        return cut_to(torch.full_like(lengths[:, 0], self.radius), points.means, lengths)

    @property
    def in_place(self) -> bool:
        """Each new row points the old one's way."""
        return True

    @property
    def row_by_row(self) -> bool:
        """The radius is fixed."""
        return True

    def clusters(self, m: int) -> int:
        """As many as before."""
        return m

    def breakdown(self, m: int) -> int:
        """It takes any number: what is cut is cut."""
        return m

    def sizes_after(self, sizes: Tensor) -> Tensor:
        """The same."""
        return sizes

    def coefficient(self, sizes: Tensor, tolerate: int, rule: float) -> float:  # noqa: ARG002
        """Infinity: honest means that agree on a longer update are cut as well (Allouah et al. 2025, ICLR)."""
        return math.inf

    def sensitivity(self, rule: float | None) -> float | None:
        """The rule's own: the projection onto a ball brings no two points farther apart."""
        return rule
