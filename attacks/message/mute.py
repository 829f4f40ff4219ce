"""Be silent once in a secure sum."""

from dataclasses import dataclass

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import Mute


@message_attack(source="Lamport, Shostak, Pease 1982, TOPLAS 4(3)", examples=({}, {"step": 1}))
@dataclass(frozen=True, kw_only=True)
class MuteOnce:
    """Each faulty member sends nothing in exchange `step`, and goes on afterwards as if it had."""

    step: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step)

    def __call__(self, view: MessageView) -> Mute:  # noqa: ARG002
        return Mute(step=self.step)
