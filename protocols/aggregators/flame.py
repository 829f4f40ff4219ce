"""FLAME: the majority by direction, cut to the median length, and a little noise."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._cells import cosines, each_cell, mean_cut_to, median_length
from protocols.aggregators._facts import stream_of


@aggregators.register(
    source="Nguyen et al. 2022, USENIX Security (FLAME), Algorithm 1",
    facts={
        "equivariant": ("scale",),
        "needs": ("rng",),
        "bound": "none of this form: it bounds the length of the result",
    },
)
@dataclass(frozen=True, kw_only=True)
class Flame:
    """The mean of the majority's cluster means, each cut to the median length S of all, plus noise of std `noise` S.

    The majority is the cluster of more than half of the rows that HDBSCAN finds (min_cluster_size = m // 2 + 1,
    min_samples = 1, one cluster allowed) by cosine distance; where it finds none, all rows stay, cut as they are. The
    source compares the clients' models; a rule sees the updates, which are what the models differ in. Its noise is
    against backdoors: lambda S, lambda = 0.001 in its experiments, which `noise` = 0.001 gives. The default is 0, as
    other rules here add none either, so that what is compared is the filter; privacy is the mechanisms' affair. Each
    cluster counts once.

    Guarantees:
        Without noise, the result is no longer than the median length of the cluster means.
    """

    noise: float = 0.0

    def __post_init__(self) -> None:
        check.non_negative(noise=self.noise)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Aggregator."""

        def filtered(points: Points) -> Tensor:
            return each_cell(points, lambda rows: self._combined(rows, stream_of(given)))

        return combine(self, means, sizes, tolerate, filtered)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: those outside the majority's cluster."""
        return exclude(self, means, sizes, tolerate, lambda points: each_cell(points, lambda rows: ~_majority(rows)))

    def _combined(self, rows: Tensor, rng: np.random.Generator) -> Tensor:
        length = median_length(rows)
        mean = mean_cut_to(rows[_majority(rows)], length)
        drawn = torch.from_numpy(rng.standard_normal(len(mean))).to(mean.device) if self.noise else 0.0
        return mean + self.noise * length * drawn

    def breakdown(self, m: int) -> int:
        """Fewer than half: neither the median length nor a cluster of more than half can then be tainted alone."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity: honest rows that agree are put away or cut as well."""
        return math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change may move a row into or out of the majority."""
        return None


def _majority(rows: Tensor) -> Tensor:
    """Return the mask (m,) of the rows in the one cluster of more than half, or of all rows where there is none."""
    m = rows.shape[0]
    if m < 3:
        return torch.ones(m, dtype=torch.bool, device=rows.device)
    distances = (1.0 - cosines(rows)).clamp(min=0.0).fill_diagonal_(0.0)
    labels = torch.from_numpy(_hdbscan(distances.cpu().numpy(), m // 2 + 1)).to(rows.device)
    # Two clusters of more than half do not fit into m rows, so every label but -1, noise, is the same.
    return labels >= 0 if bool((labels >= 0).any()) else torch.ones_like(labels, dtype=torch.bool)


def _hdbscan(distances: np.ndarray, smallest: int) -> np.ndarray:
    # Imported here: scikit-learn takes a second, which a listing of the rules need not wait for.
    from sklearn import cluster  # pyright: ignore[reportMissingTypeStubs]

    made: Any = cluster
    clustering = made.HDBSCAN(
        metric="precomputed", min_cluster_size=smallest, min_samples=1, allow_single_cluster=True, copy=True
    )
    return clustering.fit(distances).labels_
