"""Label flipping within pairs of classes."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import DataView, data_attack


@data_attack(source="Han et al. 2018, Co-teaching, NeurIPS (pair flipping), here by all rows and within fixed pairs")
@dataclass(frozen=True, kw_only=True)
class LabelFlipPairwise:
    """Byzantine processes train honestly on data in which classes 0 and 1, 2 and 3, ... have changed places.

    Of an odd number of classes the last one is left alone.
    """

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        return view.inputs, self.target(view.labels, view.classes)

    def target(self, labels: Tensor, classes: int) -> Tensor:
        """The other class of the pair."""
        paired = torch.bitwise_xor(labels, 1)
        return torch.where(paired < classes, paired, labels)
