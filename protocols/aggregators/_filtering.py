"""The spectral filter without a known bound: of all that it passes, the weights whose covariance is narrowest."""

from typing import cast

import torch
from torch import Tensor

from protocols.aggregators import Points
from protocols.aggregators._distances import gram_around
from protocols.aggregators._rows import weighted_sum

__all__ = ["filtered_average", "filtered_weights"]


def filtered_average(points: Points, enough: float | None = None) -> Tensor:
    """Return the average (cells, d) of the rows of each cell by these weights."""
    weights = filtered_weights(points, enough)
    shares = weights / weights.sum(dim=1, keepdim=True)
    return weighted_sum(shares[:, None], points.means)[:, 0]


def filtered_weights(points: Points, enough: float | None = None) -> Tensor:
    """Return the weights (cells, m) of the best average, in 0 to 1: less than 2 F of m is taken away, none for F = 0.

    In each turn one row loses all of its weight, so there are at most 2 F turns. They end as soon as the covariance's
    largest eigenvalue is at most `enough`; those weights are then the best, for all before had a larger one.
    """
    products = torch.stack([gram_around(rows).products for rows in points.means])
    m = products.shape[1]
    weights = products.new_ones(products.shape[:2])
    best, smallest = weights, products.new_full((len(products), 1), torch.inf)
    threshold = -1.0 if enough is None else enough
    for _ in range(2 * points.tolerate):  # in each turn a whole weight becomes zero
        total = weights.sum(dim=1, keepdim=True)
        going = (total > m - 2 * points.tolerate) & (smallest > threshold)
        if not bool(going.any()):
            break
        shares = weights / total.clamp(min=1e-300)
        variance, deviations = _principal(products, shares)
        best = torch.where(going & (variance < smallest), weights, best)
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
