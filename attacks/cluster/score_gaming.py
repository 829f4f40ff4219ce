"""Behave until trusted, then strike."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import OwnView, update_attack
from protocols import check


@update_attack(
    knowledge="own",
    source="on-off attack on reputation: Jøsang and Ismail 2002 (the score that it games)",
    examples=({}, {"trust": 0.6, "scale": 10.0}),
    adds_noise=True,
)
@dataclass(frozen=True, kw_only=True)
class ScoreGaming:
    """Sends honest updates until its score would be `trust`, then -scale times them for a round, and begins again.

    It keeps the score that the clustering `reputation` would give it, (1 + clean) / (2 + clean + flagged): a round in
    which it behaves counts as clean, one in which it strikes as flagged. So every strike costs more good rounds than
    the one before, and trust 0.5 strikes from the first round on.
    """

    trust: float = 0.8
    scale: float = 4.0

    def __post_init__(self) -> None:
        check.fraction(trust=self.trust)
        check.positive(scale=self.scale)

    def __call__(self, view: OwnView) -> Tensor:
        clean, flagged = int(view.memory.get("clean", 0)), int(view.memory.get("flagged", 0))
        strikes = (1 + clean) / (2 + clean + flagged) >= self.trust
        view.memory["flagged" if strikes else "clean"] = 1 + (flagged if strikes else clean)
        return -self.scale * view.own if strikes else view.own
