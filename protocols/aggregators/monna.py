"""Nearest neighbour averaging of MoNNA, with the server's own root update as the node that asks."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._cells import each_cell
from protocols.aggregators._facts import reference_of
from protocols.norms import row_norms


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
            own = reference_of(given, points)

            def mix(rows: Tensor) -> Tensor:
                near = ~_farthest(rows, own, points.tolerate)
                return (rows[near].sum(dim=0) + own) / (int(near.sum()) + 1)

            return each_cell(points, mix)

        return combine(self, means, sizes, tolerate, averaged)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Selecting: the `tolerate` farthest from the root update."""

        def left_out(points: Points) -> Tensor:
            own = reference_of(given, points)
            return each_cell(points, lambda rows: _farthest(rows, own, points.tolerate))

        return exclude(self, means, sizes, tolerate, left_out)

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity: nothing bounds how far the root update is from the honest means."""
        return math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may put another one in its place."""
        return None


def _farthest(rows: Tensor, own: Tensor, tolerate: int) -> Tensor:
    order = row_norms(rows - own)[:, 0].argsort(stable=True)
    mask = torch.zeros(rows.shape[0], dtype=torch.bool, device=rows.device)
    mask[order[rows.shape[0] - tolerate :]] = True
    return mask
