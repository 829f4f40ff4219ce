"""A little is enough."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import HonestView, update_attack
from protocols import check


@update_attack(knowledge="honest", source="Baruch et al. 2019, NeurIPS, Algorithm 3", examples=({}, {"z": 0.5}))
@dataclass(frozen=True, kw_only=True)
class Alie:
    """All send the honest mean minus z standard deviations in each coordinate: small, but always the same way."""

    z: float = 1.5

    def __post_init__(self) -> None:
        check.positive(z=self.z)

    def __call__(self, view: HonestView) -> Tensor:
        spread = view.honest.std(dim=0, correction=0)
        return (view.honest.mean(dim=0) - self.z * spread).expand_as(view.own)
