"""Weighted sums of rows and their distances from a point, without a float64 copy of large float32 rows."""

from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocols import compiled
from protocols.aggregators import NotFiniteError
from protocols.norms import row_norms

__all__ = ["cut_to", "distances_from", "lengths_of", "sums_of_few", "weighted_sum"]

_BLOCK = 4096  # coordinates
_DOT = 512  # coordinates whose squares are added in float32: in whatever order, off by at most 2^9 2^-24 of their sum
_TINY = 2.0**-90
_FAINT = 2.0**-100  # weights that float32 holds with all of their digits are larger


def weighted_sum(weights: Tensor, means: Tensor) -> Tensor:
    """Return weights (cells, k, m) float64 times the rows of (cells, m, d): (cells, k, d), of the rows' type.

    In float32 the sum is off by at most about m 2^-24 times the sum of |weight| |number|, in each coordinate; only a
    weight too small for float32, which a row of 1e30 may have, makes it be computed in float64.
    """
    if means.dtype == torch.float32 and bool(((weights != 0) & (weights.abs() < _FAINT)).any()):
        result = _empty(weights.shape[1], means)
        for start in range(0, means.shape[2], _BLOCK):
            block = slice(start, start + _BLOCK)
            result[:, :, block] = weights @ means[:, :, block].double()
        return result
    factors = weights.to(means.dtype)
    room = _empty(weights.shape[1], means)
    if means.device.type != "cpu" or factors.shape[1] > 1:
        return torch.matmul(factors, means, out=room)
    with np.errstate(over="ignore", invalid="ignore"):  # rows that are not screened yet
        np.matmul(factors.numpy(), means.numpy(), out=room.numpy())  # of one sum, nine tenths of the time of torch's
    return room


def sums_of_few(chosen: Tensor, weights: Tensor, means: Tensor) -> Tensor:
    """Return sums (cells, k, d) of a few rows each of (cells, m, d), of the rows' type: `chosen` (k, few) of them.

    Each row counts by its weight in (k, few) float64, 0 or at least 2^-100. In float32 a sum is off by at most about
    `few` 2^-24 times the sum of |weight| |number|. The rows are read once, where a product with a matrix of weights
    would multiply each of them by k numbers, most of them 0.
    """
    room = _empty(len(chosen), means)
    factors = weights.to(means.dtype)[:, :, None]
    torch.index_select(means, 1, chosen[:, 0], out=room).mul_(factors[:, 0])
    for place in range(1, chosen.shape[1]):
        room.addcmul_(means.index_select(1, chosen[:, place]), factors[:, place])
    return room


def _empty(k: int, means: Tensor) -> Tensor:
    """Return room for k rows a cell; on a CPU numpy's, which comes in huge pages: a quarter of the time at 40 MB."""
    shape = (means.shape[0], k, means.shape[2])
    if means.device.type != "cpu":
        return means.new_empty(shape)
    return torch.from_numpy(np.empty(shape, dtype=np.float32 if means.dtype == torch.float32 else np.float64))


def distances_from(centre: Tensor, means: Tensor) -> Tensor:
    """Return the distances (cells, m) float64 of the rows of (cells, m, d) from centre (cells, d) of the same type.

    In float32 each is off by at most about 2^-15 of itself: no more than 2^12 / 16 squares are added one to another in
    a block, and the blocks in float64.
    Raises: NotFiniteError where a number is not finite.
    """
    return _roots(centre, means)


def _roots(centre: Tensor | None, means: Tensor) -> Tensor:
    squares = _squares(centre, means, means.dtype)
    # Squares of 1e30 are beyond float32, and those of 1e-30 below it.
    if not bool(((squares >= _TINY) & torch.isfinite(squares)).all()):
        squares = _squares(centre, means, torch.float64)
    if not bool(torch.isfinite(squares).all()):
        raise NotFiniteError("distances between finite rows within LIMIT are finite")
    return squares.sqrt()


def lengths_of(means: Tensor) -> Tensor:
    """Return the lengths (cells, m) float64 of the rows of (cells, m, d), as exact as distances_from."""
    lengths = _roots(None, means)
    if bool((lengths > 0).all()):
        return lengths
    return torch.stack([row_norms(rows.double())[:, 0] for rows in means])  # squares of 1e-40 vanish in float32


def cut_to(radius: Tensor, means: Tensor, lengths: Tensor) -> Tensor:
    """Return the rows of (cells, m, d), those longer than their cell's radius (cells,) scaled down to it.

    Where none is longer, what is returned is `means` itself.
    """
    longer = lengths > radius[:, None]
    if not bool(longer.any()):
        return means
    factors = torch.where(longer, radius[:, None] / lengths, 1.0)[:, :, None]
    if means.dtype == torch.float32 and bool((factors < _FAINT).any()):
        return (means.double() * factors).float()
    return torch.mul(means, factors.to(means.dtype), out=_empty(means.shape[1], means))


def _squares(centre: Tensor | None, means: Tensor, dtype: torch.dtype) -> Tensor:
    if centre is not None and compiled.pays(means):
        return compiled.squares_from(centre, means)
    if centre is None and dtype == torch.float32 and means.device.type == "cpu":
        return _own_squares(means.numpy())
    squares = torch.zeros(means.shape[:2], dtype=torch.float64, device=means.device)
    for start in range(0, means.shape[2], _BLOCK):
        block = slice(start, start + _BLOCK)
        part = means[:, :, block].to(dtype)
        part = part if centre is None else part - centre[:, None, block].to(dtype)
        lengths = cast(Tensor, part.norm(dim=2))
        squares += lengths.double().square()
    return squares


def _own_squares(means: NDArray[np.float32]) -> Tensor:
    """Return the rows' squares (cells, m) float64, in one pass at the speed of memory."""
    whole = means.shape[2] - means.shape[2] % _DOT
    blocks, rest = means[:, :, :whole].reshape(*means.shape[:2], whole // _DOT, _DOT), means[:, :, whole:]
    with np.errstate(all="ignore"):  # what overflows or vanishes is seen by who asks
        sums, last = (np.matmul(part[..., None, :], part[..., None])[..., 0, 0] for part in (blocks, rest))
    return torch.from_numpy(sums.sum(axis=2, dtype=np.float64) + last)
