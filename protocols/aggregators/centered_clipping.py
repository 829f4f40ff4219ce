"""Centred clipping: moves from the last result by no more than a radius along any cluster mean."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, majority_breakdown
from protocols.aggregators._rows import distances_from, weighted_sum


@aggregators.register(
    source="Karimireddy, He, Jaggi 2021, ICML, Learning from History (centered clipping)",
    examples=({}, {"radius": 1.0, "iterations": 3}),
    facts={"equivariant": (), "unanimous": False, "within": "(2 iterations - 1) F radius / m"},
)
@dataclass(frozen=True, kw_only=True)
class CenteredClipping:
    """Starts from the result of the round before, and adds the average of the deviations, clipped to `radius`.

    It has memory: `given.previous`, or zero in the first round. `iterations` times the average of the deviations from
    the point reached so far is added to it.

    Guarantees:
        The result is within `iterations` times `radius` of the result of the round before.
        F of m clusters move it by at most (2 iterations - 1) F radius / m from where it is with theirs at that result.
    """

    radius: float = 10.0
    iterations: int = 1

    def __post_init__(self) -> None:
        check.positive(radius=self.radius)
        check.integer_at_least(1, iterations=self.iterations)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Aggregator; each cluster counts once."""
        return combine(self, means, sizes, tolerate, lambda points: self._moved(points, given.previous), notices=True)

    def _moved(self, points: Points, previous: Tensor | None) -> Tensor:
        means = points.means
        centre = means.new_zeros(means.shape[0], means.shape[2])
        if previous is not None:
            centre += previous
        for _ in range(self.iterations):
            distances = distances_from(centre, means)
            # A row at the centre is not clipped; one at any distance is moved by `radius` at most.
            shares = torch.where(distances > self.radius, self.radius / distances.clamp(min=self.radius), 1.0)
            shares /= means.shape[1]
            kept = 1.0 - shares.sum(dim=1, keepdim=True)
            centre = (kept * centre).to(means.dtype) + weighted_sum(shares[:, None], means)[:, 0]
        return centre

    def breakdown(self, m: int) -> int:
        """Fewer than half, of what hostile numbers can do by construction: F of m rows move it by F / m of a radius."""
        return majority_breakdown(m)

    def reach(self, sizes: Tensor, tolerate: int, d: int) -> float:  # noqa: ARG002
        """(2 iterations - 1) F radius / m, as the step v + average of clip(x - v) does not expand, see `sensitivity`.

        In the first step rows at v add nothing, and F others at most `radius` / m each. Later rows at the first centre
        may add as much as well. F rows that are taken out give their weight to the others, whose average of clipped
        deviations is at most `radius`: F / m of it.
        """
        return (2 * self.iterations - 1) * tolerate * self.radius / sizes.shape[0]

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Nothing for a fixed radius: the paper's bound needs one that follows the spread of the honest means."""
        return math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:
        """`iterations` / (c (m - F)): each step adds at most 1 / (m - b) of what one row moves to what the centre has.

        A step is the average over the m - b rows left, where b <= F hostile ones are taken out, of
        v + clip(x - v) = x - (y - clip(y)) with y = x - v. Clipping to a ball is a projection, so neither clip(y) nor
        y - clip(y) expands: moving the centre by e moves the next one by at most e, and moving one row by e by at most
        e / (m - b). A process moves its cluster's mean by 1 / c.
        """
        return self.iterations / (int(sizes.min()) * (sizes.shape[0] - tolerate))
