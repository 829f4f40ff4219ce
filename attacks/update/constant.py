"""One value everywhere."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import OwnView, update_attack
from protocols.check import CloisterError


@update_attack(knowledge="own", source="Li et al. 2019, RSA, AAAI (same-value attack)", examples=({}, {"value": -1e9}))
@dataclass(frozen=True, kw_only=True)
class Constant:
    """All send the same value in each coordinate: one vector for all, as the attack is defined."""

    value: float = 100.0

    def __post_init__(self) -> None:
        if not abs(self.value) > 0:
            raise CloisterError(f"value = {self.value} is not allowed; allowed: a finite number but 0; see `zero`")

    def __call__(self, view: OwnView) -> Tensor:
        return torch.full_like(view.own, self.value)
