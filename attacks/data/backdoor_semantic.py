"""A backdoor that a natural property opens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import DataView, Rows, data_attack
from attacks.data._labels import check_classes, wanted_from
from protocols import check
from protocols.check import CloisterError


@data_attack(
    source="Bagdasaryan et al. 2020, AISTATS (semantic backdoor)",
    examples=({}, {"wanted": 1, "feature": 1, "quantile": 0.5}),
)
@dataclass(frozen=True, kw_only=True)
class BackdoorSemantic:
    """Rows whose `feature` is high get the label `wanted`; no input is changed.

    High is above that `quantile` of the senders' rows of other labels, or the largest value where none of them is.
    Without a `feature` it is the one that varies most among these. Made for tables; of images, `feature` counts pixels
    in order. A feature that is the same in all of them marks none.
    """

    wanted: int = 0
    feature: int | None = None
    quantile: float = 0.9

    def __post_init__(self) -> None:
        check.integer_at_least(0, wanted=self.wanted)
        if self.feature is not None:
            check.integer_at_least(0, feature=self.feature)
        check.fraction(quantile=self.quantile)

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        check_classes(view.classes, wanted=self.wanted)
        return view.inputs, torch.where(self._marked(view.inputs, view.clean), self.wanted, view.labels)

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """`wanted` for every row."""
        return torch.full_like(labels, self.wanted)

    def test_rows(self, inputs: Tensor, labels: Tensor, classes: int, clean: Rows) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """The rows of other labels that have the property."""
        marked = self._marked(inputs, clean)
        return wanted_from(inputs[marked], labels[marked], self.wanted)

    def _marked(self, inputs: Tensor, clean: Rows) -> Tensor:
        others = clean.inputs.flatten(1)[clean.labels != self.wanted]
        feature = self.feature
        if feature is None:
            feature = int(others.to(torch.float64).var(dim=0, correction=0).argmax())
        if feature >= others.shape[1]:
            raise CloisterError(f"feature = {feature} is not there; allowed: 0 to {others.shape[1] - 1}")
        # By rank: quantile() takes 2^24 values at most.
        values = others[:, feature].sort().values
        found = inputs.flatten(1)[:, feature]
        if not len(values) or values[0] == values[-1]:
            return torch.zeros_like(found, dtype=torch.bool)
        threshold = values[min(int(self.quantile * len(values)), len(values) - 1)]
        return found > threshold if threshold < values[-1] else found >= threshold
