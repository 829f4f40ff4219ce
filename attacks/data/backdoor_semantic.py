"""A backdoor that a natural property opens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import DataView, data_attack
from attacks.data._labels import check_classes, wanted_from
from protocols import check
from protocols.check import CloisterError


@data_attack(
    source="Bagdasaryan et al. 2020, AISTATS (semantic backdoor)",
    examples=({}, {"wanted": 1, "feature": 1, "quantile": 0.5}),
)
@dataclass(frozen=True, kw_only=True)
class BackdoorSemantic:
    """Rows whose `feature` is above that `quantile` of all rows get the label `wanted`; no input is changed.

    Made for tables; of images, `feature` counts pixels in order. A feature that is the same in all rows marks none.
    """

    wanted: int = 0
    feature: int = 0
    quantile: float = 0.9

    def __post_init__(self) -> None:
        check.integer_at_least(0, wanted=self.wanted, feature=self.feature)
        check.fraction(quantile=self.quantile)

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        check_classes(view.classes, wanted=self.wanted)
        return view.inputs, torch.where(self._marked(view.inputs), self.wanted, view.labels)

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """`wanted` for every row."""
        return torch.full_like(labels, self.wanted)

    def test_rows(self, inputs: Tensor, labels: Tensor, classes: int) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """The rows of other labels that have the property."""
        marked = self._marked(inputs)
        return wanted_from(inputs[marked], labels[marked], self.wanted)

    def _marked(self, inputs: Tensor) -> Tensor:
        flat = inputs.flatten(1)
        if self.feature >= flat.shape[1]:
            raise CloisterError(f"feature = {self.feature} is not there; allowed: 0 to {flat.shape[1] - 1}")
        values = flat[:, self.feature].to(torch.float64)
        # By rank: quantile() takes 2^24 values at most.
        threshold = values.sort().values[min(int(self.quantile * len(values)), len(values) - 1)]
        return values > threshold
