"""Send half of each message."""

from dataclasses import dataclass

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import Truncate


@message_attack(source="Lamport, Shostak, Pease 1982, TOPLAS 4(3)")
@dataclass(frozen=True, kw_only=True)
class TruncateMessages:
    """Each faulty member leaves out the second half of each message of exchange `step`."""

    step: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step)

    def __call__(self, view: MessageView) -> Truncate:  # noqa: ARG002
        return Truncate(step=self.step)
