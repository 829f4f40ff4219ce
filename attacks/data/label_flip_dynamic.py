"""Label flipping to what the model finds least likely."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import DataView, data_attack
from protocols.check import CloisterError


@data_attack(
    source="Shejwalkar et al. 2022, Back to the Drawing Board, IEEE S&P (dynamic label flipping)", each_round=True
)
@dataclass(frozen=True, kw_only=True)
class LabelFlipDynamic:
    """In each round Byzantine processes train honestly on the labels that the global model finds least likely.

    The paper's surrogate model is the global one here, which every participant holds. An untrained model may find the
    right label least likely: then that row keeps it.
    """

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        if view.scores is None:
            raise CloisterError("label_flip_dynamic needs the global model; allowed: a view with scores")
        return view.inputs, view.scores(view.inputs).argmin(dim=1)

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """Each row's own label: nothing in particular is wanted."""
        return labels
