"""Takes rows out that no honest cluster can have sent, before any rule sees them: numbers that cannot be computed with.

A row with NaN, an infinity or a number beyond LIMIT is surely a tainted cluster's. Taking b such rows out leaves
m' = m - b rows, of which at most F' = F - b are tainted, and as many honest ones as before: m' - F' = m - F. The
published coefficients grow with r = F / (m - 2 F), and r' = (F - b) / (m - 2 F + b) <= r; so a rule that is told
(m', F') keeps every bound that it has for (m, F). Whatever remains can be squared, and so every rule may compute
distances without a thought about overflow.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from protocols.check import CloisterError

__all__ = ["LIMIT", "NotFiniteError", "Points", "combine", "everything", "exclude", "hostile_rows", "screen"]

LIMIT = 2.0**480
"""The largest number that a row may hold, about 3e144: differences are at most 2^481, their squares 2^962, and a sum
of 2^60 such squares, more coordinates than any memory has, stays below the 2^1024 where float64 ends."""

_TYPES = (torch.float32, torch.float64)


class NotFiniteError(ArithmeticError):
    """A kernel met a number that is not finite in rows that were not screened yet."""


class _Rule(Protocol):
    """What screening has to know of a rule."""

    def breakdown(self, m: int) -> int:
        """See Aggregator."""
        ...


@dataclass(frozen=True, kw_only=True)
class Points:
    """Cells (cells, m, d) that lost the same rows: what a rule computes with.

    `kept` (m,) are the rows' numbers among all clusters, `cells` (cells,) the cells' numbers in the batch.
    """

    means: Tensor
    sizes: Tensor
    tolerate: int
    kept: Tensor
    cells: Tensor


def combine(
    rule: _Rule,
    means: Tensor,
    sizes: Tensor,
    tolerate: int,
    inner: Callable[[Points], Tensor],
    *,
    notices: bool = False,
    all_out: bool = False,
) -> Tensor:
    """Return what `inner` makes of the rows that can be computed with: (d,) for means (m, d), (cells, d) for a batch.

    `inner` maps points with means (cells, m', d) to (cells, d); it is called once for all cells that lost the same
    rows. `notices`: in float32 it raises NotFiniteError itself where a number of its points is not finite, which saves
    a pass over the rows; no float32 number is beyond LIMIT. `all_out`: as many hostile rows as there are are taken out,
    whatever is tolerated, unless that is all of them: for a rule that promises nothing of tainted clusters anyhow.
    Raises: CloisterError for what is not allowed, see Aggregator.
    """
    points = everything(rule, means, sizes, tolerate)
    if notices and means.dtype == torch.float32:
        try:
            result = inner(points).to(means.dtype)
        except NotFiniteError:
            pass
        else:
            return result if means.dim() == 3 else result[0]
    batch, parts = points.means, _screened(points, all_out=all_out)
    if len(parts) == 1:
        result = inner(parts[0]).to(means.dtype)
    else:
        result = batch.new_empty((batch.shape[0], batch.shape[2]))
        for points in parts:
            result[points.cells] = inner(points).to(means.dtype)
    return result if means.dim() == 3 else result[0]


def exclude(
    rule: _Rule,
    means: Tensor,
    sizes: Tensor,
    tolerate: int,
    inner: Callable[[Points], Tensor],
    *,
    all_out: bool = False,
) -> Tensor:
    """Return the mask (m,), or (cells, m), of rows without a part in the result: hostile ones, and those of `inner`.

    `inner` maps points with means (cells, m', d) to the mask (cells, m') of the rows that the rule leaves out.
    `all_out`: see combine.
    """
    batch = means if means.dim() == 3 else means[None]
    out = torch.ones(batch.shape[:2], dtype=torch.bool, device=means.device)
    for points in _screened(everything(rule, means, sizes, tolerate), all_out=all_out):
        out[points.cells[:, None], points.kept[None, :]] = inner(points)
    return out if means.dim() == 3 else out[0]


def screen(rule: _Rule, means: Tensor, sizes: Tensor, tolerate: int) -> list[Points]:
    """Return the cells without their hostile rows, those that lost the same rows together.

    Raises: CloisterError for means that are not rows of float32 or float64, a `tolerate` beyond the breakdown point, or
    more hostile rows than `tolerate` in a cell.
    """
    return _screened(everything(rule, means, sizes, tolerate))


def everything(rule: _Rule, means: Tensor, sizes: Tensor, tolerate: int) -> Points:
    """Return all rows of all cells, hostile ones too. Raises: CloisterError for a wrong shape, type or `tolerate`."""
    _check_shape(means, sizes)
    batch = means if means.dim() == 3 else means[None]
    m, most = batch.shape[1], rule.breakdown(batch.shape[1])
    if not 0 <= tolerate <= most:
        raise CloisterError(f"tolerate = {tolerate} tainted clusters of {m} is beyond this rule; allowed: 0 to {most}")
    return Points(
        means=batch,
        sizes=sizes.to(means.device),
        tolerate=tolerate,
        kept=torch.arange(m, device=means.device),
        cells=torch.arange(len(batch), device=means.device),
    )


def _screened(points: Points, *, all_out: bool = False) -> list[Points]:
    if _surely_all_fine(points.means):
        return [points]
    patterns = [tuple(bool(bad) for bad in cell) for cell in hostile_rows(points.means)]
    _check_few(patterns, points.means.shape[1] - 1 if all_out else points.tolerate)
    alike: dict[tuple[bool, ...], list[int]] = {}
    for cell, pattern in enumerate(patterns):
        alike.setdefault(pattern, []).append(cell)
    parts: list[Points] = []
    for pattern, numbers in alike.items():
        cells = points.cells[numbers]
        kept = points.kept[[not bad for bad in pattern]]
        rows = points.means[cells[:, None], kept[None, :]]
        tolerate = max(0, points.tolerate - sum(pattern))  # fewer are taken out than told, but for `all_out`
        parts.append(Points(means=rows, sizes=points.sizes[kept], tolerate=tolerate, kept=kept, cells=cells))
    return parts


def hostile_rows(means: Tensor) -> Tensor:
    """Return the mask (..., m) of the rows of (..., m, d) with a number that is not finite or beyond LIMIT."""
    largest = torch.maximum(means.amax(dim=-1), -means.amin(dim=-1))  # NaN where there is one
    return ~(largest.double() <= LIMIT)


def _surely_all_fine(batch: Tensor) -> bool:
    """Return True only where no row is hostile: one pass, which 1e30 in float32 does not survive."""
    flat = batch.reshape(-1)
    # No term of a sum of squares exceeds it, nor does rounding make a larger term smaller than another.
    return bool(torch.dot(flat, flat).double() <= LIMIT**2)


def _check_shape(means: Tensor, sizes: Tensor) -> None:
    if means.dim() not in (2, 3) or not means.numel() or means.dtype not in _TYPES:
        raise CloisterError(
            f"cluster means of shape {tuple(means.shape)} and type {means.dtype} are not allowed; allowed: float32 or "
            f"float64 numbers of shape (clusters, coordinates) or (cells, clusters, coordinates)"
        )
    if sizes.shape != means.shape[-2:-1] or sizes.dtype != torch.int64:
        raise CloisterError(
            f"sizes of shape {tuple(sizes.shape)} and type {sizes.dtype} are not allowed; allowed: int64 of shape "
            f"({means.shape[-2]},), one for each cluster"
        )


def _check_few(patterns: list[tuple[bool, ...]], tolerate: int) -> None:
    for cell, pattern in enumerate(patterns):
        if sum(pattern) > tolerate:
            where = f" of cell {cell}" if len(patterns) > 1 else ""
            rows = [j for j, bad in enumerate(pattern) if bad]
            raise CloisterError(
                f"clusters {rows}{where} hold numbers that are not finite or beyond {LIMIT:.2g}, more than tolerate = "
                f"{tolerate}; allowed: at most {tolerate} such clusters; tolerate more, or leave them out"
            )
