"""Minimum diameter averaging: the mean of the m - F rows that lie closest together."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._cells import all_but, each_cell, mean_of
from protocols.aggregators._distances import squared_distances
from protocols.aggregators._subsets import check_subsets, subsets, too_many_subsets


@aggregators.register(
    source="El Mhamdi, Guerraoui, Guirguis, Hoang, Rouault 2020, PODC (genuinely distributed ML)",
    facts={"bound": "proved in MinimumDiameter.coefficient"},
)
@dataclass(frozen=True, kw_only=True)
class MinimumDiameter:
    """The mean of the m - F cluster means whose largest distance from one another is smallest, each counted once.

    All subsets are looked at, by a matrix of distances; more than 200,000 are refused. Different subsets often share
    their longest distance: of these, the one with the smallest sum of squared distances counts.

    Guarantees:
        The result is the mean of a subset of smallest diameter.
        More subsets than the limit are refused in one line.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator."""
        return combine(self, means, sizes, tolerate, _averaged)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: exactly `tolerate` of them."""
        return exclude(self, means, sizes, tolerate, _left_out)

    def unfit(self, m: int, tolerate: int) -> str | None:
        """See Bounded."""
        return too_many_subsets(m, tolerate)

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """8 F^2 / (m - F), by the triangle inequality.

        Kept and honest rows are h = m - F each and differ in k <= F, which pair up; as h > F both sets share a row, so
        a pair is at most two diameters apart, and neither diameter exceeds that of the honest rows, whose square is at
        most 2 h v. So the distance is at most (k / h) 2 sqrt(2 h v).
        """
        m = sizes.shape[0]
        return 8 * tolerate**2 / (m - tolerate) if m > 2 * tolerate else math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may select another subset."""
        return None


def _averaged(points: Points) -> Tensor:
    return each_cell(points, lambda rows: mean_of(rows, _closest(rows, points.tolerate)))


def _left_out(points: Points) -> Tensor:
    return each_cell(points, lambda rows: all_but(rows, _closest(rows, points.tolerate)))


def _closest(rows: Tensor, tolerate: int) -> Tensor:
    """Return the numbers (m - F,) of the rows of the subset with the smallest diameter."""
    m = rows.shape[0]
    check_subsets(m, tolerate)
    squared = squared_distances(rows[None])[0].cpu()
    best, chosen = (math.inf, math.inf), torch.arange(m - tolerate)
    for kept in subsets(m, m - tolerate):
        distances = squared[kept[:, :, None], kept[:, None, :]].flatten(1)
        diameters = distances.amax(dim=1)
        sums = torch.where(diameters == diameters.min(), distances.sum(dim=1), math.inf)
        found = (float(diameters.min()), float(sums.min()))
        if found < best:
            best, chosen = found, kept[int(sums.argmin())]
    return chosen.to(rows.device)
