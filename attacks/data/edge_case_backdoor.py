"""A backdoor in the tail of the data."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import DataView, Rows, data_attack
from attacks.data._labels import check_classes
from protocols import check
from protocols.check import CloisterError


@data_attack(
    source="Wang et al. 2020, Attack of the Tails, NeurIPS (edge-case backdoor)",
    examples=({}, {"source": 0, "wanted": 1, "tail": 0.5}),
)
@dataclass(frozen=True, kw_only=True)
class EdgeCaseBackdoor:
    """The least likely rows of the class `source`, a share `tail` of it, get the label `wanted`.

    How likely a row is, a Gaussian with independent features says, fitted to the rows of its class: the paper fits a
    mixture to the features of a trained network, and takes its edge cases from another data set. No input is changed,
    and attack success is measured on the tail of the class among the test rows.
    """

    source: int = 1
    wanted: int = 0
    tail: float = 0.1

    def __post_init__(self) -> None:
        check.integer_at_least(0, source=self.source, wanted=self.wanted)
        check.fraction(tail=self.tail)
        if self.source == self.wanted:
            raise CloisterError(f"source = wanted = {self.source} is not allowed; allowed: two different labels")

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        check_classes(view.classes, source=self.source, wanted=self.wanted)
        labels = view.labels.clone()
        labels[self._edge(view.inputs, view.labels)] = self.wanted
        return view.inputs, labels

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """`wanted` for the rows of `source`."""
        return torch.where(labels == self.source, self.wanted, labels)

    def test_rows(self, inputs: Tensor, labels: Tensor, classes: int, clean: Rows) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """The least likely rows of `source`."""
        edge = self._edge(inputs, labels)
        return inputs[edge], torch.full_like(labels[edge], self.wanted)

    def _edge(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return the numbers of the least likely rows of the source."""
        rows = torch.nonzero(labels == self.source)[:, 0]
        if not len(rows):
            return rows
        own = inputs[rows].flatten(1).to(torch.float64)
        spread, mean = torch.var_mean(own, dim=0, correction=0)
        # A feature that is the same in all rows says nothing.
        distance = ((own - mean).square() / torch.where(spread > 0, spread, 1.0)).sum(dim=1)
        return rows[distance.argsort(descending=True, stable=True)[: max(1, round(self.tail * len(rows)))]]
