"""The spectral filter: rows lose weight in proportion to how far they lie along the widest direction."""

import math
from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._filtering import filtered_average, filtered_weights


@aggregators.register(
    source="Diakonikolas et al. 2017, ICML (being robust in high dimensions can be practical); "
    "Zhu, Wang, Pang, Wang, Jiao, Song, Jordan 2023, AISTATS (Byzantine-robust FL with optimal statistical rates)",
    facts={"bound": "rates with unstated constants in the source; none of this form"},
)
@dataclass(frozen=True, kw_only=True)
class SpectralFilter:
    """The weighted mean of the cluster means, with weights whose covariance has a small largest eigenvalue.

    Every row starts with weight 1. Each step takes the widest direction of the weighted rows, with t_i the squared
    deviations along it, and multiplies each weight by 1 - t_i / max t. As in the source, the steps end once the largest
    eigenvalue is at most `variance`: a constant times the honest means' own, which somebody has to know. By default
    nobody does, and they go on until 2 F of weight is gone, and the weights with the smallest eigenvalue on the way
    count, which is what CAF does: the two are then one rule under the names of two sources, and not two votes for one
    result. Where the eigenvalue does not come down to `variance`, it is so as well. While the eigenvalue is
    large, tainted rows lose at least as much weight as honest ones, so no more than 2 F are gone once no tainted one is
    left. The whole update is filtered at once, by the rows' Gram matrix: not tensor by tensor. Clusters count once.

    Guarantees:
        Each step takes all weight of one row at least, so there are at most 2 F of them.
        At most 2 F of the weight is taken away, and none for F = 0.
        Without `variance` the result is that of caf.
        Where the largest eigenvalue of all means is at most `variance`, the result is their average.
    """

    variance: float | None = None

    def __post_init__(self) -> None:
        if self.variance is not None:
            check.positive(variance=self.variance)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator."""
        return combine(
            self, means, sizes, tolerate, lambda points: filtered_average(points, self.variance), notices=True
        )

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: those that keep no weight at all."""
        return exclude(self, means, sizes, tolerate, lambda points: filtered_weights(points, self.variance) == 0)

    def breakdown(self, m: int) -> int:
        """Fewer than half, of huge numbers; the source's rates hold for a small share of tainted clusters."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity for F > 0: the source's constants are not stated. Else the mean."""
        return math.inf if tolerate else 0.0

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded here."""
        return None
