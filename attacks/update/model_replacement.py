"""Model replacement: an update scaled up until it survives averaging."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import OwnView, update_attack
from protocols import check


@update_attack(
    knowledge="own",
    source="Bagdasaryan et al. 2020, AISTATS",
    examples=({}, {"factor": 3.0}),
)
@dataclass(frozen=True, kw_only=True)
class ModelReplacement:
    """Each sends its own update times `factor`; without it times n / f, so that together they replace the model.

    The paper's factor of one attacker is n / eta, with the server's learning rate eta, here 1. Behind an attack on
    data, as in ["backdoor_trigger", "model_replacement"], what is scaled up is the backdoored update.
    """

    factor: float | None = None

    def __post_init__(self) -> None:
        if self.factor is not None:
            check.positive(factor=self.factor)

    def __call__(self, view: OwnView) -> Tensor:
        return (view.n / len(view.own) if self.factor is None else self.factor) * view.own
