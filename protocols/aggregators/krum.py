"""Krum: the cluster mean that lies closest to its nearest neighbours."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude
from protocols.aggregators._bounds import faulty_share


@aggregators.register(
    source="Blanchard et al. 2017, NeurIPS, Section 4", facts={"bound": "Allouah et al. 2023, AISTATS, Table 1"}
)
@dataclass(frozen=True, kw_only=True)
class Krum:
    """The one cluster mean with the smallest sum of squared distances to its m - F - 2 nearest others.

    Guarantees:
        The result is one of the cluster means; ties go to the lowest cluster number.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; each cluster counts once."""
        return combine(self, means, sizes, tolerate, _selected)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: all but one."""
        return exclude(self, means, sizes, tolerate, _others)

    def breakdown(self, m: int) -> int:
        """Krum needs m >= 2 F + 3 clusters."""
        return (m - 3) // 2

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """6 (1 + r) with r = F / (m - 2 F): Allouah et al. 2023, AISTATS, Table 1."""
        return 6 * (1 + faulty_share(sizes.shape[0], tolerate))

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may select another one."""
        return None


def _selected(points: Points) -> Tensor:
    best = _scores(points).argmin(dim=1)
    return points.means[torch.arange(len(best), device=best.device), best]


def _others(points: Points) -> Tensor:
    scores = _scores(points)
    return torch.ones_like(scores, dtype=torch.bool).scatter_(1, scores.argmin(dim=1, keepdim=True), False)


def _scores(points: Points) -> Tensor:
    """Return the sums of squared distances (cells, m) to the m - F - 2 nearest others."""
    # Distances from a Gram matrix cancel when the rows are long against them. So the rows are centred first,
    # on the median: a mean would be wherever one tainted row pulls it, and all other distances would drown.
    means = points.means.double()
    centred = means - means.median(dim=1, keepdim=True).values
    gram = centred @ centred.mT
    norms = gram.diagonal(dim1=1, dim2=2)
    squared = (norms[:, :, None] + norms[:, None, :] - 2 * gram).clamp(min=0)
    squared.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    count = means.shape[1] - points.tolerate - 2
    return squared.sort(dim=2).values[:, :, :count].sum(dim=2)
