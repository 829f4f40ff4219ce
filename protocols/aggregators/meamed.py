"""Mean around the median, coordinate by coordinate."""

from dataclasses import dataclass

from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, majority_breakdown
from protocols.aggregators._bounds import faulty_share
from protocols.aggregators._ordered import average_around_median


@aggregators.register(
    source="Xie et al. 2018, Generalized Byzantine-tolerant SGD, arXiv 1802.10116 (mean-around-median)",
    facts={"bound": "from the median's, by exchanging kept tainted numbers for dropped honest ones: see `coefficient`"},
)
@dataclass(frozen=True, kw_only=True)
class Meamed:
    """In each coordinate, the mean of the m - F cluster means nearest to the median; of two as near, the smaller.

    Guarantees:
        While no more than `tolerate` clusters are tainted, every number that counts is as near to the median as some
        honest one.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; each cluster counts once."""
        return combine(self, means, sizes, tolerate, _around_median, notices=True)

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """4 F / (m - F) (1 + k) with k = 4 (1 + r)^2 of the median and r = F / (m - 2 F), in each coordinate.

        Of the m - F numbers that count at most F are tainted, and for each of those, b, an honest one, h, does not
        count; b is at least as near to the median M, so |b - h| <= 2 |h - M|. The result is off by the sum of these
        over m - F, whose square is at most 4 F / (m - F)^2 times the sum of (h - M)^2 over all honest ones (Cauchy
        and Schwarz); and that is m - F times the variance and the median's own squared error, at most k variances.
        """
        m = sizes.shape[0]
        k = 4 * (1 + faulty_share(m, tolerate)) ** 2
        return 4 * tolerate / (m - tolerate) * (1 + k)

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded here: a small change of the median may exchange numbers that count for others as near."""
        return None


def _around_median(points: Points) -> Tensor:
    return average_around_median(points.means, points.means.shape[1] - points.tolerate)
