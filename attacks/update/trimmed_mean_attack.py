"""The attack that is tailored to the trimmed mean and the median, with full knowledge."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import HonestView, update_attack
from protocols.check import CloisterError


@update_attack(
    knowledge="honest",
    source="Fang, Cao, Jia, Gong 2020, USENIX Security (trimmed mean and median, full knowledge)",
    examples=({}, {"factor": 10.0}),
)
@dataclass(frozen=True, kw_only=True)
class TrimmedMeanAttack:
    """In each coordinate, each sends its own draw just beyond the honest values, against the honest direction.

    Where the mean of all honest updates is positive, below their smallest value, from factor x min or min / factor up
    to min; else above their largest. Coordinates are those of updates, where the paper's are those of models.
    """

    factor: float = 2.0

    def __post_init__(self) -> None:
        if not self.factor > 1:
            raise CloisterError(f"factor = {self.factor} is not allowed; allowed: a finite number > 1")

    def __call__(self, view: HonestView) -> Tensor:
        total = view.honest.sum(dim=0) + view.own.sum(dim=0)
        low, high = view.honest.aminmax(dim=0)
        edge = torch.where(total > 0, low, high)
        # Farther out than the edge: its multiple where it points outwards, else its fraction.
        outwards = torch.where(total > 0, edge < 0, edge > 0)
        far = torch.where(outwards, edge * self.factor, edge / self.factor)
        share = torch.from_numpy(view.rng.uniform(size=tuple(view.own.shape)))
        return edge + share * (far - edge)
