"""Gaussian noise instead of an update."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import OwnView, update_attack
from protocols import check


@update_attack(knowledge="own", source="Blanchard et al. 2017, NeurIPS, Section 5", examples=({}, {"std": 200.0}))
@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Each Byzantine process sends independent Gaussian noise of standard deviation std in each coordinate."""

    std: float = 1.0

    def __post_init__(self) -> None:
        check.positive(std=self.std)

    def __call__(self, view: OwnView) -> Tensor:
        return torch.from_numpy(view.rng.normal(0.0, self.std, size=tuple(view.own.shape)))
