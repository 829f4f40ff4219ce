"""Fall of empires: the honest mean moved against itself."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import HonestView, update_attack
from attacks.update._statistics import mean_of
from protocols import check


@update_attack(
    knowledge="honest",
    source="Xie, Koyejo, Gupta 2020, UAI, in the form of El-Mhamdi, Guerraoui, Rouault 2021, ICLR",
    examples=({}, {"epsilon": 2.5}),
)
@dataclass(frozen=True, kw_only=True)
class Foe:
    """All send (1 - epsilon) times the honest mean: with epsilon = 1.1 a short step back. One vector for all."""

    epsilon: float = 1.1

    def __post_init__(self) -> None:
        check.positive(epsilon=self.epsilon)

    def __call__(self, view: HonestView) -> Tensor:
        return ((1.0 - self.epsilon) * mean_of(view.honest)).expand_as(view.own)
