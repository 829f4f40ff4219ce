"""Mimic one victim until it is alone among the faulty."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attacks.api import ChurnView, ClaimView, OwnView, Points, update_attack


@update_attack(
    knowledge="own",
    source="isolation under clustering by similarity: the clusters that the adversary chooses",
    adds_noise=True,
)
@dataclass(frozen=True, kw_only=True)
class Isolate:
    """Claims the features of one honest victim, so that clustering by similarity puts its mimics around it.

    As many faulty processes as fill a cluster with the victim claim to be like it, the others stay what they are.
    The victim is the honest process whose features are nearest to none of the other honest ones. In a cluster whose
    sum is opened and in which all others collude the victim's update is told. They send honest updates: combine it
    with what to send. They claim once, before the first round; the label shares that they copy are told without noise.
    Where processes leave and join between rounds (axis `churn`), those that are not in the victim's cluster do so
    before each, as many as may.
    """

    def claim(self, view: ClaimView) -> Points:
        """See Claiming."""
        claimed = view.features.copy()
        mimics = np.flatnonzero(view.faulty)[: view.cluster_size - 1]
        claimed[mimics] = view.features[_victim(view.features, view.faulty)]
        return claimed

    def leave(self, view: ChurnView) -> NDArray[np.int64]:
        """See Rejoining."""
        if view.features is None:
            return np.zeros(0, dtype=np.int64)
        victim = _victim(view.features, view.faulty)
        return view.outside(next(members for members in view.clusters if victim in members))

    def __call__(self, view: OwnView) -> Tensor:
        return view.own


def _victim(features: Points, faulty: NDArray[np.bool_]) -> int:
    """Return the honest process that is nearest to none of the other honest ones."""
    honest = np.flatnonzero(~faulty)
    rows = features[honest] - features[honest].mean(axis=0)
    lengths = np.square(rows).sum(axis=1)
    gaps = lengths[:, None] + lengths[None] - 2.0 * rows @ rows.T
    np.fill_diagonal(gaps, np.inf)
    return int(honest[int(gaps.min(axis=1).argmax())])
