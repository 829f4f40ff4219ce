"""Nearest-neighbour mixing: each cluster mean becomes the average of those nearest to it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, majority_breakdown
from protocols.aggregators._distances import squared_distances
from protocols.aggregators._rows import weighted_sum
from protocols.aggregators.pre import pre_aggregators
from protocols.aggregators.pre._support import with_new_rows


@pre_aggregators.register(source="Allouah et al. 2023, AISTATS, Algorithm 2")
@dataclass(frozen=True, kw_only=True)
class Nnm:
    """Replaces each cluster mean by the average of its m - F nearest, itself included; each cluster counts once.

    Guarantees:
        Each new row is the average of the m - F rows nearest to the old one; ties go to the lower cluster number.
    """

    def __call__(
        self,
        means: Tensor,
        sizes: Tensor,
        tolerate: int,
        given: Given = NOTHING,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor, int]:
        """See PreAggregator."""
        return with_new_rows(self, means, sizes, tolerate, _mixed)

    @property
    def in_place(self) -> bool:
        """Each new row is around the old one."""
        return True

    @property
    def row_by_row(self) -> bool:
        """A new row is an average of several old ones."""
        return False

    def clusters(self, m: int) -> int:
        """As many as before."""
        return m

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def sizes_after(self, sizes: Tensor) -> Tensor:
        """The same."""
        return sizes

    def coefficient(self, sizes: Tensor, tolerate: int, rule: float) -> float:
        """8 F / (m - F) (1 + rule): Allouah et al. 2023, AISTATS, Lemma 1.

        For F = 0 all rows are the mean: a rule with a finite coefficient returns it, as there is no spread left; one
        without may return anything else, as those that clip do.
        """
        if tolerate == 0:
            return 0.0 if math.isfinite(rule) else math.inf
        return 8 * tolerate / (sizes.shape[0] - tolerate) * (1 + rule)

    def sensitivity(self, rule: float | None) -> float | None:  # noqa: ARG002
        """Not bounded: one mean moves many averages."""
        return None


def _mixed(points: Points) -> Tensor:
    squared = squared_distances(points.means)
    count = points.means.shape[1] - points.tolerate
    nearest = squared.argsort(dim=2, stable=True)[:, :, :count]
    return weighted_sum(torch.zeros_like(squared).scatter_(2, nearest, 1.0 / count), points.means)
