"""The widest direction of weighted rows, from their products alone: no covariance of d x d numbers."""

from typing import cast

import torch
from torch import Tensor

__all__ = ["deviations_along_widest", "project_capped"]


def deviations_along_widest(gram: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """Return the largest eigenvalue of the weighted covariance, and each row's squared deviation (m,) along it.

    `gram` (m, m) are the products of the rows around any fixed point, `weights` (m,) are at least 0, not all of them.
    The covariance's eigenvalues other than 0 are those of the products of the rows around their weighted mean, each
    scaled with the root of its share; the eigenvector's products with the rows follow from these.
    """
    shares = weights / weights.sum()
    across = gram @ shares
    around = gram - across[:, None] - across[None, :] + shares @ across
    scale = float(around.diagonal().max())
    if scale <= 0.0:
        return 0.0, torch.zeros_like(weights)
    around = around / scale  # the squares of products of the longest rows would be beyond float64
    roots = shares.sqrt()
    values, vectors = cast(tuple[Tensor, Tensor], torch.linalg.eigh(roots[:, None] * around * roots[None, :]))
    widest = float(values[-1].clamp(min=0))
    if widest == 0.0:
        return 0.0, torch.zeros_like(weights)
    return widest * scale, (around @ (roots * vectors[:, -1])).square() / widest * scale


def project_capped(weights: Tensor, cap: float) -> Tensor:
    """Return the shares (m,), at most `cap` each and 1 together, of least relative entropy to positive weights (m,).

    They are min(cap, t w) for one t; the k largest weights are capped, for the least k that leaves none above.
    (Herbster and Warmuth 2001, JMLR: projection onto the capped simplex.)
    """
    ordered, order = weights.sort(descending=True)
    capped = torch.arange(len(weights), device=weights.device, dtype=weights.dtype)
    rest = ordered.flip(0).cumsum(0).flip(0)  # the sum of all that are not capped
    factors = (1.0 - cap * capped) / rest
    fits = (factors * ordered <= cap) & (factors > 0)
    first = int(fits.to(torch.int8).argmax()) if bool(fits.any()) else len(weights) - 1
    shares = torch.full_like(weights, cap)
    shares[order[first:]] = factors[first] * ordered[first:]
    return shares.clamp(max=cap)
