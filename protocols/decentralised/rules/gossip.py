"""Plain gossip."""

from dataclasses import dataclass

import numpy as np

from protocols.decentralised.graph import metropolis_weights
from protocols.decentralised.heard import Heard
from protocols.decentralised.rules import Exchanged, exchanges, tolerated


@exchanges.register(source="Lian et al. 2017, NeurIPS (D-PSGD); weights: Xiao, Boyd, Kim 2007, JPDC 67(1)")
@dataclass(frozen=True, kw_only=True)
class Gossip:
    """The average of its own and its neighbours' values, by Metropolis weights: fast and not robust.

    Guarantees:
        Where all tell all their neighbours what they hold, the average of all values stays the same.
        The distance of the values to their average shrinks at least by 1 minus the spectral gap.
        A message that is not finite, or too large to square, changes nothing.
    """

    def __call__(self, heard: Heard, tolerate: int, rng: np.random.Generator) -> Exchanged:  # noqa: ARG002
        """See ExchangeRule."""
        tolerated(self, heard, tolerate)
        adjacency = heard.graph.adjacency
        return Exchanged(
            values=heard.mixed(metropolis_weights(heard.graph)),
            links=adjacency,
            ignored=adjacency & ~heard.usable,
        )

    def breakdown(self, degree: int) -> int:  # noqa: ARG002
        """One Byzantine neighbour moves it anywhere."""
        return 0

    def reach(self, degree: int) -> float:  # noqa: ARG002
        """It becomes a weighted average of values that are that near."""
        return 1.0
