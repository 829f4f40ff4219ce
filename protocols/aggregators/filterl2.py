"""The spectral filter: rows lose weight in proportion to how far they lie along the widest direction."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._cells import each_cell, gram_of
from protocols.aggregators._spectral import deviations_along_widest


@aggregators.register(
    source="Diakonikolas et al. 2017, ICML (being robust in high dimensions can be practical); "
    "Zhu, Wang, Pang, Wang, Jiao, Song, Jordan 2023, AISTATS (Byzantine-robust FL with optimal statistical rates)",
    facts={"bound": "rates with unstated constants in the source; none of this form"},
)
@dataclass(frozen=True, kw_only=True)
class SpectralFilter:
    """The weighted mean of the cluster means, with weights whose covariance has a small largest eigenvalue.

    Every row starts with weight 1. Each step takes the widest direction of the weighted rows, with t_i the squared
    deviations along it, and multiplies each weight by 1 - t_i / max t. In the source the steps end once the largest
    eigenvalue is below a constant times the honest one, which nobody knows; here they go on until more than 2 F of
    weight is gone, and the weights with the smallest eigenvalue on the way count. While that eigenvalue is large,
    tainted rows lose at least as much weight as honest ones, so no more than 2 F are gone once no tainted one is left.
    The whole update is filtered at once, by the rows' Gram matrix: not tensor by tensor. Clusters count once.

    Guarantees:
        Each step takes all weight of one row at least, so there are at most m of them.
        At most 2 F of the weight is taken away, and none for F = 0.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator."""
        return combine(self, means, sizes, tolerate, _averaged)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: those that keep no weight at all."""
        return exclude(self, means, sizes, tolerate, _left_out)

    def breakdown(self, m: int) -> int:
        """Fewer than half, of huge numbers; the source's rates hold for a small share of tainted clusters."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity for F > 0: the source's constants are not stated. Else the mean."""
        return math.inf if tolerate else 0.0

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded here."""
        return None


def _averaged(points: Points) -> Tensor:
    def average(rows: Tensor) -> Tensor:
        weights = _weights(rows, points.tolerate)
        kept = weights > 0  # a row without weight may be too long to multiply by zero
        return (weights[kept] / weights[kept].sum()) @ rows[kept]

    return each_cell(points, average)


def _left_out(points: Points) -> Tensor:
    return each_cell(points, lambda rows: _weights(rows, points.tolerate) == 0)


def _weights(rows: Tensor, tolerate: int) -> Tensor:
    """Return the weights (m,) with the smallest largest eigenvalue that no more than 2 F of weight was paid for."""
    gram = gram_of(rows)
    weights = torch.ones_like(gram[0])
    best, chosen = math.inf, weights
    while tolerate and float(weights.sum()) >= rows.shape[0] - 2 * tolerate:
        kept = (weights > 0).nonzero()[:, 0]
        widest, deviations = deviations_along_widest(gram[kept][:, kept], weights[kept])
        if widest < best:
            best, chosen = widest, weights
        if widest == 0.0 or len(kept) == 1:
            break
        weights = weights.clone()
        weights[kept] *= 1.0 - deviations / deviations.max()
    return chosen
