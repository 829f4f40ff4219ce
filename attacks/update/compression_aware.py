"""Against compression: all of an update's length goes where the round's code lets it through."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import OwnView, update_attack
from attacks.update._statistics import lengths
from protocols import check


@update_attack(
    knowledge="own",
    source="a mask that all share, and know before they send: the setting of Gupta, Honsell, Xu, Gupta, Neglia 2025, "
    "arXiv:2508.17129",
    examples=({}, {"hold": 3, "budget": 0.5}),
)
@dataclass(frozen=True, kw_only=True)
class CompressionAware:
    """Each sends what the code keeps of its reversed update, as long as the whole update is, times `budget`.

    A public mask lets a sender be sqrt(d / k) longer where only the length of whole updates is bounded: of rand-k its
    message points the way of the compressed reversed update, and is about that many times as long as an honest one,
    though the update that it is made of is no longer than its own. A bound on what is sent takes that away
    (`norm_check`, or clipping, of the k words). Without any bound there is nothing to gain from the mask: `sign_flip`
    with a scale of sqrt(d / k), which knows no mask, sends about the same.

    With error feedback the length is that of all that its messages have left out so far, too: an honest sender gives
    it back bit by bit, this one at once, and its memory stays an honest one's. With `hold` it sends its own update for
    hold - 1 rounds, and then `hold` rounds' worth.

    Guarantees:
        Without compression, budget 1 and hold 1 reverse the update.
        No row is longer than budget x hold times the sender's own, but for rounding.
    """

    budget: float = 1.0
    hold: int = 1

    def __post_init__(self) -> None:
        check.positive(budget=self.budget)
        check.integer_at_least(1, hold=self.hold)

    def __call__(self, view: OwnView) -> Tensor:
        waited = int(view.memory.get("waited", 0)) + 1
        view.memory["waited"] = waited % self.hold
        if waited < self.hold:
            return view.own.clone()
        kept = _kept(view)
        strength = self.budget * self.hold * lengths(view.own) / lengths(kept)
        # Of a row of which nothing is kept, nothing is worth sending.
        return torch.where(lengths(kept)[:, None] > 0, -strength[:, None] * kept, 0.0)


def _kept(view: OwnView) -> Tensor:
    """Return what gets through of each row, (f, d)."""
    return view.code.decompress(view.code.compress(view.own))
