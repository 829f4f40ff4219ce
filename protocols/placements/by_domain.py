"""Whole failure domains fail."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.placements import PlacementView, placements
from protocols.randomness import public_stream


@placements.register(
    source="correlated failures: Ford et al. 2010, Availability in Globally Distributed Storage Systems, OSDI",
    facts={"knows": "nothing", "on_average": True},
)
@dataclass(frozen=True, kw_only=True)
class ByDomain:
    """Whole failure domains fail, drawn uniformly, f n-ths of them: f processes only on average; it knows no clusters.

    Where that is no whole number of domains, it is the one below or the one above, drawn so that the mean is right.

    Guarantees:
        The faulty processes make up whole domains.
        Every domain is equally likely to fail, with probability f / n.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """See FaultPlacement."""
        return ("domains",)

    def __call__(self, view: PlacementView) -> NDArray[np.bool_]:
        """See FaultPlacement."""
        _, domain = np.unique(view.population.fact("domains", reader="placement by_domain"), return_inverse=True)
        rng = public_stream(view.seed, "placement", "domains")
        count = int(domain.max()) + 1
        turn = rng.permutation(count)
        failing, rest = divmod(view.f * count, view.population.n)
        return (turn < failing + int(rng.integers(view.population.n) < rest))[domain]
