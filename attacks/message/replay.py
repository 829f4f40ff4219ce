"""Send old messages again."""

from dataclasses import dataclass

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import Replay


@message_attack(
    source="Dolev and Yao 1983, IEEE Transactions on Information Theory 29(2)",
    examples=({}, {"step": 1, "batches_back": 0}),
)
@dataclass(frozen=True, kw_only=True)
class ReplayMessages:
    """Each faulty member sends in exchange `step` what it sent in it `batches_back` rounds ago.

    If that is 0, it sends what it sent in the exchange before. Rounds are those in which somebody of its cluster
    misbehaved and no sum was lost; where it then sent nothing, it follows the protocol.
    """

    step: int = 0
    batches_back: int = 1

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step, batches_back=self.batches_back)

    def __call__(self, view: MessageView) -> Replay:  # noqa: ARG002
        return Replay(step=self.step, batches_back=self.batches_back)
