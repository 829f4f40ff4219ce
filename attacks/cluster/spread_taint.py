"""Spread the budget so that the most clusters are tainted."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attacks.api import OwnView, update_attack
from protocols.placements import PlacementView
from protocols.placements.spread import Spread


@update_attack(
    knowledge="own", source="worst case for means that are opened: min(f, m) tainted clusters", adds_noise=True
)
@dataclass(frozen=True, kw_only=True)
class SpreadTaint:
    """Sits in as many clusters as there are faulty processes, and sends honest updates: combine it with what to send.

    `attack = ["spread_taint", "ipm"]`: no placement lets an attack on updates taint more clusters.
    """

    def place(self, view: PlacementView) -> NDArray[np.bool_]:
        """See Placing."""
        return Spread()(view)

    def __call__(self, view: OwnView) -> Tensor:
        return view.own
