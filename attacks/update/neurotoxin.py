"""Neurotoxin: hide where the honest do not write."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import OwnView, update_attack
from protocols import check


@update_attack(knowledge="own", source="Zhang et al. 2022, Neurotoxin, ICML, Algorithm 1", examples=({}, {"top": 0.5}))
@dataclass(frozen=True, kw_only=True)
class Neurotoxin:
    """Each sends its own update without the coordinates that the global model moved most in the round before.

    The share `top` of all coordinates, by the size of the last global step, is set to zero, so that honest updates do
    not soon undo what is left. It is projected once, after local training, where the paper projects every local
    gradient; in the first round nothing is known, and nothing is projected. Behind an attack on data, as in
    ["backdoor_trigger", "neurotoxin"].
    """

    top: float = 0.05

    def __post_init__(self) -> None:
        check.fraction(top=self.top)

    def __call__(self, view: OwnView) -> Tensor:
        if view.previous is None:
            return view.own.clone()
        count = max(1, round(self.top * len(view.previous)))
        heavy = torch.topk(view.previous.abs(), count).indices
        return view.own.index_fill(1, heavy, 0.0)
