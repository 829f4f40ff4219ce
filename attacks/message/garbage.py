"""Send random bytes."""

from dataclasses import dataclass

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import Garbage


@message_attack(source="Lamport, Shostak, Pease 1982, TOPLAS 4(3)", examples=({}, {"step": 1, "excess_bytes": 1}))
@dataclass(frozen=True, kw_only=True)
class GarbageInSum:
    """Each faulty member sends random bytes in exchange `step`, `excess_bytes` more than it should."""

    step: int = 0
    excess_bytes: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step)

    def __call__(self, view: MessageView) -> Garbage:
        return Garbage(step=self.step, seed=int(view.rng.integers(2**31)), excess_bytes=self.excess_bytes)
