"""Random labels."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import DataView, data_attack
from attacks.data._labels import other_labels


@data_attack(source="Zhang et al. 2017, ICLR (random labels), here always a wrong one")
@dataclass(frozen=True, kw_only=True)
class LabelFlipRandom:
    """Byzantine processes train honestly on labels of which each is a wrong one, each with the same probability."""

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        return view.inputs, other_labels(view.labels, view.classes, view.rng)

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """Each row's own label: nothing in particular is wanted."""
        return labels
