"""Label flipping from one class to another."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import DataView, data_attack
from attacks.data._labels import check_classes
from protocols import check


@data_attack(
    source="Tolpegin et al. 2020, ESORICS (targeted label flipping)", examples=({}, {"source": 0, "wanted": 1})
)
@dataclass(frozen=True, kw_only=True)
class LabelFlipTargeted:
    """Byzantine processes train honestly on data in which the class `source` is called `wanted`."""

    source: int = 1
    wanted: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, source=self.source, wanted=self.wanted)

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        check_classes(view.classes, source=self.source, wanted=self.wanted)
        return view.inputs, self.target(view.labels, view.classes)

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """`wanted` for the rows of `source`; other rows are left alone."""
        return torch.where(labels == self.source, self.wanted, labels)
