"""Keep one's share of the noise to oneself."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import OwnView, update_attack


@update_attack(knowledge="own", source="noise that members add inside a sum: Kairouz, Liu, Steinke 2021, ICML")
@dataclass(frozen=True, kw_only=True)
class OmitNoise:
    """Sends honest updates without the privacy noise that it ought to add: the sum of its cluster is less private.

    Accuracy may rise; what falls is the noise that hides the honest members, which `epsilon` tells.
    """

    def __call__(self, view: OwnView) -> Tensor:
        return view.own
