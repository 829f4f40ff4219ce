"""Gossip with what a neighbour can do bounded: ClippedGossip."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protocols import check
from protocols.decentralised.graph import metropolis_weights
from protocols.decentralised.heard import Heard
from protocols.decentralised.rules import Exchanged, exchanges, minority, tolerated

# Weights add up to 1 within so much rounding; a neighbour at the limit counts as inside.
_ROUNDING = 1e-12


@exchanges.register(source="He, Karimireddy, Jaggi 2022, arXiv:2202.01545, Algorithm 1", examples=({}, {"radius": 1.0}))
@dataclass(frozen=True, kw_only=True)
class ClippedGossip:
    """x_i + sum over j of W_ij clip(x_j - x_i, tau_i): a neighbour farther away than tau_i counts as if it were there.

    W are Metropolis weights. tau_i is `radius`, or where that is None the practical choice of the paper: with delta_i
    the weight that Byzantine neighbours can have, tau_i^2 = 1/delta_i times the weighted squared distances to the
    nearest ones, oneself included, who weigh 1 - delta_i or less together. delta_i is the weight of the `tolerate`
    heaviest neighbours; where it is 0 this is plain gossip.

    Guarantees:
        Without Byzantine neighbours to tolerate it is plain gossip.
        No neighbour moves a cluster by more than its weight times tau_i.
        A message that is not finite, or too large to square, changes nothing.
    """

    radius: float | None = None

    def __post_init__(self) -> None:
        if self.radius is not None:
            check.positive(radius=self.radius)

    def __call__(self, heard: Heard, tolerate: int, rng: np.random.Generator) -> Exchanged:  # noqa: ARG002
        """See ExchangeRule."""
        weights, adjacency = metropolis_weights(heard.graph), heard.graph.adjacency
        expected = tolerated(self, heard, tolerate)
        distances = torch.where(heard.usable, heard.distances, 0.0)
        radii = self._radii(heard.kept(weights), weights, distances, expected)
        share = torch.where(distances > radii[:, None], radii[:, None] / distances, 1.0)
        clipped = torch.where(adjacency, weights * share, 0.0)
        values = heard.mixed(clipped + torch.diag(1.0 - clipped.sum(dim=1)))
        return Exchanged(values=values, links=adjacency, ignored=adjacency & (~heard.usable | (share < 1.0)))

    def _radii(self, kept: Tensor, weights: Tensor, distances: Tensor, expected: Tensor) -> Tensor:
        """Return tau (m,): from the weights of what is usable, and those of the heaviest neighbours."""
        if self.radius is not None:
            return torch.full((len(weights),), self.radius, dtype=torch.float64)
        heaviest = (weights - torch.diag(weights.diagonal())).sort(dim=1, descending=True).values
        rank = torch.arange(len(weights))
        delta = torch.where(rank < expected[:, None], heaviest, 0.0).sum(dim=1)
        order = distances.argsort(dim=1, stable=True)
        near, weight = distances.gather(1, order), kept.gather(1, order)
        inside = weight.cumsum(dim=1) <= 1.0 - delta[:, None] + _ROUNDING
        spread = torch.where(inside, weight * near.square(), 0.0).sum(dim=1)
        return torch.where(delta > 0, (spread / delta).sqrt(), torch.inf)

    def breakdown(self, degree: int) -> int:
        """Fewer than half of its neighbours and itself."""
        return minority(degree)

    def reach(self, degree: int) -> float:  # noqa: ARG002
        """(1 + sqrt 2) / 2; infinity with a fixed radius, which may be larger than any distance.

        Let D be the distance to the farthest honest neighbour and delta bound the Byzantine weight. All who count in
        tau are within D: whoever is farther comes after all honest ones, who weigh 1 - delta already. So tau^2 is at
        most (1 - delta) D^2 / delta, honest ones move it by (1 - delta) D and Byzantine ones by delta tau, in all by
        (1 - delta + sqrt(delta (1 - delta))) D, whose largest value this is.
        """
        return math.inf if self.radius is not None else (1.0 + math.sqrt(2.0)) / 2.0
