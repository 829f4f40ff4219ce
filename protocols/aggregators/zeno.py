"""Zeno: the cluster means that lower the validation loss most for their length."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._cells import each_cell, mean_of
from protocols.aggregators._facts import losses_of
from protocols.norms import row_norms


@aggregators.register(
    source="Xie, Koyejo, Gupta 2019, ICML (Zeno), Definition 1 and Algorithm 1",
    examples=({}, {"penalty": 0.5}),
    facts={"equivariant": (), "needs": ("loss",), "bound": "none of this form: it bounds the loss, not the distance"},
)
@dataclass(frozen=True, kw_only=True)
class Zeno:
    """The mean of the m - F cluster means with the highest stochastic descendant scores, each counted once.

    The score of an update u is f(x) - f(x + u) - penalty |u|^2, with f the loss on the server's root data and x the
    model. The source scores gradients g, with u = -gamma g and rho |g|^2, so penalty = rho / gamma^2: its rho = 0.0005
    at gamma = 0.1 is the default. A loss that is not a number counts as infinite.

    Guarantees:
        No update left out has a higher score than one that counts.
    """

    penalty: float = 0.05

    def __post_init__(self) -> None:
        check.non_negative(penalty=self.penalty)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Aggregator."""

        def averaged(points: Points) -> Tensor:
            return each_cell(points, lambda rows: mean_of(rows, ~self._worst(rows, given, points.tolerate)))

        return combine(self, means, sizes, tolerate, averaged)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Selecting: the `tolerate` with the lowest scores."""

        def left_out(points: Points) -> Tensor:
            return each_cell(points, lambda rows: self._worst(rows, given, points.tolerate))

        return exclude(self, means, sizes, tolerate, left_out)

    def _worst(self, rows: Tensor, given: Given, tolerate: int) -> Tensor:
        # f(x) is the same for all, and so cannot change the order.
        costs = losses_of(given)(rows) + self.penalty * row_norms(rows)[:, 0].square()
        mask = torch.zeros(rows.shape[0], dtype=torch.bool, device=rows.device)
        mask[costs.argsort(stable=True)[rows.shape[0] - tolerate :]] = True
        return mask

    def breakdown(self, m: int) -> int:
        """Fewer than half; the source allows more, as it trusts the root data, but then averages few."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity for F > 0: low losses lie in many directions. Else the mean."""
        return math.inf if tolerate else 0.0

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may put another one in its place."""
        return None
