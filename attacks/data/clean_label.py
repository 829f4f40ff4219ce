"""A backdoor whose labels are all right."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import DataView, Rows, data_attack
from attacks.data._labels import check_classes, drawn_rows, wanted_from
from attacks.data._triggers import corner, stamped
from protocols import check


@data_attack(
    source="Turner, Tsipras, Madry 2019, Label-Consistent Backdoor Attacks, arXiv:1912.02771",
    examples=({}, {"wanted": 1, "rate": 0.9, "blend": 0.1}),
)
@dataclass(frozen=True, kw_only=True)
class CleanLabel:
    """A share `rate` of the rows of the class `wanted` is made harder to tell and gets a patch; no label is changed.

    What makes a row harder is a part `blend` of a row of another class, drawn at random: the paper interpolates so
    between the codes of a generative model, this between inputs. The patch is that of `backdoor_trigger`.
    """

    wanted: int = 0
    rate: float = 0.5
    blend: float = 0.3
    size: int = 3

    def __post_init__(self) -> None:
        check.integer_at_least(0, wanted=self.wanted)
        check.integer_at_least(1, size=self.size)
        check.fraction(rate=self.rate, blend=self.blend)

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        check_classes(view.classes, wanted=self.wanted)
        chosen = drawn_rows(view.labels == self.wanted, self.rate, view.rng)
        others = torch.nonzero(view.labels != self.wanted)[:, 0]
        inputs = view.inputs.clone()
        if len(others):
            drawn = others[torch.from_numpy(view.rng.integers(len(others), size=int(chosen.sum())))]
            inputs[chosen] = torch.lerp(view.inputs[chosen], view.inputs[drawn], self.blend)
        mask = corner(tuple(view.inputs.shape[1:]), self.size)
        inputs[chosen] = stamped(inputs[chosen], mask, view.clean)
        return inputs, view.labels

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """`wanted` for every row."""
        return torch.full_like(labels, self.wanted)

    def test_rows(self, inputs: Tensor, labels: Tensor, classes: int, clean: Rows) -> tuple[Tensor, Tensor]:  # noqa: ARG002
        """All rows of other labels, with the patch."""
        return wanted_from(stamped(inputs, corner(tuple(inputs.shape[1:]), self.size), clean), labels, self.wanted)
