"""Whole clusters at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.placements import PlacementView, placements
from protocols.placements._counting import mask_of
from protocols.randomness import public_stream


@placements.register(source="one extreme: the fewest tainted clusters, about f / c", facts={"knows": "first"})
@dataclass(frozen=True, kw_only=True)
class Packed:
    """As few clusters as possible, filled up one after the other, largest first; it knows the clusters of round 0.

    Guarantees:
        No placement of f processes taints fewer clusters.
        All tainted clusters but one are wholly faulty.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """See FaultPlacement."""
        return ()

    def __call__(self, view: PlacementView) -> NDArray[np.bool_]:
        """See FaultPlacement."""
        clustering = view.clusters(reader="placement packed")
        rng = public_stream(view.seed, "placement", "packed")
        sizes = np.array(clustering.sizes)
        order = np.lexsort((rng.permutation(len(sizes)), -sizes))
        before = np.cumsum(sizes[order]) - sizes[order]
        counts = np.empty_like(sizes)
        counts[order] = np.clip(view.f - before, 0, sizes[order])
        return mask_of(clustering, counts.tolist(), rng)
