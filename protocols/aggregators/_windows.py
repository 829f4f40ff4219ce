"""Means of the values that lie nearest to a centre, in each coordinate by itself."""

import torch
from torch import Tensor

__all__ = ["mean_of_nearest"]


def mean_of_nearest(ordered: Tensor, centre: Tensor, count: int) -> Tensor:
    """Return the mean (d,) of the `count` values nearest to `centre` (d,) in each column of `ordered` (m, d).

    The columns ascend. In order, the nearest values stand side by side; of two windows that reach equally far, the
    lower one counts.
    The values are added up window by window: running totals would pass through a tainted row's huge number.
    """
    windows = ordered.shape[0] - count + 1
    reach = torch.maximum(centre - ordered[:windows], ordered[count - 1 :] - centre)
    start = reach.argmin(dim=0)
    total = torch.zeros_like(centre)
    for offset in range(count):
        total += ordered.gather(0, (start + offset)[None])[0]
    return total / count
