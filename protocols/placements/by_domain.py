"""Whole failure domains fail."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.placements import PlacementView, placements
from protocols.randomness import public_stream


@placements.register(
    source="correlated failures: Ford et al. 2010, Availability in Globally Distributed Storage Systems, OSDI",
    facts={"knows": "nothing"},
)
@dataclass(frozen=True, kw_only=True)
class ByDomain:
    """Failure domains fail one after the other, in random order, until f processes have; it knows no clusters.

    Guarantees:
        All faulty processes but those of one domain make up whole domains.
        Every domain is equally likely to fail first.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """See FaultPlacement."""
        return ("domains",)

    def __call__(self, view: PlacementView) -> NDArray[np.bool_]:
        """See FaultPlacement."""
        _, domain = np.unique(view.population.fact("domains", reader="placement by_domain"), return_inverse=True)
        rng = public_stream(view.seed, "placement", "domains")
        turn = rng.permutation(int(domain.max()) + 1)[domain]
        faulty = np.zeros(view.population.n, dtype=np.bool_)
        faulty[np.lexsort((rng.permutation(len(faulty)), turn))[: view.f]] = True
        return faulty
