"""A little is enough, as far from the honest mean as the defence in place can be moved."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import DefenceView, update_attack
from attacks.update._line_search import maximise
from attacks.update._statistics import length, mean_and_deviation
from protocols import check


@update_attack(
    knowledge="defence",
    source="Baruch et al. 2019, NeurIPS, with the factor searched as in Allouah et al. 2023, AISTATS",
    examples=({}, {"evaluations": 5}),
)
@dataclass(frozen=True, kw_only=True)
class OptimalAlie:
    """All send the honest mean minus z deviations, with the z that moves the server's result the farthest.

    One vector for all, as the attack is defined. z is found by a line search of `evaluations` runs of the defence.
    """

    evaluations: int = 20

    def __post_init__(self) -> None:
        check.integer_at_least(2, evaluations=self.evaluations)

    def __call__(self, view: DefenceView) -> Tensor:
        mean, deviation = mean_and_deviation(view.honest)

        def moved(z: float) -> float:
            return length(view.aggregate((mean - z * deviation).expand_as(view.own)) - mean)

        return (mean - maximise(moved, evaluations=self.evaluations) * deviation).expand_as(view.own)
