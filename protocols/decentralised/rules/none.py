"""The baseline: each cluster by itself."""

from dataclasses import dataclass

import numpy as np
import torch

from protocols.decentralised.heard import Heard
from protocols.decentralised.rules import Exchanged, exchanges, tolerated


@exchanges.register(source="baseline: local training")
@dataclass(frozen=True, kw_only=True)
class NoExchange:
    """No cluster hears of another one: what a federation has to beat, and no adversary can harm."""

    def __call__(self, heard: Heard, tolerate: int, rng: np.random.Generator) -> Exchanged:  # noqa: ARG002
        """See ExchangeRule."""
        tolerated(self, heard, tolerate)
        nothing = torch.zeros_like(heard.graph.adjacency)
        return Exchanged(values=heard.values, links=nothing, ignored=nothing)

    def breakdown(self, degree: int) -> int:
        """All of them."""
        return degree

    def reach(self, degree: int) -> float:  # noqa: ARG002
        """It does not move."""
        return 0.0
