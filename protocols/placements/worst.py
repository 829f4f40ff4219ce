"""The adversary's best against this protocol, these clusters and this outer rule."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from protocols.placements import PlacementView, placements
from protocols.placements._counting import mask_of, most_broken
from protocols.placements._sides import Side, rules_of
from protocols.randomness import public_stream
from protocols.tolerance.worst import worst_case
from protocols.types import Clustering


@placements.register(
    source="worst-case analysis, as protocols/tolerance/worst.py: the cheapest clusters first",
    examples=({}, {"aim": "private"}, {"aim": "correct"}, {"aim": "live"}),
    facts={"knows": "first"},
)
@dataclass(frozen=True, kw_only=True)
class Worst:
    """Breaks as many clusters as f Byzantine processes can, on the side that `aim` names; it knows those of round 0.

    Sides: a cluster is exposed (private), tainted or lost (correct), or lost (live). `any` is the side that takes the
    fewest, among those that f can break and that are not broken anyway; where there is none, the correct side.

    Guarantees:
        No placement of f processes breaks more clusters on the side aimed at.
        Some side is broken exactly where protocols.tolerance.worst says that f are not tolerated.
    """

    aim: Literal["any", "private", "correct", "live"] = "any"

    @property
    def needs(self) -> tuple[str, ...]:
        """See FaultPlacement."""
        return ()

    def __call__(self, view: PlacementView) -> NDArray[np.bool_]:
        """See FaultPlacement."""
        clustering = view.clusters(reader="placement worst")
        rng = public_stream(view.seed, "placement", "worst")
        side = _cheapest_side(clustering, view) if self.aim == "any" else self.aim
        order = rng.permutation(len(clustering.sizes))  # so that it is not always the same clusters
        sizes = np.array(clustering.sizes)
        counts = np.empty_like(sizes)
        counts[order] = most_broken(sizes[order].tolist(), rules_of(view.conditions)[side], view.f)
        return mask_of(clustering, counts.tolist(), rng)


def _cheapest_side(clustering: Clustering, view: PlacementView) -> Side:
    groups = tuple(sorted(Counter(clustering.sizes).items()))
    worst = worst_case(groups, view.conditions, view.tolerate)
    costs: Mapping[Side, int] = {"private": worst.private, "live": worst.live, "correct": worst.correct}
    open_sides: list[Side] = [side for side, cost in costs.items() if 0 <= cost < view.f]
    return min(open_sides, key=costs.__getitem__) if open_sides else "correct"
