"""The coordinate-wise trimmed mean."""

from dataclasses import dataclass

from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, majority_breakdown
from protocols.aggregators._bounds import faulty_share
from protocols.aggregators._ordered import mean_of_ranks


@aggregators.register(
    source="Yin et al. 2018, ICML, Definition 2", facts={"bound": "Allouah et al. 2023, AISTATS, Table 1"}
)
@dataclass(frozen=True, kw_only=True)
class TrimmedMean:
    """In each coordinate, the mean of the cluster means without the `tolerate` largest and smallest.

    Guarantees:
        While no more than `tolerate` clusters are tainted, each coordinate lies between honest cluster means.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; each cluster counts once."""
        return combine(self, means, sizes, tolerate, _trimmed, notices=True)

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """6 r (1 + r) with r = F / (m - 2 F): Allouah et al. 2023, AISTATS, Table 1."""
        r = faulty_share(sizes.shape[0], tolerate)
        return 6 * r * (1 + r)

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:
        """A process moves one cluster mean by 1 / c, of which the trimmed mean passes on 1 / (m - 2 tolerate).

        The trimmed mean is piecewise linear in each argument, with slope 1 / (m - 2 tolerate) or 0. Where b hostile
        rows are taken out first, m - b are left of which tolerate - b are trimmed at either end, and the slope is
        1 / (m - 2 tolerate + b), no steeper.
        """
        return 1.0 / (int(sizes.min()) * (sizes.shape[0] - 2 * tolerate))


def _trimmed(points: Points) -> Tensor:
    return mean_of_ranks(points.means, points.tolerate, points.means.shape[1] - points.tolerate)
