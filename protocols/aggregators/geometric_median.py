"""The geometric median, by a smoothed Weiszfeld iteration."""

from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.aggregators import aggregators, check_points, majority_breakdown


@aggregators.register(
    source="Pillutla, Kakade, Harchaoui 2022, IEEE TSP, Algorithm 2 (RFA)", examples=({}, {"iterations": 8})
)
@dataclass(frozen=True, kw_only=True)
class GeometricMedian:
    """The point with the smallest sum of distances to the cluster means, each weighted by its size.

    Guarantees:
        The loop ends after at most `iterations` steps.
        The result is a convex combination of the cluster means.
    """

    iterations: int = 64
    smoothing: float = 1e-6

    def __post_init__(self) -> None:
        check.integer_at_least(1, iterations=self.iterations)
        check.positive(smoothing=self.smoothing)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int) -> Tensor:
        """See Aggregator."""
        check_points(means, tolerate, self.breakdown(means.shape[0]))
        weights = sizes.to(means.dtype)
        centre = means.median(dim=0).values  # a start that far outliers cannot move
        for _ in range(self.iterations):
            distances = (means - centre).square().sum(dim=1).sqrt().clamp(min=self.smoothing)
            shares = weights / distances
            moved = (shares @ means) / shares.sum()
            if float((moved - centre).square().sum().sqrt()) <= self.smoothing * 1e-3:
                return moved
            centre = moved
        return centre

    def breakdown(self, m: int) -> int:
        """Fewer than half (of the weight; clusters differ by at most one member)."""
        return majority_breakdown(m)

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded here: nearly collinear means make it arbitrarily large."""
        return None
