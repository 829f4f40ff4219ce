"""The coordinate-wise weighted trimmed mean."""

import math
from dataclasses import dataclass

from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, majority_breakdown
from protocols.aggregators._bounds import heaviest
from protocols.aggregators._ordered import in_weighted_order


@aggregators.register(
    source="Yin et al. 2018, ICML, Definition 2, of processes; of clients: Portnoy et al. 2020, Byzantine-Robust "
    "Client Weighting",
    facts={"bound": "Jensen, and each kept process between two honest ones"},
)
@dataclass(frozen=True, kw_only=True)
class WeightedTrimmedMean:
    """In each coordinate, the mean over processes of the cluster means, without as many as the tainted may be.

    At either end go as many processes as the `tolerate` largest clusters have; a cluster at the border goes in part.
    Where these have half of all or more, no weighted rule withstands them: the middle one or two processes are kept.

    Guarantees:
        It is the trimmed mean of the rows in which each cluster mean is there once for each member.
        While no more than `tolerate` clusters are tainted, and the `tolerate` largest have less than half of the
        processes, each coordinate lies between honest cluster means.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; a cluster weighs as much as it has members."""
        return combine(self, means, sizes, tolerate, _trimmed, notices=True)

    def breakdown(self, m: int) -> int:
        """Fewer than half of the clusters where these have one size; else the coefficient may be infinite."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """(m - F) s / (W - 2 T), where s is the largest size, W the sum, and T that of the F largest.

        Put the processes in order. A tainted cluster has T of them at most, so whoever comes u-th, T < u <= W - T, is
        between the honest ones that come u-th and (u - T)-th among the honest: where it is above the honest average a,
        it is no farther from it than the former, and where it is below, than the latter. So the squared distances of
        the kept ones from a add up to no more than those of all honest processes, at most s (m - F) v; and the square
        of a mean is at most the mean of the squares.
        """
        rest = float(sizes.sum()) - 2 * heaviest(sizes, tolerate)
        return (len(sizes) - tolerate) * float(sizes.max()) / rest if rest > 0 else math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:
        """1 / (W - 2 T): of a cluster of c, moved by 1 / c, at most c processes are kept, of W - 2 T.

        Where hostile clusters with R processes are taken out first, the others that may be tainted have T' <= T - R, so
        W - R - 2 T' processes are kept, no fewer.
        """
        return 1.0 / (int(sizes.sum()) - 2 * _trimmed_at_either_end(sizes, tolerate))


def _trimmed_at_either_end(sizes: Tensor, tolerate: int) -> int:
    return min(int(heaviest(sizes, tolerate)), (int(sizes.sum()) - 1) // 2)


def _trimmed(points: Points) -> Tensor:
    first = _trimmed_at_either_end(points.sizes, points.tolerate)
    last = int(points.sizes.sum()) - first

    def mean(ordered: Tensor, reached: Tensor) -> Tensor:
        ends = reached.clamp(min=first, max=last)
        kept = ends.diff(dim=-1, prepend=ends.new_full((*ends.shape[:-1], 1), first))
        return (ordered.double() * kept).sum(dim=-1) / (last - first)

    return in_weighted_order(points.means, points.sizes, mean)
