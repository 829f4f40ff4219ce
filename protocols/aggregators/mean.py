"""The plain average."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, NotFiniteError, Points, aggregators, combine
from protocols.aggregators._rows import weighted_sum


@aggregators.register(
    source="McMahan et al. 2017, AISTATS, Algorithm 1", facts={"bound": "Cauchy and Schwarz, for no tainted cluster"}
)
@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean over processes: cluster means weighted by cluster size; no robustness at all.

    Guarantees:
        The result is the mean over all processes, whatever the clusters.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; one tainted cluster moves the mean anywhere, so it tolerates none."""
        return combine(self, means, sizes, tolerate, _mean, notices=True)

    def breakdown(self, m: int) -> int:  # noqa: ARG002
        """None."""
        return 0

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """Cauchy and Schwarz: m times the squared difference of the weights from 1 / m; 0 for clusters of one size."""
        if tolerate:
            return math.inf
        weights = sizes.double() / sizes.sum()
        return float(len(weights) * (weights - 1 / len(weights)).square().sum())

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """The mean is the sum of all updates over n."""
        return 1.0 / int(sizes.sum())


def _mean(points: Points) -> Tensor:
    weights = points.sizes.double()
    shares = (weights / weights.sum()).expand(len(points.means), 1, -1)
    result = weighted_sum(shares, points.means)[:, 0]
    # A sum shows in a tenth of the time that all are finite, unless it overflows.
    if not (bool(torch.isfinite(result.sum())) or bool(torch.isfinite(result).all())):
        raise NotFiniteError("all weights are above zero, so what is not finite in a row is not in the mean")
    return result
