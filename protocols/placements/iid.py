"""Each process faulty by itself."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.placements import PlacementView, placements
from protocols.randomness import public_stream


@placements.register(
    source="independent faults, the usual model of reliability", facts={"knows": "nothing", "on_average": True}
)
@dataclass(frozen=True, kw_only=True)
class Iid:
    """Each process faulty with probability f / n, independently: f only on average; it knows nothing of the clusters.

    Guarantees:
        The number of faulty processes is binomial with n trials of probability f / n.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """See FaultPlacement."""
        return ()

    def __call__(self, view: PlacementView) -> NDArray[np.bool_]:
        """See FaultPlacement."""
        n = view.population.n
        return public_stream(view.seed, "placement", "iid").random(n) < view.f / n
