"""Sign flipping."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import OwnView, update_attack
from protocols import check


@update_attack(knowledge="own", source="Li et al. 2019, RSA, AAAI, Section 5", examples=({}, {"scale": 1.0}))
@dataclass(frozen=True, kw_only=True)
class SignFlip:
    """Each Byzantine process sends its own honest update times -scale."""

    scale: float = 4.0

    def __post_init__(self) -> None:
        check.positive(scale=self.scale)

    def __call__(self, view: OwnView) -> Tensor:
        return -self.scale * view.own
