"""The baseline: faulty processes behave honestly."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import OwnView, update_attack


@update_attack(knowledge="own", source="baseline")
@dataclass(frozen=True, kw_only=True)
class NoAttack:
    """Byzantine processes send their honest updates."""

    def __call__(self, view: OwnView) -> Tensor:
        return view.own
