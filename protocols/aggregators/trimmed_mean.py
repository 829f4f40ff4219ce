"""The coordinate-wise trimmed mean."""

from dataclasses import dataclass

from torch import Tensor

from protocols.aggregators import aggregators, check_points, majority_breakdown
from protocols.aggregators._bounds import faulty_share


@aggregators.register(source="Yin et al. 2018, ICML, Definition 2")
@dataclass(frozen=True, kw_only=True)
class TrimmedMean:
    """In each coordinate, the mean of the cluster means without the `tolerate` largest and smallest.

    Guarantees:
        While no more than `tolerate` clusters are tainted, each coordinate lies between honest cluster means.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int) -> Tensor:  # noqa: ARG002
        """See Aggregator."""
        m = means.shape[0]
        check_points(means, tolerate, self.breakdown(m))
        return means.sort(dim=0).values[tolerate : m - tolerate].mean(dim=0)

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """6 r (1 + r) with r = F / (m - 2 F): Allouah et al. 2023, AISTATS, Table 1."""
        r = faulty_share(sizes.shape[0], tolerate)
        return 6 * r * (1 + r)

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:
        """A process moves one cluster mean by 1 / c, of which the trimmed mean passes on 1 / (m - 2 tolerate).

        The trimmed mean is piecewise linear in each argument, with slope 1 / (m - 2 tolerate) or 0.
        """
        return 1.0 / (int(sizes.min()) * (sizes.shape[0] - 2 * tolerate))
