"""Noisy inputs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import DataView, data_attack
from protocols import check


@data_attack(source="Biggio, Nelson, Laskov 2012, ICML (poisoned inputs), here by noise", examples=({}, {"std": 10.0}))
@dataclass(frozen=True, kw_only=True)
class FeatureNoise:
    """Byzantine processes train on inputs with Gaussian noise of this standard deviation in each feature."""

    std: float = 1.0

    def __post_init__(self) -> None:
        check.positive(std=self.std)

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        noise = torch.from_numpy(view.rng.standard_normal(size=tuple(view.inputs.shape), dtype="float32"))
        return torch.add(view.inputs, noise, alpha=self.std), view.labels

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """Each row's own label: nothing in particular is wanted."""
        return labels
