"""Rules that combine the cluster means, one a file."""

from typing import Protocol

import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.registry import Registry

__all__ = ["Aggregator", "aggregators", "check_points", "majority_breakdown", "within_coefficient"]


class Aggregator(Protocol):
    """Combines m cluster means into one update while some clusters are tainted."""

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int) -> Tensor:
        """Return the combined update, float64 of shape (d,).

        `means` is float64 of shape (m, d); `sizes` is int64 of shape (m,), the members of each cluster;
        `tolerate` is the number of tainted clusters (not processes) to withstand, at most breakdown(m).
        Raises: CloisterError for numbers that are not finite or a `tolerate` beyond the breakdown point.
        """
        ...

    def breakdown(self, m: int) -> int:
        """Return the largest number of tainted clusters among m that the rule withstands (-1: m is too small)."""
        ...

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:
        """Return a bound on the L2 change of the result when one process changes its cluster's *sum* by 1.

        None where no bound is proved; then noise on the result gives no epsilon.
        """
        ...

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """Return kappa with ||result - a||^2 <= kappa v while at most `tolerate` clusters are tainted.

        a is the average of the other cluster means, each counted once, and v the average of their squared distances
        to it. Infinity where nothing is promised. (Allouah et al. 2023, AISTATS, Definition 2: (f, kappa)-robustness)
        """
        ...


aggregators: Registry[Aggregator] = Registry("aggregator", ("protocols.aggregators",), "cloister.aggregators")


def majority_breakdown(m: int) -> int:
    """Return the largest F with F < m / 2, the breakdown point of every majority rule."""
    return (m + 1) // 2 - 1


def check_points(means: Tensor, tolerate: int, most: int) -> None:
    """Raise CloisterError unless the means are finite rows and 0 <= tolerate <= most."""
    if means.dim() != 2 or not len(means) or means.dtype != torch.float64 or not bool(torch.isfinite(means).all()):
        raise CloisterError(
            f"cluster means of shape {tuple(means.shape)} and type {means.dtype} are not allowed; "
            f"allowed: finite float64 numbers of shape (clusters, coordinates)"
        )
    if not 0 <= tolerate <= most:
        raise CloisterError(
            f"tolerate = {tolerate} tainted clusters of {means.shape[0]} is beyond this rule; allowed: 0 to {most}"
        )


def within_coefficient(rule: Aggregator, result: Tensor, honest: Tensor, sizes: Tensor, tolerate: int) -> bool:
    """Return whether a result (d,) is as near the average of the honest means (h, d) as the rule's coefficient says."""
    centre = honest.mean(dim=0)
    variance = float((honest - centre).square().sum(dim=1).mean())
    distance = float((result - centre).square().sum())
    bound = rule.coefficient(sizes, tolerate)
    # Rounding: 1e-9 of the bound, and of the numbers themselves where the honest means agree.
    slack = (1e-9) ** 2 * float(honest.square().sum(dim=1).max())
    return distance <= bound * variance * (1 + 1e-6) + slack
