"""The coordinate-wise weighted median."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, majority_breakdown
from protocols.aggregators._bounds import heaviest
from protocols.aggregators._ordered import in_weighted_order


@aggregators.register(
    source="Edgeworth 1888 (weighted median); of clients: Portnoy et al. 2020, Byzantine-Robust Client Weighting",
    facts={"bound": "counting: at least (W - 2 W_bad) / 2 honest processes are beyond the median"},
)
@dataclass(frozen=True, kw_only=True)
class WeightedMedian:
    """The coordinate-wise median in which each cluster mean counts as often as its cluster has members.

    Guarantees:
        It is the median of the rows in which each cluster mean is there once for each member.
        While the tainted clusters have less than half of the processes, each coordinate lies between honest means.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; a cluster weighs as much as it has members."""
        return combine(self, means, sizes, tolerate, _median, notices=True)

    def breakdown(self, m: int) -> int:
        """Fewer than half of the clusters where these have one size; else the coefficient may be infinite."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """2 (m - F) s / (W - 2 W_bad), where s is the largest size, W the sum and W_bad that of the F largest.

        Say that y is the median of a coordinate and y >= a, the honest average. Rows of weight W / 2 or more are at y
        or beyond, and honest ones of weight W / 2 - W_bad, which are (W / 2 - W_bad) / s rows or more. So the squared
        distances of the m - F honest rows from a add up to that many times (y - a)^2 at least, and in each coordinate
        to (m - F) v. The mean of two medians is no farther than the farther one.
        """
        rest = float(sizes.sum()) - 2 * heaviest(sizes, tolerate)
        return 2 * (len(sizes) - tolerate) * float(sizes.max()) / rest if rest > 0 else math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """A process moves one cluster mean by 1 / c; the median moves no further, as that of rows that each count once.

        See Median: it is one of rows of which some are the same and move together.
        """
        return 1.0 / int(sizes.min())


def _median(points: Points) -> Tensor:
    total = int(points.sizes.sum())

    def middle(ordered: Tensor, reached: Tensor) -> Tensor:
        # The row that has the j-th process from below, counted from 0, is the first one that reaches beyond j.
        places = torch.stack([(reached <= j).sum(dim=-1) for j in ((total - 1) // 2, total // 2)], dim=-1)
        return ordered.gather(-1, places).double().mean(dim=-1)

    return in_weighted_order(points.means, points.sizes, middle)
