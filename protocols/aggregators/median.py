"""The coordinate-wise median."""

from dataclasses import dataclass

from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, majority_breakdown
from protocols.aggregators._bounds import faulty_share
from protocols.aggregators._ordered import mean_of_ranks


@aggregators.register(
    source="Yin et al. 2018, ICML, Definition 1", facts={"bound": "Allouah et al. 2023, AISTATS, Table 1"}
)
@dataclass(frozen=True, kw_only=True)
class Median:
    """The coordinate-wise median of the cluster means (of an even number: the mean of the middle two).

    Guarantees:
        While fewer than half of the clusters are tainted, each coordinate lies between honest cluster means.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; each cluster counts once."""
        return combine(self, means, sizes, tolerate, _median, notices=True)

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """4 (1 + r)^2 with r = F / (m - 2 F): Allouah et al. 2023, AISTATS, Table 1."""
        return 4 * (1 + faulty_share(sizes.shape[0], tolerate)) ** 2

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """A process moves one cluster mean by 1 / c; the median moves no further, in any coordinate.

        Order statistics are monotone and shift with their arguments, so changing one argument by at most r
        changes each of them, and so the mean of two of them, by at most r, however many hostile rows are taken out.
        """
        return 1.0 / int(sizes.min())


def _median(points: Points) -> Tensor:
    m = points.means.shape[1]
    return mean_of_ranks(points.means, (m - 1) // 2, m // 2 + 1)
