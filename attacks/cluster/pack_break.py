"""Concentrate the budget so that thresholds break."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attacks.api import OwnView, update_attack
from protocols.placements import PlacementView
from protocols.placements.worst import Worst


@update_attack(
    knowledge="own",
    source="worst case for thresholds: the cheapest clusters first",
    examples=({}, {"aim": "private"}, {"aim": "live"}),
    adds_noise=True,
)
@dataclass(frozen=True, kw_only=True)
class PackBreak:
    """Sits where it breaks the most clusters on one side, and sends honest updates: combine it with what to send.

    A cluster breaks where it is exposed (private), tainted or lost (correct), or lost (live); `any` is the cheapest.
    """

    aim: Literal["any", "private", "correct", "live"] = "private"

    def place(self, view: PlacementView) -> NDArray[np.bool_]:
        """See Placing."""
        return Worst(aim=self.aim)(view)

    def __call__(self, view: OwnView) -> Tensor:
        return view.own
