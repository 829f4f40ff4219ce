"""A few in every cluster."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.placements import PlacementView, placements
from protocols.placements._counting import filled_up, mask_of
from protocols.randomness import public_stream


@placements.register(source="the other extreme: min(f, m) tainted clusters", facts={"knows": "first"})
@dataclass(frozen=True, kw_only=True)
class Spread:
    """As evenly over the clusters as possible; it knows the clusters of round 0.

    Guarantees:
        No placement of f processes taints more clusters.
        Counts differ by more than one only where a cluster is wholly faulty.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """See FaultPlacement."""
        return ()

    def __call__(self, view: PlacementView) -> NDArray[np.bool_]:
        """See FaultPlacement."""
        clustering = view.clusters(reader="placement spread")
        rng = public_stream(view.seed, "placement", "spread")
        sizes = np.array(clustering.sizes)
        order = rng.permutation(len(sizes))
        counts = np.empty_like(sizes)
        counts[order] = filled_up(sizes[order].tolist(), view.f)
        return mask_of(clustering, counts.tolist(), rng)
