"""Send into one cluster what belongs to another."""

from dataclasses import dataclass

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import WrongCluster


@message_attack(
    source="messages of another run at the same time: Syverson 1994, CSFW (taxonomy of replay attacks)",
    examples=({}, {"step": 1}),
    swaps=True,
)
@dataclass(frozen=True, kw_only=True)
class WrongClusterInSum:
    """Faulty members of two clusters swap their messages of exchange `step`: each sends the other one's into its sum.

    Where both clusters share a message, such as that of a key, its halves are swapped. The clusters must be of one
    size, and nobody in them may crash or misbehave in another way; a faulty member that has no such counterpart
    follows the protocol.
    """

    step: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step)

    def __call__(self, view: MessageView) -> WrongCluster:  # noqa: ARG002
        return WrongCluster(step=self.step, clusters=2)
