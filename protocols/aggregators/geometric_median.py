"""The geometric median, by Weiszfeld's iteration in the form that cannot get stuck."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, majority_breakdown
from protocols.aggregators._bounds import heaviest
from protocols.aggregators._gram_space import GramSpace, gram_space
from protocols.aggregators._rows import weighted_sum

_TINY = 1e-150


@aggregators.register(
    source="Pillutla, Kakade, Harchaoui 2022, IEEE TSP (RFA); iteration: Vardi and Zhang 2000, PNAS, Equation 2.6",
    examples=({}, {"iterations": 8}),
    facts={"bound": "Allouah et al. 2023, AISTATS, Table 1; for unequal sizes by the triangle inequality"},
)
@dataclass(frozen=True, kw_only=True)
class GeometricMedian:
    """The point with the smallest sum of distances to the cluster means, each weighted by its size.

    A cluster mean within `smoothing` times the spread of the means counts as being at the point, and a step shorter
    than that ends the loop. The spread is the smallest median distance of a mean to all of them that is not zero: fewer
    than half of the means, however far away, do not stretch it. The point is kept as weights of the cluster means, so a
    step costs O(m^2), whatever d is.

    Guarantees:
        The loop ends after at most `iterations` steps.
        The result is a convex combination of the cluster means.
        Means of any scale from 1e-9 to 1e9 give the result of that scale.
    """

    iterations: int = 256
    smoothing: float = 1e-9

    def __post_init__(self) -> None:
        check.integer_at_least(1, iterations=self.iterations)
        check.positive(smoothing=self.smoothing)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; a cluster weighs as much as it has members."""
        return combine(self, means, sizes, tolerate, self._middle, notices=True)

    def _middle(self, points: Points) -> Tensor:
        weights = points.sizes.double()
        space = gram_space(points.means)
        shares = _start(space, weights)
        near = self.smoothing * _spread(space)
        moving = torch.ones(len(shares), 1, dtype=torch.bool, device=shares.device)
        for _ in range(self.iterations):
            moved = torch.where(moving, _step(space, weights, shares, near), shares)
            moving = moving & (space.norms(moved - shares)[:, None] > near)
            shares = moved
            if not bool(moving.any()):
                break
        return weighted_sum(shares[:, None], points.means)[:, 0]

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


def _start(space: GramSpace, weights: Tensor) -> Tensor:
    """Return weights (cells, m) in inverse proportion to the squared spreads: fewer than half far away have none."""
    smallest = space.spreads.amin(dim=1, keepdim=True)
    near = torch.where(space.spreads > 0, smallest / space.spreads.clamp(min=1e-300), 1.0).square() * weights
    return near / near.sum(dim=1, keepdim=True)


def _spread(space: GramSpace) -> Tensor:
    """Return the smallest positive spread (cells, 1); at least 1e-150, as the square of anything smaller is lost."""
    positive = space.spreads.masked_fill(space.spreads == 0, torch.inf).amin(dim=1, keepdim=True)
    return torch.where(positive.isinf(), 0.0, positive).clamp(min=_TINY)


def _step(space: GramSpace, weights: Tensor, shares: Tensor, near: Tensor) -> Tensor:
    """Return the next weights (cells, m); a mean within `near` (cells, 1) holds the point by its weight only."""
    distances = space.distances(shares)
    here = distances <= near
    pulls = (weights / distances.clamp(min=near)).masked_fill(here, 0.0)
    total = pulls.sum(dim=1, keepdim=True)
    target = torch.where(total > 0, pulls / total.clamp(min=torch.finfo(total.dtype).tiny), shares)
    pull = space.norms(target - shares)[:, None] * total
    weight_here = (weights * here).sum(dim=1, keepdim=True)
    held = torch.where(pull > weight_here, weight_here / pull.clamp(min=torch.finfo(pull.dtype).tiny), 1.0)
    return (1.0 - held) * target + held * shares
