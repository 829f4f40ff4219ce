"""Inner-product manipulation."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import HonestView, update_attack
from attacks.update._statistics import mean_of
from protocols import check


@update_attack(knowledge="honest", source="Xie, Koyejo, Gupta 2020, UAI, Section 3", examples=({}, {"tau": 2.0}))
@dataclass(frozen=True, kw_only=True)
class Ipm:
    """All send -tau times the mean of the honest updates, so that the mean points the wrong way."""

    tau: float = 1.0

    def __post_init__(self) -> None:
        check.positive(tau=self.tau)

    def __call__(self, view: HonestView) -> Tensor:
        return (-self.tau * mean_of(view.honest)).expand_as(view.own)
