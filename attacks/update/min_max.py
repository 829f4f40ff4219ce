"""Min-Max: no farther from any honest update than these are from each other."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from attacks.api import HonestView, update_attack
from attacks.update._krum import squared_distances
from attacks.update._statistics import DIRECTIONS, mean_and_deviation


@update_attack(
    knowledge="honest",
    source="Shejwalkar and Houmansadr 2021, NDSS (Min-Max)",
    examples=({}, {"direction": "unit"}, {"direction": "sign"}),
)
@dataclass(frozen=True, kw_only=True)
class MinMax:
    """All send mean + gamma x perturbation, with the largest gamma that stays within the honest updates' diameter.

    One vector for all, as the attack is defined. The largest distance to an honest update is at most the largest
    distance between two of them; gamma is the exact solution of these quadratic conditions, which the paper bisects.
    """

    direction: Literal["deviation", "unit", "sign"] = "deviation"

    def __call__(self, view: HonestView) -> Tensor:
        mean, deviation = mean_and_deviation(view.honest)
        step = DIRECTIONS[self.direction](mean, deviation)
        centred = view.honest - mean
        squared = squared_distances(view.honest).fill_diagonal_(0.0)
        # |x_i - mean - gamma p|^2 = a_i - 2 gamma b_i + gamma^2 c <= diameter^2; a mean is never farther than it.
        slack = (squared.max() - centred.square().sum(dim=1)).clamp(min=0)
        along, size = centred @ step, step.square().sum()
        if not float(size):
            return mean.expand_as(view.own)
        gamma = ((along + (along.square() + size * slack).sqrt()) / size).min()
        return torch.add(mean, step, alpha=float(gamma)).expand_as(view.own)
