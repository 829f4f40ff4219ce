"""Be gone in the middle of a secure sum."""

from dataclasses import dataclass

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import Crash


@message_attack(source="Fischer, Lynch, Paterson 1985, JACM 32(2)", examples=({}, {"step": 1}))
@dataclass(frozen=True, kw_only=True)
class CrashInSum:
    """Each faulty member is gone before it sends in exchange `step`, and back in the next round."""

    step: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step)

    def __call__(self, view: MessageView) -> Crash:  # noqa: ARG002
        return Crash(step=self.step)
