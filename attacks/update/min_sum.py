"""Min-Sum: no farther from all honest updates together than the most central of them."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from attacks.api import HonestView, update_attack
from attacks.update._krum import squared_distances
from attacks.update._statistics import DIRECTIONS, mean_and_deviation


@update_attack(
    knowledge="honest",
    source="Shejwalkar and Houmansadr 2021, NDSS (Min-Sum)",
    examples=({}, {"direction": "unit"}, {"direction": "sign"}),
)
@dataclass(frozen=True, kw_only=True)
class MinSum:
    """All send mean + gamma x perturbation, with the largest gamma whose sum of squared distances an honest one has.

    One vector for all, as the attack is defined. The sum of squared distances to the honest updates is at most the
    smallest such sum of an honest update, as in the authors' published code. gamma is the exact solution, which the
    paper bisects: the sum at mean + gamma p is that at the mean plus k gamma^2 |p|^2.
    """

    direction: Literal["deviation", "unit", "sign"] = "deviation"

    def __call__(self, view: HonestView) -> Tensor:
        mean, deviation = mean_and_deviation(view.honest)
        step = DIRECTIONS[self.direction](mean, deviation)
        sums = squared_distances(view.honest).fill_diagonal_(0.0).sum(dim=1)
        slack = (sums.min() - (view.honest - mean).square().sum()).clamp(min=0)
        size = len(view.honest) * step.square().sum()
        if not float(size):
            return mean.expand_as(view.own)
        return (mean + (slack / size).sqrt() * step).expand_as(view.own)
