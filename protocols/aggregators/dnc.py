"""Divide and conquer: the rows that lie farthest along the widest direction go."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._cells import each_cell, gram_of, mean_of
from protocols.aggregators._facts import stream_of
from protocols.aggregators._pruning import near_rows
from protocols.aggregators._spectral import deviations_along_widest
from protocols.check import CloisterError


@aggregators.register(
    source="Shejwalkar and Houmansadr 2021, NDSS (manipulating the Byzantine), Algorithm 2 (DnC)",
    examples=({}, {"iterations": 3, "coordinates": 2}),
    facts={"needs": ("rng",), "bound": "none of this form: one direction an iteration is looked at"},
)
@dataclass(frozen=True, kw_only=True)
class DivideAndConquer:
    """The mean of the cluster means that no iteration puts away, each counted once.

    An iteration draws `coordinates` of them without replacement, takes the direction in which the rows vary most
    there, and puts away the ceil(share F) rows farthest from the mean along it. The direction comes from the rows'
    Gram matrix. Absurdly far rows are pruned first, see `protocols.aggregators._pruning`: the source's algorithm looks
    at one direction only, so that two huge rows at a right angle would not both be seen.

    Guarantees:
        Each iteration looks at no more than `coordinates` coordinates, each drawn at most once.
        The same stream gives the same coordinates.
    """

    iterations: int = 1
    coordinates: int = 10_000
    share: float = 1.0

    def __post_init__(self) -> None:
        check.integer_at_least(1, iterations=self.iterations, coordinates=self.coordinates)
        check.positive(share=self.share)
        if self.share < 1:
            raise CloisterError(f"share = {self.share} is not allowed; allowed: at least 1, or tainted rows remain")

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Aggregator."""

        def averaged(points: Points) -> Tensor:
            return each_cell(points, lambda rows: mean_of(rows, self._good(rows, points.tolerate, given)))

        return combine(self, means, sizes, tolerate, averaged)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Selecting."""

        def left_out(points: Points) -> Tensor:
            return each_cell(points, lambda rows: ~self._good(rows, points.tolerate, given))

        return exclude(self, means, sizes, tolerate, left_out)

    def _good(self, rows: Tensor, tolerate: int, given: Given) -> Tensor:
        """Return the mask (m,) of the rows that are neither pruned nor put away by any iteration."""
        rng = stream_of(given)
        good = near_rows(rows, tolerate)
        near = good.nonzero()[:, 0]
        away = math.ceil(self.share * (tolerate - int((~good).sum())))
        for _ in range(self.iterations):
            farthest = self._deviations(rows[near], rng).argsort(descending=True, stable=True)
            good[near[farthest[:away]]] = False
        return good

    def _deviations(self, rows: Tensor, rng: np.random.Generator) -> Tensor:
        d = rows.shape[1]
        drawn = torch.from_numpy(rng.choice(d, size=min(self.coordinates, d), replace=False)).to(rows.device)
        gram = gram_of(rows if len(drawn) == d else rows[:, drawn])
        return deviations_along_widest(gram, torch.ones_like(gram[0]))[1]

    def breakdown(self, m: int) -> int:
        """Fewer than half, and few enough that not all rows are put away: iterations x ceil(share F) < m."""
        most = majority_breakdown(m)
        return min(most, int((m - 1) // self.iterations / self.share))

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity for F > 0: the source's analysis is of one direction. Else the mean."""
        return math.inf if tolerate else 0.0

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may put another one away."""
        return None
