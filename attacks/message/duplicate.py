"""Send everything twice."""

from dataclasses import dataclass

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import Duplicate


@message_attack(source="Dolev and Yao 1983, IEEE Transactions on Information Theory 29(2)")
@dataclass(frozen=True, kw_only=True)
class DuplicateMessages:
    """Each faulty member sends all its messages of exchange `step` twice.

    A copy is read as the next message. What nobody has read when the sum is over is thrown away.
    """

    step: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step)

    def __call__(self, view: MessageView) -> Duplicate:  # noqa: ARG002
        return Duplicate(step=self.step)
