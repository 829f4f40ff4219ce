"""Sign flipping, scaled so that a plain mean is turned round."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import OwnView, update_attack
from protocols import check


@update_attack(
    knowledge="own",
    source="Blanchard et al. 2017, NeurIPS, Lemma 1 (no linear rule withstands one sender)",
    examples=({}, {"strength": 0.5}),
)
@dataclass(frozen=True, kw_only=True)
class ScaledSignFlip:
    """Each sends its own honest update turned round, so long that the mean of all n would be -strength times it.

    That is exact where all honest updates are alike: (n - f) u + f s u = -strength n u.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        check.positive(strength=self.strength)

    def __call__(self, view: OwnView) -> Tensor:
        f = len(view.own)
        return -((1.0 + self.strength) * view.n / f - 1.0) * view.own
