"""Lengths of rows that neither overflow nor vanish when their squares do."""

from torch import Tensor

__all__ = ["row_norms"]

_SMALLEST = 2.0**-1022  # the smallest normal float64: what is below counts as zero


def row_norms(rows: Tensor) -> Tensor:
    """Return the L2 norms (n, 1) of float64 rows (n, d); inf only where the norm itself is beyond float64."""
    largest = rows.abs().amax(dim=1, keepdim=True).clamp(min=_SMALLEST)
    return (rows / largest).square().sum(dim=1, keepdim=True).sqrt() * largest
