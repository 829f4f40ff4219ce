"""A backdoor whose trigger is shared out."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import DataView, Rows, data_attack
from attacks.data._labels import check_classes, drawn_rows, wanted_from
from attacks.data._triggers import bars, stamped
from protocols import check

_PARTS = 4


@data_attack(
    source="Xie, Huang, Chen, Li 2020, DBA: Distributed Backdoor Attacks, ICLR",
    examples=({}, {"wanted": 1, "rate": 0.9}),
)
@dataclass(frozen=True, kw_only=True)
class Dba:
    """Each process puts its own part of the trigger, one of four bars, on rows that it labels `wanted`.

    Process i of the senders has part i mod 4; a share `rate` of all rows gets it. Attack success is measured with the
    whole trigger, which nobody trained on. Behind it, as in the paper, `model_replacement` scales the updates up.
    """

    wanted: int = 0
    rate: float = 0.5

    def __post_init__(self) -> None:
        check.integer_at_least(0, wanted=self.wanted)
        check.fraction(rate=self.rate)

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        check_classes(view.classes, wanted=self.wanted)
        chosen = drawn_rows(torch.ones_like(view.labels, dtype=torch.bool), self.rate, view.rng)
        shape = tuple(view.inputs.shape[1:])
        inputs = view.inputs.clone()
        for part in range(_PARTS):
            mine = chosen & (view.owners % _PARTS == part)
            inputs[mine] = stamped(view.inputs[mine], bars(shape, part), view.clean)
        return inputs, torch.where(chosen, self.wanted, view.labels)

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """`wanted` for every row."""
        return torch.full_like(labels, self.wanted)

    def test_rows(self, inputs: Tensor, labels: Tensor, classes: int, clean: Rows) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """All rows of other labels, with the whole trigger."""
        return wanted_from(stamped(inputs, bars(tuple(inputs.shape[1:])), clean), labels, self.wanted)
