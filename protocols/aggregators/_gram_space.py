"""Points that are averages of the rows, by their weights: distances between them without touching the coordinates.

A point is z = sum_i w_i x_i with weights that add up to one, and so z - c = sum_i w_i a_i for rows a_i = x_i - c
relative to a row c in their midst. With the lengths n_i = |a_i|, the cosines C_ij = <a_i, a_j> / (n_i n_j) and
u_i = w_i n_i, |z - c|^2 = u C u and |x_j - z|^2 = n_j^2 - 2 n_j (C u)_j + u C u. A row far away, even at 1e30, has a
small weight in every robust average: u_i stays of the size of the others', and so nothing that is large cancels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators._distances import gram_around
from protocols.gram import squared_from

__all__ = ["GramSpace", "gram_space"]


@dataclass(frozen=True, kw_only=True)
class GramSpace:
    """Cells of rows relative to one in their midst: lengths (cells, m), cosines (cells, m, m), `spreads` (cells, m).

    The spread of a row is its median distance to all rows, itself included; the row in the midst has the smallest.
    Everything is float64; cosines of large float32 rows are off by 7e-5 at most, and by 1e-7 as measured.
    """

    spreads: Tensor
    lengths: Tensor
    cosines: Tensor

    def norms(self, weights: Tensor) -> Tensor:
        """Return the lengths (cells,) of sum_i w_i a_i for weights (cells, m)."""
        scaled = weights * self.lengths
        return _along(self.cosines, scaled, scaled).clamp(min=0).sqrt()

    def distances(self, weights: Tensor) -> Tensor:
        """Return the distances (cells, m) of the rows from the points with these weights (cells, m)."""
        scaled = weights * self.lengths
        turned = (self.cosines @ scaled[:, :, None])[:, :, 0]
        beside = self.lengths.square() - 2 * self.lengths * turned
        return (beside + (scaled * turned).sum(dim=1, keepdim=True)).clamp(min=0).sqrt()


def gram_space(means: Tensor) -> GramSpace:
    """Return the space of the rows of each cell of (cells, m, d)."""
    products = torch.stack([gram_around(rows).products for rows in means])
    apart = squared_from(products).sqrt()
    # The lower median: fewer than half of the rows, however near to each other, cannot make it small for themselves.
    spreads = apart.sort(dim=2).values[:, :, (means.shape[1] - 1) // 2]
    centres = spreads.argmin(dim=1)
    cells = torch.arange(len(means), device=means.device)
    beside = products[cells, centres]
    moved = (products - beside[:, :, None]) - (beside - beside[cells, centres][:, None])[:, None, :]
    lengths = moved.diagonal(dim1=1, dim2=2).clamp(min=0).sqrt()
    sizes = torch.where(lengths > 0, lengths, 1.0)
    cosines = moved / sizes[:, :, None] / sizes[:, None, :]
    return GramSpace(spreads=spreads, lengths=lengths, cosines=cosines)


def _along(matrices: Tensor, left: Tensor, right: Tensor) -> Tensor:
    """Return left M right (cells,) for vectors (cells, m)."""
    return (left[:, None, :] @ matrices @ right[:, :, None])[:, 0, 0]
