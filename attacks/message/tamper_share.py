"""Change what is sent in a secure sum."""

from dataclasses import dataclass

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import Tamper


@message_attack(source="Lamport, Shostak, Pease 1982, TOPLAS 4(3)", examples=({}, {"step": 1, "delta": 1}))
@dataclass(frozen=True, kw_only=True)
class TamperShare:
    """Each faulty member adds `delta` to every word that it sends in exchange `step`; in bytes it flips bits."""

    step: int = 0
    delta: int = 2**20

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step)

    def __call__(self, view: MessageView) -> Tamper:  # noqa: ARG002
        return Tamper(step=self.step, delta=self.delta)
