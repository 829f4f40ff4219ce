"""Mean, spread and perturbation directions of honest updates."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import cast

import torch
from torch import Tensor

__all__ = ["DIRECTIONS", "length", "lengths", "mean_and_deviation"]

# So many numbers of a block of columns stay in the cache of a core while they are read twice.
_BLOCK_NUMBERS = 2**17


def mean_and_deviation(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the standard deviation (d,) of each coordinate over the rows (k, d), divided by k.

    Reads memory once: each block of columns is centred and squared while it is in the cache.
    """
    count, d = rows.shape
    width = max(1, _BLOCK_NUMBERS // count)
    mean, deviation = rows.new_empty(d), rows.new_empty(d)
    for start in range(0, d, width):
        block = rows[:, start : start + width]
        centre = torch.mean(block, dim=0, out=mean[start : start + width])
        torch.linalg.vector_norm(block - centre, dim=0, out=deviation[start : start + width])
    return mean, deviation.div_(count**0.5)


def lengths(rows: Tensor) -> Tensor:
    """Return the Euclidean length of each row, (k,)."""
    return cast(Tensor, torch.linalg.vector_norm(rows, dim=1))


def length(vector: Tensor) -> float:
    """Return the Euclidean length of a vector (d,)."""
    return float(lengths(vector[None]))


def _unit(mean: Tensor, deviation: Tensor) -> Tensor:  # noqa: ARG001
    size = length(mean)
    return -mean / size if size else torch.zeros_like(mean)


def _deviation(mean: Tensor, deviation: Tensor) -> Tensor:  # noqa: ARG001
    return -deviation


def _sign(mean: Tensor, deviation: Tensor) -> Tensor:  # noqa: ARG001
    return -mean.sign()


DIRECTIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {"unit": _unit, "deviation": _deviation, "sign": _sign}
)
"""The perturbations of Shejwalkar and Houmansadr 2021, from the mean and the standard deviation (d,) of updates:
inverse unit vector, inverse standard deviation, inverse sign."""
