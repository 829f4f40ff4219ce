"""No contribution at all."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import OwnView, update_attack


@update_attack(
    knowledge="own",
    source="Fraboni, Vidal, Lorenzi 2021, AISTATS (plain free-riding: the model is sent back as it came)",
)
@dataclass(frozen=True, kw_only=True)
class Zero:
    """Each sends an update of zeros."""

    def __call__(self, view: OwnView) -> Tensor:
        return torch.zeros_like(view.own)
