"""Smallest maximum eigenvalue averaging: the mean of the m - F rows that spread least in any direction."""

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._bounds import faulty_share
from protocols.aggregators._cells import all_but, each_cell, gram_of, mean_of
from protocols.aggregators._subsets import check_subsets, subsets, too_many_subsets

# So many covariances are decomposed at once.
_BATCH = 2048


@aggregators.register(
    source="Allouah, Guerraoui, Gupta, Pinot, Stephan 2023, ICML (privacy-robustness-utility trilemma), SMEA",
    facts={"bound": "proved in SmallestEigenvalue.coefficient"},
)
@dataclass(frozen=True, kw_only=True)
class SmallestEigenvalue:
    """The mean of the m - F cluster means whose covariance has the smallest largest eigenvalue, each counted once.

    All subsets are looked at, by their Gram matrices, whose eigenvalues are those of the covariance; more than 200,000
    are refused.

    Guarantees:
        The result is the mean of a subset whose covariance has the smallest largest eigenvalue.
        More subsets than the limit are refused in one line.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator."""
        return combine(self, means, sizes, tolerate, _averaged)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: exactly `tolerate` of them."""
        return exclude(self, means, sizes, tolerate, _left_out)

    def unfit(self, m: int, tolerate: int) -> str | None:
        """See Bounded."""
        return too_many_subsets(m, tolerate)

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """4 r with r = F / (m - 2 F), even with the largest eigenvalue of the honest covariance in the place of v.

        Kept and honest rows are h = m - F each and share h - k, k <= F. Along a unit vector, the mean of a set is
        within sqrt(k / (h - k)) standard deviations of the mean of h - k of its members; both sets share these, and
        the kept one's largest variance is at most the honest one's. So the means differ by at most twice that.
        """
        return 4 * faulty_share(sizes.shape[0], tolerate)

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may select another subset."""
        return None


def _averaged(points: Points) -> Tensor:
    return each_cell(points, lambda rows: mean_of(rows, _narrowest(rows, points.tolerate)))


def _left_out(points: Points) -> Tensor:
    return each_cell(points, lambda rows: all_but(rows, _narrowest(rows, points.tolerate)))


def _narrowest(rows: Tensor, tolerate: int) -> Tensor:
    """Return the numbers (m - F,) of the rows whose covariance has the smallest largest eigenvalue.

    The subsets are tried in the order of their total variance: of h rows it is at most h - 1 times the largest
    eigenvalue, so once it exceeds that multiple of the best one found, no later subset can be better.
    """
    m, keep = rows.shape[0], rows.shape[0] - tolerate
    check_subsets(m, tolerate)
    gram = gram_of(rows).cpu()
    every = torch.cat(list(subsets(m, keep)))
    totals = torch.cat([_total(gram, kept) for kept in subsets(m, keep)])
    order = totals.argsort(stable=True)
    best, chosen = math.inf, every[order[0]]
    for start in range(0, len(order), _BATCH):
        batch = order[start : start + _BATCH]
        if float(totals[batch[0]]) > best * max(keep - 1, 1):
            break
        largest = cast(Tensor, torch.linalg.eigvalsh(_scatter(gram, every[batch])))[:, -1]
        if float(largest.min()) < best:
            best, chosen = float(largest.min()), every[batch[int(largest.argmin())]]
    return chosen.to(rows.device)


def _total(gram: Tensor, kept: Tensor) -> Tensor:
    """Return the sums (chunk,) of squared distances of each subset's rows from its own mean."""
    own = gram[kept[:, :, None], kept[:, None, :]]
    return own.diagonal(dim1=1, dim2=2).sum(dim=1) - own.sum(dim=(1, 2)) / kept.shape[1]


def _scatter(gram: Tensor, kept: Tensor) -> Tensor:
    """Return the products (chunk, h, h) of each subset's rows around its own mean: h covariances by their spectra."""
    own = gram[kept[:, :, None], kept[:, None, :]]
    across = own.mean(dim=1, keepdim=True)
    return own - across - across.mT + across.mean(dim=2, keepdim=True)
