"""Send numbers of another type."""

from dataclasses import dataclass

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import Width, WrongDtype


@message_attack(
    source="Lamport, Shostak, Pease 1982, TOPLAS 4(3)",
    examples=({}, {"step": 1, "width": "half"}, {"width": "double"}),
)
@dataclass(frozen=True, kw_only=True)
class WrongDtypeInSum:
    """Each faulty member sends its numbers of exchange `step` in another type.

    `width` "same" is floats of the words' size, whose bytes are read as other words; "half" is half as many bytes as
    are expected, "double" twice as many.
    """

    step: int = 0
    width: Width = "same"

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step)
        check.one_of(("half", "same", "double"), width=self.width)

    def __call__(self, view: MessageView) -> WrongDtype:  # noqa: ARG002
        return WrongDtype(step=self.step, width=self.width)
