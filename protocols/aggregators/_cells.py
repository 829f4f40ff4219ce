"""What rules share that look at one cell at a time: a selection among m rows is cheap beside reading them."""

from collections.abc import Callable

import torch
from torch import Tensor

from protocols.aggregators import _ordered
from protocols.aggregators._screening import Points
from protocols.gram import own_products
from protocols.norms import row_norms
from protocols.privacy import clip_to_norm

__all__ = [
    "all_but",
    "centred",
    "cosines",
    "directions",
    "each_cell",
    "gram_of",
    "mean_cut_to",
    "mean_of",
    "median_length",
    "middle",
]


def each_cell(points: Points, kernel: Callable[[Tensor], Tensor]) -> Tensor:
    """Return what `kernel` makes of each cell's rows (m, d), float64, one below the other."""
    return torch.stack([kernel(rows.double()) for rows in points.means])


def centred(rows: Tensor) -> Tensor:
    """Return the rows (m, d) minus their coordinate-wise median.

    Distances from a Gram matrix cancel when the rows are long against them. A mean would be wherever one tainted row
    pulls it, and the honest rows' differences would drown.
    """
    return rows - rows.median(dim=0).values


def gram_of(rows: Tensor) -> Tensor:
    """Return the products (m, m) of the rows around their median, exactly symmetric."""
    return own_products(centred(rows))


def mean_of(rows: Tensor, chosen: Tensor) -> Tensor:
    """Return the mean (d,) of the rows that a mask (m,) or numbers (k,) choose."""
    return rows[chosen].mean(dim=0)


def all_but(rows: Tensor, chosen: Tensor) -> Tensor:
    """Return the mask (m,) of the rows that numbers (k,) do not choose."""
    left = torch.ones(rows.shape[0], dtype=torch.bool, device=rows.device)
    left[chosen] = False
    return left


def median_length(rows: Tensor) -> float:
    """Return the median length of the rows (m, d)."""
    return middle(row_norms(rows)[:, 0])


def mean_cut_to(rows: Tensor, length: float) -> Tensor:
    """Return the mean (d,) of the rows, each cut to this length; zero where that is zero."""
    return (clip_to_norm(rows, length) if length > 0 else torch.zeros_like(rows)).mean(dim=0)


def directions(rows: Tensor) -> Tensor:
    """Return the rows (m, d) scaled to norm 1; a row of zeros stays as it is."""
    largest = rows.abs().amax(dim=1, keepdim=True)
    scaled = rows / torch.where(largest > 0, largest, 1.0)  # first, as the norm may be below the smallest normal number
    return scaled / row_norms(scaled).clamp(min=0.5)


def cosines(rows: Tensor) -> Tensor:
    """Return the cosines (m, m) between rows, exactly symmetric; 0 for a row of zeros, with itself as well."""
    return own_products(directions(rows)).clamp(-1.0, 1.0)


def middle(values: Tensor) -> float:
    """Return the median of values (m,): of an even number, the mean of the middle two."""
    return float(_ordered.middle(values.sort().values))
