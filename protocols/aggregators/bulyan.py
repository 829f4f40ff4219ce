"""Bulyan: Krum again and again, then the values nearest to the median of what it selects."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude
from protocols.aggregators._cells import all_but, each_cell
from protocols.aggregators._distances import squared_distances
from protocols.aggregators._ordered import average_around_median


@aggregators.register(
    source="El Mhamdi, Guerraoui, Rouault 2018, ICML (the hidden vulnerability), Bulyan of Krum",
    facts={"bound": "proved in Bulyan.coefficient"},
)
@dataclass(frozen=True, kw_only=True)
class Bulyan:
    """m - 2 F cluster means by recursive Krum; of these in each coordinate the mean of the m - 4 F nearest the median.

    Krum is asked again after each selected row is taken away, among the r rows that remain, with r - F - 2 neighbours,
    but at least one: the last of the m - 2 F selections are made among fewer than 2 F + 3 rows, for which Krum itself
    is not defined, and with F = 1 no neighbour would be left. With one neighbour, the closest two rows always score
    alike: the smaller sum of distances to all that remain then counts. Each cluster counts once.

    Guarantees:
        While no more than `tolerate` clusters are tainted, each coordinate is within the honest values' largest
        distance from the median of what Krum selects, which lies between honest values.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator."""
        return combine(self, means, sizes, tolerate, _combined)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: the 2 F rows that Krum never selects."""
        return exclude(self, means, sizes, tolerate, _left_out)

    def breakdown(self, m: int) -> int:
        """Bulyan needs m >= 4 F + 3 clusters."""
        return (m - 3) // 4

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """(sqrt(q (1 + 2 q)) + sqrt(2 q))^2 with q = (m - F) / (m - 4 F), whatever Krum selects; 0 for F = 0.

        On either side of the median t of the m - 2 F selected values, itself included, are (m - 2 F) / 2 of them, and
        so (m - 4 F) / 2 honest ones: (t - a)^2 <= 2 q v. The m - 4 F nearest to t are together no farther from it
        than as many honest ones, in squares at most (m - F) (v + (t - a)^2); the result is as near as their average.
        The source proves no bound of this form.
        """
        m = sizes.shape[0]
        if tolerate == 0 and m >= 3:
            return 0.0
        if tolerate > self.breakdown(m):
            return math.inf
        q = (m - tolerate) / (m - 4 * tolerate)
        return (math.sqrt(q * (1 + 2 * q)) + math.sqrt(2 * q)) ** 2

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may select another one."""
        return None


def _combined(points: Points) -> Tensor:
    return each_cell(points, lambda rows: _nearest_to_median(rows[_selected(rows, points.tolerate)], points.tolerate))


def _left_out(points: Points) -> Tensor:
    return each_cell(points, lambda rows: all_but(rows, _selected(rows, points.tolerate)))


def _selected(rows: Tensor, tolerate: int) -> Tensor:
    """Return the numbers (m - 2 F,) of the rows that Krum selects one after another."""
    squared = squared_distances(rows[None])[0]
    remaining = list(range(rows.shape[0]))
    chosen: list[int] = []
    for _ in range(rows.shape[0] - 2 * tolerate):
        own = squared[remaining][:, remaining]
        chosen.append(remaining.pop(_krum(own, max(1, len(remaining) - tolerate - 2))))
    return torch.tensor(chosen, device=rows.device)


def _krum(squared: Tensor, neighbours: int) -> int:
    """Return the row with the smallest sum to its nearest neighbours, then to all; the lowest number of equal ones."""
    others = squared.sort(dim=1).values[:, 1:]  # what stands first is the row itself, or one at the same place
    scores = others[:, :neighbours].sum(dim=1)
    return int(torch.where(scores == scores.min(), squared.sum(dim=1), math.inf).argmin())


def _nearest_to_median(selected: Tensor, tolerate: int) -> Tensor:
    return average_around_median(selected[None], selected.shape[0] - 2 * tolerate)[0]
