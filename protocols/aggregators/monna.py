"""Nearest neighbour averaging of MoNNA, with the server's own root update as the node that asks."""

import math
from dataclasses import dataclass

from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._facts import reference_of
from protocols.aggregators._rows import distances_from
from protocols.aggregators._selection import average_of, lowest


@aggregators.register(
    source="Farhadkhani, Guerraoui, Gupta, Hoang, Pinot, Stephan 2023, ICML (MoNNA)",
    facts={"needs": ("reference",), "bound": "none of this form: it is for peers that mix repeatedly"},
)
@dataclass(frozen=True, kw_only=True)
class NearestNeighbourAveraging:
    """The mean of the root update and of the m - F cluster means nearest to it, each counted once.

    In the source every honest node averages the n - f vectors nearest to its own, its own among them. Here the node
    is the server, one more than the m clusters and not tainted, so n = m + 1.

    Guarantees:
        While no more than `tolerate` clusters are tainted, the result is no farther from the root update than the
        farthest honest mean.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Aggregator."""

        def averaged(points: Points) -> Tensor:
            near = _nearest(points, given)
            count = points.means.shape[1] - points.tolerate
            return (count * average_of(near, points.means).double() + reference_of(given, points)) / (count + 1)

        return combine(self, means, sizes, tolerate, averaged)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Selecting: the `tolerate` farthest from the root update."""

        return exclude(self, means, sizes, tolerate, lambda points: ~_nearest(points, given))

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity: nothing bounds how far the root update is from the honest means."""
        return math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may put another one in its place."""
        return None


def _nearest(points: Points, given: Given) -> Tensor:
    """Return the mask (cells, m) of the m - F rows nearest to the root update."""
    own = reference_of(given, points).to(points.means.dtype).expand(len(points.means), -1)
    return lowest(distances_from(own, points.means), points.means.shape[1] - points.tolerate)
