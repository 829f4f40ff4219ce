"""Relocated orthogonal perturbation: against rules that clip around what they said before."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import HonestView, update_attack
from attacks.update._statistics import length, mean_of
from protocols import check
from protocols.check import CloisterError


@update_attack(
    knowledge="honest",
    source="Ozfatura, Ozfatura, Kupcu, Gunduz 2024, IEEE TIFS 19 (Byzantines can also learn from history), ROP",
    examples=({}, {"relocation": 0.5, "history": 0.0, "angle": 180.0, "size": 0.3}),
)
@dataclass(frozen=True, kw_only=True)
class Rop:
    """All send a vector of length `size`, put where centered clipping expects honest updates: at its last result.

    The vector is at `angle` degrees to history x the last global step + (1 - history) x the honest mean, in the plane
    of that and of the vector of ones: at 90, the default, no length is spent on going back, which clipping would cut,
    and the sum of many rounds drifts away. It starts from relocation x the last global step + (1 - relocation) x the
    honest mean. In the first round there was no step, and the direction is the mean's. A radius of the rule that is
    larger than `size` lets all of it pass. One vector for all, as the attack is defined.
    """

    size: float = 1.0
    angle: float = 90.0
    relocation: float = 1.0
    history: float = 0.9

    def __post_init__(self) -> None:
        check.positive(size=self.size)
        check.non_negative(angle=self.angle, relocation=self.relocation, history=self.history)
        most = {"angle": (self.angle, 360), "relocation": (self.relocation, 1), "history": (self.history, 1)}
        for name, (value, limit) in most.items():
            if value > limit:
                raise CloisterError(f"{name} = {value} is not allowed; allowed: 0 to {limit}")

    def __call__(self, view: HonestView) -> Tensor:
        mean = mean_of(view.honest)
        step = torch.zeros_like(mean) if view.previous is None else view.previous
        history = 0.0 if view.previous is None else self.history
        along = _unit(history * step + (1 - history) * mean)
        ones = torch.ones_like(mean)
        across = _unit(ones - (ones @ along) * along)
        turned = math.cos(math.radians(self.angle)) * along + math.sin(math.radians(self.angle)) * across
        start = self.relocation * step + (1 - self.relocation) * mean
        return (start + self.size * _unit(turned)).expand_as(view.own)


def _unit(vector: Tensor) -> Tensor:
    """Return the vector (d,) at length 1; zero stays zero."""
    size = length(vector)
    return vector / size if size else vector
