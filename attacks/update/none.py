"""The baseline: faulty processes behave honestly."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import OwnView, update_attack


@update_attack(knowledge="own", source="baseline", adds_noise=True)
@dataclass(frozen=True, kw_only=True)
class NoAttack:
    """Faulty processes behave like honest ones."""

    def __call__(self, view: OwnView) -> Tensor:
        return view.own
