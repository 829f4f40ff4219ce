"""Projected gradient descent: an attack that keeps to a ball."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import OwnView, update_attack
from attacks.update._statistics import length, lengths
from protocols import check


@update_attack(
    knowledge="own", source="Wang et al. 2020, Attack of the Tails, NeurIPS (PGD)", examples=({}, {"radius": 0.5})
)
@dataclass(frozen=True, kw_only=True)
class Pgd:
    """Each sends its own update, projected onto the ball of this radius around the global model.

    Without `radius` it is the length of the last global step, which every participant knows; in the first round
    nothing is projected then. It is projected at the end of local training, where the paper also does so between
    epochs. With an attack on data before it and `model_replacement` behind it, it is the paper's PGD with replacement.
    """

    radius: float | None = None

    def __post_init__(self) -> None:
        if self.radius is not None:
            check.positive(radius=self.radius)

    def __call__(self, view: OwnView) -> Tensor:
        step = None if view.previous is None else length(view.previous)
        radius = step if self.radius is None else self.radius
        if radius is None:
            return view.own.clone()
        sizes = lengths(view.own)
        return torch.where(sizes > radius, radius / sizes, 1.0)[:, None] * view.own
