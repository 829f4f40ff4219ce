"""CAF: takes weight from cluster means along the direction in which they spread most."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._distances import gram_around
from protocols.aggregators._rows import weighted_sum


@aggregators.register(
    source="Allouah, Guerraoui, Stephan 2025, ICML, Algorithm 2 (CAF: covariance-bound-agnostic filter)",
    facts={"bound": "the average of all, where no cluster is tainted"},
)
@dataclass(frozen=True, kw_only=True)
class Caf:
    """The weighted average whose covariance has the smallest largest eigenvalue, of all that the filter passes.

    Each cluster starts with weight one. While the weights add up to more than m - 2 F, a cluster loses the part of its
    weight that is its squared deviation along the largest principal direction over the largest of these, of clusters
    that still have weight: one that was taken out far away would stretch the scale, so that the others lose next to
    nothing in any number of turns. The direction comes from the m x m Gram matrix of the weighted deviations, by an
    exact eigendecomposition: no random start.

    Guarantees:
        The loop ends after at most 2 F turns.
        The result is a convex combination of the cluster means, and without tainted clusters their average.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; each cluster counts once."""
        return combine(self, means, sizes, tolerate, _filtered, notices=True)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: those that have no weight left in the result."""
        return exclude(self, means, sizes, tolerate, lambda points: _shares(points) == 0)

    def breakdown(self, m: int) -> int:
        """Fewer than half: while outliers of any size have weight, they lose at least as much as honest clusters do."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Nothing is promised for tainted clusters here: the paper's bound is in the largest eigenvalue, not in v."""
        return math.inf if tolerate else 0.0

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded here: which of the averages is returned may change with any of the means."""
        return None


def _filtered(points: Points) -> Tensor:
    return weighted_sum(_shares(points)[:, None], points.means)[:, 0]


def _shares(points: Points) -> Tensor:
    """Return the weights (cells, m) of the best average, which add up to one."""
    products = torch.stack([gram_around(rows).products for rows in points.means])
    m = products.shape[1]
    weights = products.new_ones(products.shape[:2])
    best, smallest = weights / m, products.new_full((len(products), 1), torch.inf)
    for _ in range(2 * points.tolerate):  # in each turn a whole weight becomes zero
        total = weights.sum(dim=1, keepdim=True)
        going = total > m - 2 * points.tolerate
        if not bool(going.any()):
            break
        shares = weights / total.clamp(min=1e-300)
        variance, deviations = _principal(products, shares)
        best = torch.where(going & (variance < smallest), shares, best)
        smallest = torch.where(going, torch.minimum(variance, smallest), smallest)
        # Where all weighted rows agree there is nothing left to take away, and nothing better to find.
        weights = torch.where(variance > 0, weights * (1 - deviations), 0.0)
    return best


def _principal(products: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Return the covariance's largest eigenvalue (cells, 1), and squared deviations (cells, m) over their largest.

    The largest is that of the rows that have a share; what the others are is of no consequence.

    With B the products of the rows relative to their average and s = sqrt(shares), the covariance has the eigenvalues
    of s B s, and along its first direction the rows deviate in proportion to B (s e), e being the eigenvector of that.
    """
    beside = (products @ shares[:, :, None])[:, :, 0]
    middle = (shares * beside).sum(dim=1)[:, None, None]
    centred = products - beside[:, :, None] - beside[:, None, :] + middle
    root = shares.sqrt()
    weighted = root[:, :, None] * centred * root[:, None, :]
    scale = weighted.abs().amax(dim=(1, 2), keepdim=True)  # squares of 1e144 are near the end of float64
    usable = torch.where(scale > 0, scale, 1.0)
    values, vectors = _eigh(weighted / usable)
    deviations = (centred / usable @ (root * vectors[:, :, -1])[:, :, None])[:, :, 0].abs()
    deviations = deviations.masked_fill(shares == 0, 0.0)
    relative = (deviations / deviations.amax(dim=1, keepdim=True).clamp(min=1e-300)).square()
    return (values[:, -1:] * scale[:, 0]).clamp(min=0), relative


def _eigh(matrices: Tensor) -> tuple[Tensor, Tensor]:
    return cast(tuple[Tensor, Tensor], torch.linalg.eigh(matrices))  # torch does not say what is in its pairs
