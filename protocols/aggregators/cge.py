"""Comparative gradient elimination: the mean of the shortest cluster means."""

import math
from dataclasses import dataclass

from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._rows import lengths_of
from protocols.aggregators._selection import average_of, lowest


@aggregators.register(
    source="Gupta and Vaidya 2020, PODC (fault-tolerance in distributed optimization), gradient filter CGE",
    facts={"equivariant": ("scale",), "bound": "none of this form: it needs the honest costs' redundancy"},
)
@dataclass(frozen=True, kw_only=True)
class ComparativeElimination:
    """The mean of the m - F cluster means with the smallest norms; the source takes their sum. Each counts once.

    Norms that are equal as computed count by the lower cluster number. After arc or clip all rows that were cut have
    one length but for rounding, so where more than F were cut, rounding decides which of them are left out.

    Guarantees:
        While no more than `tolerate` clusters are tainted, the result is no longer than the longest honest mean.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator."""
        return combine(self, means, sizes, tolerate, _averaged)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: the `tolerate` longest."""
        return exclude(self, means, sizes, tolerate, _left_out)

    def breakdown(self, m: int) -> int:
        """Fewer than half, of what their length gives away."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity for F > 0: tainted means as long as the honest ones, the other way round, pass. Else the mean."""
        return math.inf if tolerate else 0.0

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may put another one in its place."""
        return None


def _averaged(points: Points) -> Tensor:
    return average_of(_shortest(points), points.means)


def _left_out(points: Points) -> Tensor:
    return ~_shortest(points)


def _shortest(points: Points) -> Tensor:
    return lowest(lengths_of(points.means), points.means.shape[1] - points.tolerate)
