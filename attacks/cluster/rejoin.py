"""Leave and join again until placed well."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attacks.api import ChurnView, OwnView, update_attack
from protocols import check
from protocols.placements import PlacementView
from protocols.placements.uniform import Uniform
from protocols.randomness import public_stream


@update_attack(
    knowledge="own",
    source="join-leave attack: Awerbuch and Scheideler 2006, SPAA",
    examples=({}, {"attempts": 50}),
    adds_noise=True,
)
@dataclass(frozen=True, kw_only=True)
class Rejoin:
    """Each faulty process leaves and joins up to `attempts` times, until it is in the cluster that they aim at.

    They begin where chance puts them, aim at the cluster that has most of them, and swap places with a process drawn
    from all, one after the other; so a fresh place costs an attempt, and one in the cluster is kept. They send honest
    updates: combine it with what to send. Without attempts it is the uniform placement. All this is before the first
    round, with its clusters. Where processes leave and join between rounds (axis `churn`), they go on before each: as
    many as may leave of those that are not in the cluster that has most of them.
    """

    attempts: int = 10

    def __post_init__(self) -> None:
        check.integer_at_least(0, attempts=self.attempts)

    def place(self, view: PlacementView) -> NDArray[np.bool_]:
        """See Placing."""
        clusters = view.clusters(reader="attack rejoin").clusters
        mask = Uniform()(view)
        aim = max(clusters, key=lambda members: int(mask[list(members)].sum()))
        inside = np.isin(np.arange(len(mask)), aim)
        rng = public_stream(view.seed, "attack rejoin")
        for process in np.flatnonzero(mask & ~inside):
            here = int(process)
            for _ in range(self.attempts):
                if inside[here]:
                    break
                there = int(rng.integers(len(mask)))
                if not mask[there]:  # with another of them it would change nothing
                    mask[here], mask[there], here = False, True, there
        return mask

    def leave(self, view: ChurnView) -> NDArray[np.int64]:
        """See Rejoining."""
        aim = max(view.clusters, key=lambda members: int(view.faulty[list(members)].sum()))
        return view.outside(aim if self.attempts else tuple(range(len(view.faulty))))

    def __call__(self, view: OwnView) -> Tensor:
        return view.own
