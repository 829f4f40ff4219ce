"""What pre-aggregators share."""

from collections.abc import Callable

import torch
from torch import Tensor

from protocols.aggregators import NotFiniteError, Points, everything, screen
from protocols.aggregators.pre import PreAggregator
from protocols.check import CloisterError

__all__ = ["screen_alike", "with_new_rows"]


def screen_alike(pre: PreAggregator, means: Tensor, sizes: Tensor, tolerate: int) -> Points:
    """Return the cells without their hostile rows, which must be the same in all of them.

    Raises: CloisterError where they are not, and as `protocols.aggregators.screen`.
    """
    parts = screen(pre, means, sizes, tolerate)
    if len(parts) > 1:
        raise CloisterError(
            f"a batch whose cells have different hostile rows ({len(parts)} kinds) is not allowed before a rule; "
            f"allowed: the same rows in all; a composed rule takes them out cell by cell"
        )
    return parts[0]


def with_new_rows(
    pre: PreAggregator, means: Tensor, sizes: Tensor, tolerate: int, inner: Callable[[Points], Tensor]
) -> tuple[Tensor, Tensor, int]:
    """Return what a pre-aggregator does that makes a new row for each: `inner` maps points to rows (cells, m', d).

    `inner` raises NotFiniteError where a number of its points is not finite, which in float32 saves a pass over the
    rows.
    Raises: CloisterError as `screen_alike`.
    """
    points = everything(pre, means, sizes, tolerate)
    try:
        if means.dtype != torch.float32:
            raise NotFiniteError("in float64 a number may be finite and beyond LIMIT")
        rows = inner(points)
    except NotFiniteError:
        points = screen_alike(pre, means, sizes, tolerate)
        rows = inner(points)
    return rows if means.dim() == 3 else rows[0], points.sizes, points.tolerate
