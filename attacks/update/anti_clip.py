"""Against clipping: as long as an honest update, so that nothing is cut off."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import HonestView, update_attack
from attacks.update._statistics import length, lengths, mean_of
from protocols.check import CloisterError


@update_attack(
    knowledge="honest",
    source="after Sun et al. 2019, arXiv:1911.07963 (norm-bounded updates against a norm bound)",
    examples=({}, {"quantile": 0.0}, {"quantile": 1.0}),
)
@dataclass(frozen=True, kw_only=True)
class AntiClip:
    """All send minus the direction of the honest mean, as long as a quantile of the honest updates. One vector for all.

    Clipping to that length or to a longer one cuts nothing off, and no length gives it away.
    """

    quantile: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.quantile <= 1:
            raise CloisterError(f"quantile = {self.quantile} is not allowed; allowed: 0 (shortest) to 1 (longest)")

    def __call__(self, view: HonestView) -> Tensor:
        reach = lengths(view.honest).quantile(self.quantile)
        mean = mean_of(view.honest)
        size = length(mean)
        return (-reach / size * mean if size else mean).expand_as(view.own)
