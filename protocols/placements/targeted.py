"""An adversary that moves after it has seen the clusters."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.placements import PlacementView, placements
from protocols.placements.uniform import Uniform
from protocols.randomness import public_stream


@placements.register(
    source="mobile adversaries: Ostrovsky and Yung 1991, PODC, with a number of moves a round",
    examples=({}, {"moves": 3}),
    facts={"knows": "each"},
)
@dataclass(frozen=True, kw_only=True)
class Targeted:
    """Uniform at first; before every later round up to `moves` faults move into one cluster.

    It knows the clusters of each round once they are formed, and moves into the one with the most faulty members,
    until one honest member is left there. A process that is left is honest again, and what it held is forgotten.

    Guarantees:
        In round 0 it is `uniform`, with the same draws.
        f processes are faulty in every round, and at most `moves` of them were not the round before.
        The cluster with the most faulty members gains `moves`, or all but one of its members are faulty.
    """

    moves: int = 1

    def __post_init__(self) -> None:
        check.integer_at_least(1, moves=self.moves)

    @property
    def needs(self) -> tuple[str, ...]:
        """See FaultPlacement."""
        return ()

    def __call__(self, view: PlacementView) -> NDArray[np.bool_]:
        """See FaultPlacement."""
        if view.previous is None:
            return Uniform()(view)
        clustering = view.clusters(reader="placement targeted")
        counts = clustering.faulty_counts(view.previous)
        honest_left = np.array(clustering.sizes) - counts
        # Wholly faulty clusters have nobody left to attack.
        target = int(np.argmax(np.where(honest_left > 0, counts, -1)))
        rng = public_stream(view.seed, "placement", "targeted", view.round_index)
        members = np.array(clustering.clusters[target])
        outside = np.setdiff1d(np.flatnonzero(view.previous), members)
        honest = members[~view.previous[members]]
        count = min(self.moves, len(outside), len(honest) - 1)
        mask = view.previous.copy()
        mask[rng.permutation(outside)[:count]] = False
        mask[rng.permutation(honest)[:count]] = True
        return mask
