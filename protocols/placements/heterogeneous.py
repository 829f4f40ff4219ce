"""Some processes are more likely to fail than others."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.check import CloisterError
from protocols.placements import PlacementView, placements
from protocols.randomness import public_stream


@placements.register(
    source="Poisson-binomial faults: Wang 1993, Statistica Sinica 3", facts={"knows": "nothing", "on_average": True}
)
@dataclass(frozen=True, kw_only=True)
class Heterogeneous:
    """Each process faulty by itself, in proportion to 1 - trust: f only on average; it knows no clusters.

    The probabilities are min(1, s (1 - trust)) with the s that makes them add up to f.

    Guarantees:
        The expected number of faulty processes is f.
        A less trusted process is never less likely to be faulty.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """See FaultPlacement."""
        return ("trust",)

    def probabilities(self, view: PlacementView) -> NDArray[np.float64]:
        """Return the fault probability (n,) of each process; CloisterError where fewer than f are not fully trusted."""
        doubt = 1.0 - view.population.fact("trust", reader="placement heterogeneous")
        if np.count_nonzero(doubt) < view.f:
            raise CloisterError(
                f"f = {view.f} of {np.count_nonzero(doubt)} processes with trust below 1 is not allowed; "
                f"allowed: 0 to {np.count_nonzero(doubt)}"
            )
        falling = np.sort(doubt)[::-1]
        rest = np.cumsum(falling[::-1])[::-1]  # rest[k] is the doubt about all but the k least trusted
        certain = np.arange(max(view.f, 1))  # how many are faulty for certain: as few as will do
        with np.errstate(invalid="ignore"):
            scale = (view.f - certain) / rest[certain]
        k = int(np.argmax(scale * falling[certain] <= 1 + 1e-12))
        return np.minimum(1.0, doubt * scale[k]) if view.f else np.zeros_like(doubt)

    def __call__(self, view: PlacementView) -> NDArray[np.bool_]:
        """See FaultPlacement."""
        drawn = public_stream(view.seed, "placement", "heterogeneous").random(view.population.n)
        return drawn < self.probabilities(view)
