"""Each coordinate's numbers in order, a block of coordinates at a time: what coordinate-wise rules compute with."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor

from protocols import compiled
from protocols.aggregators import NotFiniteError

__all__ = ["average_around_median", "in_order", "in_weighted_order", "mean_of_ranks", "middle", "nearest_average"]

# Numbers in a block: 1 MiB in float32, which a second-level cache holds; half and twice as many take as long.
_BLOCK = 2**18


def in_order(means: Tensor, inner: Callable[[Tensor], Tensor]) -> Tensor:
    """Return (cells, d): what `inner` makes of the m numbers of each coordinate of (cells, m, d), smallest first.

    `inner` maps (..., m), sorted along the last axis and its own to change, to (...,) of any floating type.
    Raises: NotFiniteError where a number is not finite.
    """
    result = means.new_empty((means.shape[0], means.shape[2]), dtype=torch.float64)
    for cells, columns in _blocks(*means.shape):
        ordered = _sorted(means[cells, :, columns].mT)
        ends = ordered[..., :: max(1, ordered.shape[-1] - 1)]
        if not bool(torch.isfinite(ends).all()):
            raise NotFiniteError("infinities and NaN are at the ends of the order")
        result[cells, columns] = inner(ordered).to(torch.float64)
    return result


def mean_of_ranks(means: Tensor, first: int, last: int) -> Tensor:
    """Return (cells, d) float64: the mean of the numbers of ranks `first` to `last` - 1 in each coordinate, from 0.

    However it is computed, the numbers are those of (cells, m, d) in exact order, and their sum is off by `last` -
    `first` units of 2^-53 times the sum of their sizes at most; of one or two numbers it is exact but for rounding.
    Raises: NotFiniteError where a number is not finite.
    """
    if compiled.pays(means) and means.shape[1] <= compiled.MOST_ROWS:
        found = compiled.mean_of_ranks(means, first, last)
        if found is None:
            raise NotFiniteError("infinities and NaN have no rank")
        return found
    return in_order(means, lambda ordered: ordered[..., first:last].mean(dim=-1, dtype=torch.float64))


def in_weighted_order(means: Tensor, weights: Tensor, inner: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Return (cells, d): what `inner` makes of the m numbers of each coordinate, smallest first, and of their weights.

    `inner` maps (..., m), sorted along the last axis, and the weight up to and including each number, int64 (..., m),
    to (...,) of any floating type; `weights` is int64 (m,).
    Raises: NotFiniteError where a number is not finite.
    """
    result = means.new_empty((means.shape[0], means.shape[2]), dtype=torch.float64)
    for cells, columns in _blocks(*means.shape):
        ordered, places = means[cells, :, columns].mT.contiguous().sort(dim=-1, stable=True)
        if not bool(torch.isfinite(ordered[..., :: max(1, ordered.shape[-1] - 1)]).all()):
            raise NotFiniteError("infinities and NaN are at the ends of the order")
        result[cells, columns] = inner(ordered, weights[places].cumsum(dim=-1)).to(torch.float64)
    return result


def middle(ordered: Tensor) -> Tensor:
    """Return the median (...,) float64 of m ordered numbers (..., m); of an even number the mean of the middle two."""
    m = ordered.shape[-1]
    # In float64, where the sum of two float32 numbers neither overflows nor is rounded.
    return (ordered[..., (m - 1) // 2].double() + ordered[..., m // 2]) / 2


def nearest_average(ordered: Tensor, centre: Tensor, count: int) -> Tensor:
    """Return the average (...,) float64 of the `count` of the m ordered numbers (..., m) nearest to a centre (...,).

    They are next to each other in the order; of two at the same distance the smaller one counts. The j-th smallest
    gives way to the one `count` places after it where that is nearer, and those that do come before those that do not.
    Where `count` is more than half of m, the middle ones always count, and so each of the others is in one pair.
    """
    m = ordered.shape[-1]
    spare = m - count
    below, above = ordered[..., :spare].double(), ordered[..., count:].double()
    nearer = centre[..., None] - below > above - centre[..., None]
    if spare <= count:
        middle = ordered[..., spare:count].sum(dim=-1, dtype=torch.float64)
        return (middle + torch.where(nearer, above, below).sum(dim=-1)) / count
    first, places = nearer.sum(dim=-1, keepdim=True), torch.arange(m, device=ordered.device)
    inside = (places >= first) & (places < first + count)
    return torch.where(inside, ordered.double(), 0.0).sum(dim=-1) / count


def average_around_median(means: Tensor, count: int) -> Tensor:
    """Return the average (cells, d) float64 of the `count` numbers of each coordinate nearest to their median.

    Raises: NotFiniteError where a number is not finite.
    """
    return in_order(means, lambda ordered: nearest_average(ordered, middle(ordered), count))


def _blocks(cells: int, m: int, d: int) -> Iterator[tuple[slice, slice]]:
    """Yield slices of the cells and of the coordinates that hold about _BLOCK numbers together."""
    width = min(d, max(1, _BLOCK // m))
    height = max(1, _BLOCK // (m * width))
    for first in range(0, cells, height):
        for start in range(0, d, width):
            yield slice(first, first + height), slice(start, start + width)


def _sorted(block: Tensor) -> Tensor:
    """Return a copy of the block, sorted along its last axis.

    On a CPU numpy sorts short rows several times as fast as torch does.
    """
    if block.device.type != "cpu":
        return block.sort(dim=-1).values
    copy = np.array(block.numpy(), order="C")
    copy.sort(axis=-1)
    return torch.from_numpy(copy)
