"""Bad luck: f processes drawn uniformly."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.placements import PlacementView, placements
from protocols.randomness import public_stream


@placements.register(
    source="the usual model of static corruption, independent of the clusters", facts={"knows": "nothing"}
)
@dataclass(frozen=True, kw_only=True)
class Uniform:
    """f processes drawn uniformly; it knows nothing of the clusters.

    Guarantees:
        Every set of f processes is equally likely.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """See FaultPlacement."""
        return ()

    def __call__(self, view: PlacementView) -> NDArray[np.bool_]:
        """See FaultPlacement."""
        n = view.population.n
        faulty = np.zeros(n, dtype=np.bool_)
        faulty[public_stream(view.seed, "placement").choice(n, size=view.f, replace=False)] = True
        return faulty
