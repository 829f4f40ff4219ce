"""The medoid: the cluster mean with the smallest sum of distances to all others."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._cells import each_cell, gram_of
from protocols.gram import squared_from


@aggregators.register(
    source="Kaufman and Rousseeuw 1987 (medoids); for gradients Xie, Koyejo, Gupta 2018, arXiv 1802.10116",
    facts={"bound": "proved in Medoid.coefficient"},
)
@dataclass(frozen=True, kw_only=True)
class Medoid:
    """The one cluster mean with the smallest sum of distances (not squared) to all others, each counted once.

    Guarantees:
        The result is one of the cluster means, and of equal ones that with the lowest cluster number.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator."""
        return combine(self, means, sizes, tolerate, _selected)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: all but one."""
        return exclude(self, means, sizes, tolerate, _others)

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """((3 m - 2 F - 2) / (m - 2 F))^2, by the triangle inequality.

        With x the medoid, y the honest row nearest to the honest average a, and h = m - F: the sums of distances say
        h |x - a| - sum |x_i - a| <= sum over honest i of |y - x_i| + F (|y - a| + |x - a|), and |y - a| is at most the
        mean of the honest |x_i - a|, which is at most sqrt(v).
        """
        m = sizes.shape[0]
        return ((3 * m - 2 * tolerate - 2) / (m - 2 * tolerate)) ** 2 if m > 2 * tolerate else math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may select another one."""
        return None


def _selected(points: Points) -> Tensor:
    return each_cell(points, lambda rows: rows[_nearest_to_all(rows)])


def _others(points: Points) -> Tensor:
    def mask(rows: Tensor) -> Tensor:
        return torch.arange(rows.shape[0], device=rows.device) != _nearest_to_all(rows)

    return each_cell(points, mask)


def _nearest_to_all(rows: Tensor) -> int:
    """Return the row with the smallest sum of |x_i - x_j| - |x_j|, x around the median, which has the same order.

    Each difference is (|x_i|^2 - 2 x_i x_j) / (|x_i - x_j| + |x_j|): beside a row at 1e30, plain sums are all the same.
    """
    gram = gram_of(rows)
    squares = gram.diagonal()
    below = squared_from(gram).sqrt() + squares.sqrt()[None, :]
    gains = torch.where(below > 0, (squares[:, None] - 2 * gram) / torch.where(below > 0, below, 1.0), 0.0)
    return int(gains.sum(dim=1).argmin())
