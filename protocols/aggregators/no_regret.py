"""Spectral reweighing by multiplicative weights: no weight in hindsight would have done much better."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._cells import each_cell, gram_of
from protocols.aggregators._pruning import near_rows
from protocols.aggregators._spectral import deviations_along_widest, project_capped

# Improvements below a thousandth would be chosen by rounding: near the optimum the widest directions are equally wide.
_WORTH_IT = 1e-3
# A row with less than this part of an equal share has no say to speak of.
_NO_SHARE = 1e-3


@aggregators.register(
    source="Hopkins, Li, Zhang 2020, NeurIPS (robust and heavy-tailed mean estimation made simple), Algorithm 1; "
    "Zhu, Wang, Pang, Wang, Jiao, Song, Jordan 2023, AISTATS (Byzantine-robust FL with optimal statistical rates)",
    examples=({}, {"iterations": 10}),
    facts={"bound": "rates with unstated constants in the source; none of this form"},
)
@dataclass(frozen=True, kw_only=True)
class NoRegret:
    """The weighted mean of the cluster means, with shares of at most 1 / (m - F) that keep all directions narrow.

    Each step takes the widest direction of the weighted rows, with t_i the squared deviations along it, multiplies each
    share by 1 - t_i / (2 max t), and projects onto the shares of at most 1 / (m - F), in relative entropy. The shares
    with the smallest largest eigenvalue of all steps count. Absurdly far rows are pruned first, as in the source, see
    `protocols.aggregators._pruning`. The whole update is weighted at once, by the rows' Gram matrix.

    Guarantees:
        There are at most `iterations` steps.
        No cluster counts for more than 1 / (m - F); for F = 0 all count alike.
    """

    iterations: int = 20

    def __post_init__(self) -> None:
        check.integer_at_least(1, iterations=self.iterations)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; the shares replace the sizes."""

        def averaged(points: Points) -> Tensor:
            def average(rows: Tensor) -> Tensor:
                shares = self._shares(rows, points.tolerate)
                kept = shares > 0
                return shares[kept] @ rows[kept]

            return each_cell(points, average)

        return combine(self, means, sizes, tolerate, averaged)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: those that are pruned, or keep less than a thousandth of an equal share."""

        def left_out(points: Points) -> Tensor:
            return each_cell(points, lambda rows: self._shares(rows, points.tolerate) < _NO_SHARE / rows.shape[0])

        return exclude(self, means, sizes, tolerate, left_out)

    def _shares(self, rows: Tensor, tolerate: int) -> Tensor:
        """Return the shares (m,), 1 together; 0 for rows that are pruned."""
        near = near_rows(rows, tolerate)
        left = int(near.sum())
        shares = torch.zeros_like(rows[:, 0])
        shares[near] = self._reweighed(gram_of(rows[near]), rows.shape[0] - tolerate, left)
        return shares

    def _reweighed(self, gram: Tensor, honest: int, left: int) -> Tensor:
        shares = torch.full_like(gram[0], 1.0 / left)
        best, chosen = math.inf, shares
        for _ in range(self.iterations if left > honest else 0):
            widest, deviations = deviations_along_widest(gram, shares)
            if widest < (1.0 - _WORTH_IT) * best:
                best, chosen = widest, shares
            if widest == 0.0:
                break
            shares = project_capped(shares * (1.0 - deviations / (2.0 * deviations.max())), 1.0 / honest)
        return chosen

    def breakdown(self, m: int) -> int:
        """Fewer than half, by the pruning; the source's rates hold for a small share of tainted clusters."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity for F > 0: the source's constants are not stated. Else the mean."""
        return math.inf if tolerate else 0.0

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded here."""
        return None
