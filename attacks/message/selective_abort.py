"""Abort the rounds that hurt the adversary."""

from dataclasses import dataclass

import torch

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import Crash


@message_attack(
    source="secure sums with abort and a rushing adversary: Goldwasser and Lindell 2005, Journal of Cryptology 18(3)",
    examples=({}, {"step": 0}),
    reads_mean=True,
)
@dataclass(frozen=True, kw_only=True)
class SelectiveAbort:
    """Lets a cluster open its sum only where that does not help the training: it crashes in exchange `step` else.

    A rushing adversary sees what its cluster is about to open before it has to send its last message. A mean helps
    where it points the way that training went in the round before, in which nothing is aborted; a sum that is lost
    takes the honest members' updates with it.
    """

    step: int = 1

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step)

    def __call__(self, view: MessageView) -> Crash | None:
        if view.mean is None or view.previous is None or float(torch.dot(view.mean, view.previous)) <= 0:
            return None
        return Crash(step=self.step)
