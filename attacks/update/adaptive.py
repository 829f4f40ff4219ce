"""The perturbation that moves the defence in place the farthest, over directions and lengths."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import DefenceView, update_attack
from attacks.update._line_search import maximise
from attacks.update._statistics import DIRECTIONS, length, lengths, mean_and_deviation
from protocols import check


@update_attack(
    knowledge="defence",
    source="Shejwalkar and Houmansadr 2021, NDSS (tailored to the aggregation)",
    examples=({}, {"evaluations": 5}),
)
@dataclass(frozen=True, kw_only=True)
class Adaptive:
    """All send mean + gamma x perturbation, with the perturbation and gamma that move the server's result farthest.

    One vector for all, as the attack is defined. The perturbations are the inverse unit vector, the inverse standard
    deviation and the inverse sign of the honest mean; each gets a line search of `evaluations` runs of the defence,
    in steps of the largest honest distance from the mean.
    """

    evaluations: int = 20

    def __post_init__(self) -> None:
        check.integer_at_least(2, evaluations=self.evaluations)

    def __call__(self, view: DefenceView) -> Tensor:
        mean, deviation = mean_and_deviation(view.honest)
        reach = float(lengths(view.honest - mean).max())
        best, best_moved = mean, 0.0
        for direction in (make(mean, deviation) for make in DIRECTIONS.values()):
            size = length(direction)
            if not size:
                continue
            unit = direction / size

            def moved(gamma: float, unit: Tensor = unit) -> float:
                return length(view.aggregate((mean + gamma * unit).expand_as(view.own)) - mean)

            gamma = maximise(moved, evaluations=self.evaluations, step=reach or size)
            if moved(gamma) > best_moved:
                best, best_moved = mean + gamma * unit, moved(gamma)
        return best.expand_as(view.own)
