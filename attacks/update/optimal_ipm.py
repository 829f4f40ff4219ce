"""Inner-product manipulation, as strong as the defence in place lets through."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import DefenceView, update_attack
from attacks.update._line_search import maximise
from attacks.update._statistics import length, mean_of
from protocols import check


@update_attack(
    knowledge="defence",
    source="Xie, Koyejo, Gupta 2020, UAI, with the factor searched as in Allouah et al. 2023, AISTATS",
    examples=({}, {"evaluations": 5}),
)
@dataclass(frozen=True, kw_only=True)
class OptimalIpm:
    """All send -tau times the honest mean, with the tau that moves the server's result the farthest from that mean.

    One vector for all, as the attack is defined. tau is found by a line search of `evaluations` runs of the defence.
    """

    evaluations: int = 20

    def __post_init__(self) -> None:
        check.integer_at_least(2, evaluations=self.evaluations)

    def __call__(self, view: DefenceView) -> Tensor:
        mean = mean_of(view.honest)

        def moved(tau: float) -> float:
            return length(view.aggregate((-tau * mean).expand_as(view.own)) - mean)

        return (-maximise(moved, evaluations=self.evaluations) * mean).expand_as(view.own)
