"""Nearest-neighbour averaging."""

from dataclasses import dataclass

import numpy as np
import torch

from protocols.decentralised.heard import Heard
from protocols.decentralised.rules import Exchanged, exchanges, minority, tolerated


@exchanges.register(source="Farhadkhani et al. 2023, ICML, Robust Collaborative Learning with Linear Gradient Overhead")
@dataclass(frozen=True, kw_only=True)
class NearestNeighbourAveraging:
    """The average of the values nearest to its own, its own among them: all it knows but the `tolerate` farthest.

    The paper's graph is complete. On any other one a cluster with k neighbours averages k + 1 - `tolerate` values. Of
    equally far ones the lower number counts.

    Guarantees:
        Where nobody is to be tolerated, each cluster takes the plain average of what it knows.
        The `tolerate` farthest values change nothing, whatever they are.
        A message that is not finite, or too large to square, is among the farthest.
    """

    def __call__(self, heard: Heard, tolerate: int, rng: np.random.Generator) -> Exchanged:  # noqa: ARG002
        """See ExchangeRule."""
        expected = tolerated(self, heard, tolerate)
        count = torch.tensor(heard.graph.degrees) + 1 - expected
        near = heard.distances.clone().fill_diagonal_(-1.0)  # itself before anybody who says the same
        rank = near.argsort(dim=1, stable=True).argsort(dim=1)
        chosen = (rank < count[:, None]) & heard.usable
        chosen.fill_diagonal_(True)
        weights = chosen / chosen.sum(dim=1, keepdim=True).to(torch.float64)
        adjacency = heard.graph.adjacency
        return Exchanged(values=heard.mixed(weights), links=adjacency, ignored=adjacency & ~chosen)

    def breakdown(self, degree: int) -> int:
        """Fewer than half of its neighbours and itself."""
        return minority(degree)

    def reach(self, degree: int) -> float:  # noqa: ARG002
        """Of its neighbours and itself all but `tolerate` are honest: none who is chosen is farther than the last."""
        return 1.0
