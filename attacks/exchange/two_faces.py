"""Two faces: half of the neighbours are told the opposite of what the others are told."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import ExchangeView, exchange_attack
from protocols import check


@exchange_attack(source="equivocation: Lamport, Shostak, Pease 1982, TOPLAS 4(3)", examples=({}, {"spread": 0.5}))
@dataclass(frozen=True, kw_only=True)
class TwoFaces:
    """Tells each neighbour that neighbour's own value, moved along one random direction: half of them up, half down.

    The move is `spread` times the root mean square distance of the clusters from their average, so that it hides
    among honest differences at about 1. All colluding clusters take the same direction, and the same halves.
    """

    spread: float = 3.0

    def __post_init__(self) -> None:
        check.positive(spread=self.spread)

    def __call__(self, view: ExchangeView) -> Tensor:
        m, d = view.held.shape
        direction = torch.from_numpy(view.rng.normal(size=d))
        sides = 1.0 - 2.0 * torch.from_numpy(view.rng.permutation(m) < m // 2).to(torch.float64)
        away = (view.held - view.held.mean(dim=0)).square().sum(dim=1).mean().sqrt()
        told = view.held + self.spread * away * sides[:, None] * direction / direction.square().sum().sqrt()
        return told.expand(len(view.liars), -1, -1)
