"""CAF: takes weight from cluster means along the direction in which they spread most."""

import math
from dataclasses import dataclass

from torch import Tensor

from protocols.aggregators import NOTHING, Given, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._filtering import filtered_average, filtered_weights


@aggregators.register(
    source="Allouah, Guerraoui, Stephan 2025, ICML, Algorithm 2 (CAF: covariance-bound-agnostic filter)",
    facts={"bound": "the average of all, where no cluster is tainted"},
)
@dataclass(frozen=True, kw_only=True)
class Caf:
    """The weighted average whose covariance has the smallest largest eigenvalue, of all that the filter passes.

    Each cluster starts with weight one. While the weights add up to more than m - 2 F, a cluster loses the part of its
    weight that is its squared deviation along the largest principal direction over the largest of these, of clusters
    that still have weight: one that was taken out far away would stretch the scale, so that the others lose next to
    nothing in any number of turns. The direction comes from the m x m Gram matrix of the weighted deviations, by an
    exact eigendecomposition: no random start. (filterl2 is the same rule, by an older source.)

    Guarantees:
        The loop ends after at most 2 F turns.
        The result is a convex combination of the cluster means, and without tainted clusters their average.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; each cluster counts once."""
        return combine(self, means, sizes, tolerate, filtered_average, notices=True)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting: those that have no weight left in the result."""
        return exclude(self, means, sizes, tolerate, lambda points: filtered_weights(points) == 0)

    def breakdown(self, m: int) -> int:
        """Fewer than half: while outliers of any size have weight, they lose at least as much as honest clusters do."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Nothing is promised for tainted clusters here: the paper's bound is in the largest eigenvalue, not in v."""
        return math.inf if tolerate else 0.0

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded here: which of the averages is returned may change with any of the means."""
        return None
