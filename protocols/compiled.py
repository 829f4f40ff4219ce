"""What `protocols.kernels` computes, for tensors: worth while for large rows on a CPU only, and only where numba is."""

import importlib
from functools import cache

import numpy as np
import torch
from torch import Tensor

__all__ = ["LEAST", "MOST_ROWS", "column_moments", "mean_of_ranks", "pays", "squares_from"]

LEAST = 2**21
"""Fewer numbers take numpy a few milliseconds: too little to save for the half second of an import."""

MOST_ROWS = 512
"""A sorting network grows with the square of the logarithm: for 1,000 rows numpy's sort is as fast."""


def pays(rows: Tensor) -> bool:
    """Return whether rows (..., d) are so many numbers that compiled loops are worth their import."""
    return rows.device.type == "cpu" and rows.numel() >= LEAST and _there()


@cache
def _there() -> bool:
    """Return whether numba can be imported: it may be missing, or refuse a numpy that is newer than itself."""
    try:
        importlib.import_module("protocols.kernels")
    except (ImportError, OSError):  # the latter where its compiler's library does not fit the machine
        return False
    return True


def mean_of_ranks(means: Tensor, first: int, last: int) -> Tensor | None:
    """Return the means (cells, d) float64 of the numbers of ranks `first` to `last` - 1 in each column.

    `means` (cells, m, d) is float32 or float64; the numbers are added in ascending order. None where one is not finite.
    """
    from protocols import kernels  # imports numba

    pairs = kernels.comparators(means.shape[1], first, last)
    result = np.empty((means.shape[0], means.shape[2]))
    for rows, mean in zip(means.contiguous().numpy(), result, strict=True):
        if not kernels.mean_of_ranks(rows, pairs, first, last, mean):
            return None
    return torch.from_numpy(result)


def column_moments(rows: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
    """Return the mean and the standard deviation (d,) of each column of rows (k, d) of float32 or float64, of its type.

    Third, the columns (some,) in which they are not to be relied on: numbers are not finite, or their squares too large
    or too small; None where there are none.
    """
    from protocols import kernels  # imports numba

    mean, deviation = torch.empty_like(rows[0]), torch.empty_like(rows[0])
    vague = np.empty(rows.shape[1], dtype=np.bool_)
    some = kernels.column_moments(rows.contiguous().numpy(), mean.numpy(), deviation.numpy(), vague)
    return mean, deviation, torch.from_numpy(np.flatnonzero(vague)) if some else None


def squares_from(centre: Tensor, means: Tensor) -> Tensor:
    """Return the squared distances (cells, m) float64 of rows (cells, m, d) from centres (cells, d) of their type.

    Sums in float64; see `protocols.kernels.squares_from`.
    """
    from protocols import kernels  # imports numba

    result = np.empty(means.shape[:2])
    numbers = zip(centre.contiguous().numpy(), means.contiguous().numpy(), result, strict=True)
    for point, rows, squares in numbers:
        kernels.squares_from(point, rows, squares)
    return torch.from_numpy(result)
