"""The geometric median, by Weiszfeld's iteration in the form that cannot get stuck."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, majority_breakdown
from protocols.aggregators._bounds import heaviest
from protocols.norms import row_norms


@aggregators.register(
    source="Pillutla, Kakade, Harchaoui 2022, IEEE TSP (RFA); iteration: Vardi and Zhang 2000, PNAS, Equation 2.6",
    examples=({}, {"iterations": 8}),
    facts={"bound": "Allouah et al. 2023, AISTATS, Table 1; for unequal sizes by the triangle inequality"},
)
@dataclass(frozen=True, kw_only=True)
class GeometricMedian:
    """The point with the smallest sum of distances to the cluster means, each weighted by its size.

    A cluster mean within `smoothing` of the point counts as being there; a step shorter than that ends the loop.

    Guarantees:
        The loop ends after at most `iterations` steps.
        The result is a convex combination of the cluster means.
    """

    iterations: int = 256
    smoothing: float = 1e-9

    def __post_init__(self) -> None:
        check.integer_at_least(1, iterations=self.iterations)
        check.positive(smoothing=self.smoothing)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; a cluster weighs as much as it has members."""
        return combine(self, means, sizes, tolerate, self._of_all)

    def _of_all(self, points: Points) -> Tensor:
        return torch.stack([self._of_one(means, points.sizes.double()) for means in points.means.double()])

    def _of_one(self, means: Tensor, weights: Tensor) -> Tensor:
        centre = means.median(dim=0).values  # a start that far outliers cannot move
        for _ in range(self.iterations):
            moved = self._step(means, weights, centre)
            if float(row_norms((moved - centre)[None])) <= self.smoothing:
                return moved
            centre = moved
        return centre

    def _step(self, means: Tensor, weights: Tensor, centre: Tensor) -> Tensor:
        """Return the next point; a mean that coincides with the centre holds it back by its weight only."""
        distances = row_norms(means - centre)[:, 0]
        here = distances <= self.smoothing
        shares = (weights / distances.clamp(min=self.smoothing)).masked_fill(here, 0.0)
        total = float(shares.sum())
        if total == 0.0:
            return centre
        target = (shares / total) @ means
        pull = float(row_norms((target - centre)[None])) * total
        held = min(1.0, float(weights[here].sum()) / pull) if pull > 0 else 1.0
        return (1.0 - held) * target + held * centre

    def breakdown(self, m: int) -> int:
        """Fewer than half of the weight, which for balanced clusters is fewer than half of them."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """4 s^2 (1 + r)^2 with r = W_bad / (W - 2 W_bad) of the weights: by the triangle inequality, as in the table.

        For one size it is Allouah et al. 2023, AISTATS, Table 1. Else an honest cluster weighs at most s times as
        much in the minimised sum as in an average that counts each once.
        """
        total, bad = float(sizes.sum()), heaviest(sizes, tolerate)
        if 2 * bad >= total:
            return math.inf
        s = float(sizes.max()) * (sizes.shape[0] - tolerate) / (total - bad)
        return (2 * s * (total - bad) / (total - 2 * bad)) ** 2

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded here: nearly collinear means make it arbitrarily large."""
        return None
