"""Send late."""

from dataclasses import dataclass

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import Delay


@message_attack(
    source="Dwork, Lynch, Stockmeyer 1988, JACM 35(2) (partial synchrony)", examples=({}, {"step": 1, "seconds": 1.0})
)
@dataclass(frozen=True, kw_only=True)
class DelayMessages:
    """Each faulty member sends its messages of exchange `step` so many seconds late, and goes on as if it had not.

    The others wait for 60 s: what is sent within them is in time and costs nothing but the wait, what is sent after
    them is lost. Where party processes wait for another time (`bench run --faults-over-tcp --deadline`), the delay is
    longer or shorter by as much, so that the same messages are lost.
    """

    step: int = 0
    seconds: float = 90.0

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step)
        check.positive(seconds=self.seconds)

    def __call__(self, view: MessageView) -> Delay:  # noqa: ARG002
        return Delay(step=self.step, seconds=self.seconds)
