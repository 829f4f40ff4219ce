"""Dissensus: each neighbour is told what drives it away from its honest neighbours."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import ExchangeView, exchange_attack
from protocols import check


@exchange_attack(
    source="He, Karimireddy, Jaggi 2022, arXiv:2202.01545 (dissensus attack)", examples=({}, {"strength": 0.5})
)
@dataclass(frozen=True, kw_only=True)
class Dissensus:
    """Tells cluster i its own value, moved away from its honest neighbours' by `strength` times what draws it there.

    With W the weights of gossip, H honest and B Byzantine neighbours of i, it is x_i minus `strength` times the sum
    over H of W_ik (x_k - x_i), divided by the sum over B of W_ij. With strength 1, gossip leaves every honest cluster
    where it is, for ever, and nothing that is told is far away.
    """

    strength: float = 1.0

    def __post_init__(self) -> None:
        check.positive(strength=self.strength)

    def __call__(self, view: ExchangeView) -> Tensor:
        itself = torch.eye(len(view.held), dtype=torch.bool)
        byzantine = torch.zeros(len(view.held), dtype=torch.bool)
        byzantine[list(view.liars)] = True
        others = torch.where(itself, 0.0, view.weights)
        honest, rest = others * ~byzantine, (others * byzantine).sum(dim=1)
        # A neighbour that no other honest cluster draws anywhere, or that no Byzantine one reaches, is told the truth.
        drawn = honest @ view.held - honest.sum(dim=1, keepdim=True) * view.held
        told = view.held - self.strength * drawn / torch.where(rest > 0, rest, torch.inf)[:, None]
        return told.expand(len(view.liars), -1, -1)
