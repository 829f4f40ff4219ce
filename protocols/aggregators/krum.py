"""Krum: the cluster mean that lies closest to its nearest neighbours."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import aggregators, check_points
from protocols.aggregators._bounds import faulty_share


@aggregators.register(source="Blanchard et al. 2017, NeurIPS, Section 4")
@dataclass(frozen=True, kw_only=True)
class Krum:
    """The one cluster mean with the smallest sum of squared distances to its m - F - 2 nearest others.

    Guarantees:
        The result is one of the cluster means; ties go to the lowest cluster number.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int) -> Tensor:  # noqa: ARG002
        """See Aggregator."""
        m = means.shape[0]
        check_points(means, tolerate, self.breakdown(m))
        # Distances from a Gram matrix cancel when the rows are long against them. So the rows are centred first,
        # on the median: a mean would be wherever one tainted row pulls it, and all other distances would drown.
        centred = means - means.median(dim=0).values
        gram = centred @ centred.T
        norms = gram.diagonal()
        squared = (norms[:, None] + norms[None, :] - 2 * gram).clamp(min=0)
        squared = squared.nan_to_num(nan=torch.inf, posinf=torch.inf)  # rows too long to square are far from all
        squared.fill_diagonal_(torch.inf)
        scores = squared.sort(dim=1).values[:, : m - tolerate - 2].sum(dim=1)
        return means[int(scores.argmin())]

    def breakdown(self, m: int) -> int:
        """Krum needs m >= 2 F + 3 clusters."""
        return (m - 3) // 2

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """6 (1 + r) with r = F / (m - 2 F): Allouah et al. 2023, AISTATS, Table 1."""
        return 6 * (1 + faulty_share(sizes.shape[0], tolerate))

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may select another one."""
        return None
