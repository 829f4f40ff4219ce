"""Label flipping."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import DataView, data_attack


@data_attack(source="Yin et al. 2018, ICML, Section 7 (labels y to 9 - y)")
@dataclass(frozen=True, kw_only=True)
class LabelFlip:
    """Byzantine processes train honestly on labels y turned into classes - 1 - y."""

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        return view.inputs, self.target(view.labels, view.classes)

    def target(self, labels: Tensor, classes: int) -> Tensor:
        """The flipped label."""
        return classes - 1 - labels
