"""Nearest-neighbour mixing: each cluster mean becomes the average of those nearest to it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, majority_breakdown
from protocols.aggregators._distances import squared_distances
from protocols.aggregators._rows import weighted_sum
from protocols.aggregators.pre import pre_aggregators
from protocols.aggregators.pre._support import screen_alike


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
        points = screen_alike(self, means, sizes, tolerate)
        squared = squared_distances(points.means)
        count = points.means.shape[1] - points.tolerate
        nearest = squared.argsort(dim=2, stable=True)[:, :, :count]
        mixed = weighted_sum(torch.zeros_like(squared).scatter_(2, nearest, 1.0 / count), points.means)
        return mixed if means.dim() == 3 else mixed[0], points.sizes, points.tolerate

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)
