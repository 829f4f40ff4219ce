"""Phocas: in each coordinate, the mean of the values nearest to the trimmed mean."""

import math
from dataclasses import dataclass

from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, majority_breakdown
from protocols.aggregators._bounds import faulty_share
from protocols.aggregators._cells import each_cell
from protocols.aggregators._windows import mean_of_nearest


@aggregators.register(
    source="Xie, Koyejo, Gupta 2018, arXiv 1805.09682 (Phocas)", facts={"bound": "proved in Phocas.coefficient"}
)
@dataclass(frozen=True, kw_only=True)
class Phocas:
    """In each coordinate, the mean of the m - F values nearest to the trimmed mean, each cluster counted once.

    Guarantees:
        While no more than `tolerate` clusters are tainted, each coordinate is within the honest values' largest
        distance from their trimmed mean.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator."""
        return combine(self, means, sizes, tolerate, _combined)

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """(sqrt(1 + k) + sqrt(k))^2 with k = 6 r (1 + r) of the trimmed mean and r = F / (m - 2 F); 0 for F = 0.

        In each coordinate, the m - F values nearest to the trimmed mean t are together no farther from it than the
        m - F honest ones, in squares: so the result is within the root of v + (t - a)^2 of t, and t of a by k.
        """
        if tolerate == 0:
            return 0.0
        r = faulty_share(sizes.shape[0], tolerate)
        trimmed = 6 * r * (1 + r)
        return (math.sqrt(1 + trimmed) + math.sqrt(trimmed)) ** 2

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded here: a small change may swap one of the nearest values for another."""
        return None


def _combined(points: Points) -> Tensor:
    return each_cell(points, lambda rows: _nearest_to_trimmed(rows, points.tolerate))


def _nearest_to_trimmed(rows: Tensor, tolerate: int) -> Tensor:
    m = rows.shape[0]
    ordered = rows.sort(dim=0).values
    return mean_of_nearest(ordered, ordered[tolerate : m - tolerate].mean(dim=0), m - tolerate)
