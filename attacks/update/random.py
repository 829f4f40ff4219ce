"""Uniform noise instead of an update."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import OwnView, update_attack
from protocols import check


@update_attack(
    knowledge="own",
    source="Lin, Du, Liu 2019, Free-riders in Federated Learning, arXiv:1911.12560 (random weights)",
    examples=({}, {"radius": 0.001}),
)
@dataclass(frozen=True, kw_only=True)
class RandomUpdate:
    """Each sends independent uniform noise from [-radius, radius] in each coordinate."""

    radius: float = 1.0

    def __post_init__(self) -> None:
        check.positive(radius=self.radius)

    def __call__(self, view: OwnView) -> Tensor:
        return torch.from_numpy(view.rng.uniform(-self.radius, self.radius, size=tuple(view.own.shape)))
