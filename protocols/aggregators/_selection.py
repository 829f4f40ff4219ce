"""Krum's scores, and averages of the rows that a rule selects."""

import torch
from torch import Tensor

from protocols.aggregators import Points
from protocols.aggregators._distances import squared_distances
from protocols.aggregators._rows import weighted_sum

__all__ = ["average_of", "krum_scores", "lowest"]


def krum_scores(points: Points) -> Tensor:
    """Return the sums of squared distances (cells, m) float64 from each row to its m - F - 2 nearest others."""
    squared = squared_distances(points.means)
    squared.diagonal(dim1=1, dim2=2).fill_(torch.inf)
    count = points.means.shape[1] - points.tolerate - 2
    return squared.sort(dim=2).values[:, :, :count].sum(dim=2)


def lowest(scores: Tensor, count: int) -> Tensor:
    """Return the mask (cells, m) of the `count` lowest scores in each cell; ties go to the lower cluster number."""
    chosen = scores.argsort(dim=1, stable=True)[:, :count]
    return torch.zeros_like(scores, dtype=torch.bool).scatter_(1, chosen, True)


def average_of(selected: Tensor, means: Tensor) -> Tensor:
    """Return the average (cells, d) of the rows of (cells, m, d) in a mask (cells, m), each counted once."""
    weights = selected.double() / selected.sum(dim=1, keepdim=True)
    return weighted_sum(weights[:, None], means)[:, 0]
