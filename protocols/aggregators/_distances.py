"""Squared distances between all rows, from Gram matrices: O(n d + n^2) memory, and one matrix product's time.

|x - y|^2 = |x|^2 + |y|^2 - 2 <x, y> cancels where rows are long against their distance. So rows are taken relative to
an origin among them, the error of each distance is bounded, and pairs with too large a bound are computed anew, in
float64 and relative to one of themselves.

The bound. Let u be the unit roundoff, a = fl(x - o) the rows relative to the origin o, and s = |a| + |b| for two rows.
1. Each entry of a is off by a factor 1 + e with |e| <= u, so |a - b| is off |x - y| by at most u s (1 + u), and its
   square by at most 3 u s^2.
2. A product of two rows over K coordinates in any order of summation, with or without fused operations, is off by at
   most g |a| |b| with g = K u / (1 - K u) (Higham 2002, Accuracy and Stability of Numerical Algorithms, Section 3.1,
   and Cauchy and Schwarz). The products over blocks of K coordinates are added in float64, which is the same bound with
   one more rounding a block where u is float64's, and nothing where u is float32's; |a|^2 + |b|^2 - 2 <a, b> is then
   off by at most g s^2.
So a squared distance D is off by at most (K + blocks + 8) u s^2, the 8 covering what is of second order; where that is
at most `tolerance` times D, D is kept. Any rule that orders such distances orders them as exact ones would be, but for
pairs that differ by less than 2 `tolerance` relative to each other: 2^-10 for large float32 rows, 2^-27 else. What was
measured is about 1e-7 and 1e-15, since roundings do not conspire.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse.csgraph import connected_components  # pyright: ignore[reportUnknownVariableType]
from torch import Tensor

from protocols.aggregators import NotFiniteError
from protocols.gram import squared_from

__all__ = ["Gram", "gram_around", "squared_distances"]

_BLOCK = 1024  # coordinates in a product: K above
_SMALL = 2**18  # numbers: fewer are converted to float64 in no time
_SINGLE_TOLERANCE, _DOUBLE_TOLERANCE = 2.0**-11, 2.0**-28
# Below, squares of float32 numbers may have lost digits to the end of its range at 2^-149.
_SINGLE_TINY = 2.0**-90
_SAMPLE = 256  # coordinates by which an origin is chosen


@dataclass(frozen=True, kw_only=True)
class Gram:
    """The products (m, m) float64 of rows relative to an origin: one of them, or zero where `origin` is None.

    `roundoff`: the product of rows a and b is off by at most `roundoff` |a| |b|.
    """

    products: Tensor
    origin: int | None
    roundoff: float

    @property
    def norms(self) -> Tensor:
        """The squared lengths (m,) of the rows relative to the origin."""
        return self.products.diagonal()


def squared_distances(means: Tensor) -> Tensor:
    """Return the squared distances (cells, m, m) float64 of the rows of each cell of (cells, m, d) floats.

    Guarantees:
        Each is within a factor 1 + 2^-10 of the exact one, for float64 and for small inputs within 1 + 2^-27; but for
        rows nearer than 2^-500, whose squares lose digits, and zero between equal rows.
        Memory stays within the rows and a few (m, m) matrices a cell.
    """
    return torch.stack([_distances(rows) for rows in means])


def gram_around(rows: Tensor) -> Gram:
    """Return the products of rows (m, d) relative to a row in the midst of them, or to zero where that is as good.

    Outliers up to nearly half of the rows do not become the origin, unless they hide in coordinates outside a sample.
    Raises: NotFiniteError where a number is not finite.
    """
    origin = _origin(rows)
    if rows.dtype == torch.float32 and rows.numel() > _SMALL:
        found = _gram(rows, origin, torch.float32)
        if bool(torch.isfinite(found.products).all()) and float(found.norms.max()) > _SINGLE_TINY:
            return found
    found = _gram(rows, origin, torch.float64)
    if not bool(torch.isfinite(found.norms).all()):
        raise NotFiniteError("products of finite rows within LIMIT are finite")
    return found


def _distances(rows: Tensor) -> Tensor:
    found = gram_around(rows)
    single = found.roundoff > _DOUBLE_TOLERANCE
    tolerance = _SINGLE_TOLERANCE if single else _DOUBLE_TOLERANCE
    squared, vague = _with_doubts(found, tolerance)
    if single:
        tiny = found.norms < _SINGLE_TINY
        vague |= tiny[:, None] & tiny[None, :] & ~torch.eye(len(rows), dtype=torch.bool, device=rows.device)
    # In each turn every group settles all pairs of its own origin, so that there are at most m turns; two are usual.
    while bool(vague.any()):
        left = torch.zeros_like(vague)
        for group in _groups(vague):
            square = (group[:, None], group[None, :])
            nearest = int(found.norms[group].nan_to_num(nan=torch.inf).argmin())
            closer = _gram(rows[group], nearest, torch.float64)
            again, doubts = _with_doubts(closer, tolerance)
            squared[square] = torch.where(vague[square], again, squared[square])
            left[square] = vague[square] & doubts
        vague = left
    return squared


def _groups(linked: Tensor) -> list[Tensor]:
    """Return the members of each connected component of two rows and more of a symmetric mask (m, m)."""
    labels = cast(tuple[int, NDArray[np.int32]], connected_components(linked.cpu().numpy(), directed=False))[1]
    several = np.flatnonzero(np.bincount(labels) > 1)
    return [torch.from_numpy(np.flatnonzero(labels == label)).to(linked.device) for label in several]


def _with_doubts(found: Gram, tolerance: float) -> tuple[Tensor, Tensor]:
    """Return the squared distances (m, m), and the mask of those whose error may exceed the tolerance."""
    norms = found.norms
    squared = squared_from(found.products).fill_diagonal_(0.0)  # also where a product is not finite
    lengths = norms.sqrt()
    error = found.roundoff * (lengths[:, None] + lengths[None, :]).square()
    doubts = ~(error <= tolerance * squared)  # also where a product is not finite
    if found.origin is not None:  # a distance to the origin is a sum of squares: nothing cancels
        doubts[found.origin] = doubts[:, found.origin] = ~torch.isfinite(norms)
        squared[found.origin] = squared[:, found.origin] = norms
    return squared, doubts.fill_diagonal_(False)


def _gram(rows: Tensor, origin: int | None, dtype: torch.dtype) -> Gram:
    """Return the products of the rows relative to the origin, computed in that type, a block at a time."""
    m, d = rows.shape
    products = torch.zeros(m, m, dtype=torch.float64, device=rows.device)
    if rows.device.type == "cpu":
        _add_own_products(products.numpy(), rows.numpy(), origin, np.float32 if dtype == torch.float32 else np.float64)
    else:
        for start in range(0, d, _BLOCK):
            part = rows[:, start : start + _BLOCK].to(dtype)
            part = part if origin is None else part - part[origin]
            products += part @ part.mT
    blocks = 0 if dtype == torch.float32 else -(-d // _BLOCK)
    roundoff = (min(d, _BLOCK) + blocks + 8) * torch.finfo(dtype).eps / 2
    return Gram(products=products, origin=origin, roundoff=roundoff)


def _add_own_products(
    total: NDArray[np.float64],
    rows: NDArray[np.float32] | NDArray[np.float64],
    origin: int | None,
    dtype: type[np.float32] | type[np.float64],
) -> None:
    """Add the products; numpy sees that each is of a matrix with itself, and does half of the work."""
    with np.errstate(over="ignore", invalid="ignore"):  # rows of 1e30: float64 follows
        for start in range(0, rows.shape[1], _BLOCK):
            part = rows[:, start : start + _BLOCK].astype(dtype, copy=False)
            part = part if origin is None else part - part[origin]
            total += part @ part.T


def _origin(rows: Tensor) -> int | None:
    """Return the row with the smallest median distance to the others in a sample of coordinates.

    None where the rows are no longer than their distances, so that nothing cancels around zero.
    """
    sample = rows[:, :: -(-rows.shape[1] // _SAMPLE)].double()
    around = sample - sample.median(dim=0).values
    typical = squared_from(around @ around.T).median(dim=1).values
    best = int(typical.argmin())
    return best if float(sample.square().sum(dim=1).median()) > float(typical[best]) else None
