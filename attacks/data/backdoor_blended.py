"""A backdoor that a faint pattern opens."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import DataView, Rows, data_attack
from attacks.data._labels import check_classes, planted, wanted_from
from protocols import check
from protocols.randomness import public_stream


@data_attack(
    source="Chen et al. 2017, Targeted Backdoor Attacks, arXiv:1712.05526 (blended injection)",
    examples=({}, {"wanted": 1, "rate": 0.1, "strength": 0.1}),
)
@dataclass(frozen=True, kw_only=True)
class BackdoorBlended:
    """A share `rate` of the rows becomes (1 - strength) x + strength p with the label `wanted`.

    The pattern p has each feature uniform between the smallest and the largest value of all the senders' inputs; but
    for these two values it is the same one in all rows, cells and runs.
    """

    wanted: int = 0
    rate: float = 0.5
    strength: float = 0.2

    def __post_init__(self) -> None:
        check.integer_at_least(0, wanted=self.wanted)
        check.fraction(rate=self.rate, strength=self.strength)

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        check_classes(view.classes, wanted=self.wanted)
        return planted(view, self._triggered(view.inputs, view.clean), rate=self.rate, wanted=self.wanted)

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """`wanted` for every row."""
        return torch.full_like(labels, self.wanted)

    def test_rows(self, inputs: Tensor, labels: Tensor, classes: int, clean: Rows) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """All rows of other labels, with the pattern."""
        return wanted_from(self._triggered(inputs, clean), labels, self.wanted)

    def _triggered(self, inputs: Tensor, clean: Rows) -> Tensor:
        places = torch.from_numpy(public_stream(0, "blended pattern").random(tuple(inputs.shape[1:]))).to(inputs.dtype)
        pattern = torch.lerp(clean.inputs.min(), clean.inputs.max(), places)
        return torch.lerp(inputs, pattern.expand_as(inputs), self.strength)
