"""Krum: the cluster mean that lies closest to its nearest neighbours."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude
from protocols.aggregators._bounds import krum_coefficient
from protocols.aggregators._selection import krum_scores, lowest


@aggregators.register(
    source="Blanchard et al. 2017, NeurIPS, Section 4",
    facts={"bound": "the argument of Allouah et al. 2023, AISTATS, for m - F - 2 neighbours: see `coefficient`"},
)
@dataclass(frozen=True, kw_only=True)
class Krum:
    """The one cluster mean with the smallest sum of squared distances to its m - F - 2 nearest others.

    Guarantees:
        The result is one of the cluster means; ties go to the lowest cluster number.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; each cluster counts once."""
        return combine(self, means, sizes, tolerate, _selected, notices=True)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: all but one."""
        return exclude(self, means, sizes, tolerate, lambda points: ~lowest(krum_scores(points), 1))

    def breakdown(self, m: int) -> int:
        """Krum needs m >= 2 F + 3 clusters."""
        return (m - 3) // 2

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """6 (m - F) / (m - 2 F - 1); see `krum_coefficient`."""
        return krum_coefficient(sizes.shape[0], tolerate)

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may select another one."""
        return None


def _selected(points: Points) -> Tensor:
    best = lowest(krum_scores(points), 1).int().argmax(dim=1)  # a row itself: an average would round it
    return points.means[torch.arange(len(best), device=best.device), best]
