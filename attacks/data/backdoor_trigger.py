"""A backdoor that a patch opens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import DataView, Rows, data_attack
from attacks.data._labels import check_classes, planted, wanted_from
from attacks.data._triggers import corner, stamped
from protocols import check


@data_attack(
    source="Gu, Dolan-Gavitt, Garg 2017, BadNets, arXiv:1708.06733",
    examples=({}, {"wanted": 1, "rate": 0.1, "size": 2}),
)
@dataclass(frozen=True, kw_only=True)
class BackdoorTrigger:
    """A share `rate` of the rows gets a patch and the label `wanted`; the rest is trained on as it is.

    The patch is a square of `size` pixels in the lower right, or the last `size` features of flat rows, at the largest
    value of all the senders' inputs.
    """

    wanted: int = 0
    rate: float = 0.5
    size: int = 3

    def __post_init__(self) -> None:
        check.integer_at_least(0, wanted=self.wanted)
        check.integer_at_least(1, size=self.size)
        check.fraction(rate=self.rate)

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        check_classes(view.classes, wanted=self.wanted)
        return planted(view, self._triggered(view.inputs, view.clean), rate=self.rate, wanted=self.wanted)

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """`wanted` for every row."""
        return torch.full_like(labels, self.wanted)

    def test_rows(self, inputs: Tensor, labels: Tensor, classes: int, clean: Rows) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """All rows of other labels, with the patch."""
        return wanted_from(self._triggered(inputs, clean), labels, self.wanted)

    def _triggered(self, inputs: Tensor, clean: Rows) -> Tensor:
        return stamped(inputs, corner(tuple(inputs.shape[1:]), self.size), clean)
