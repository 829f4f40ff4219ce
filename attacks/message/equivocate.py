"""Say different things to different members."""

from dataclasses import dataclass

from attacks.api import MessageView, message_attack
from protocols import check
from protocols.faults import Equivocate


@message_attack(source="Lamport, Shostak, Pease 1982, TOPLAS 4(3)", examples=({}, {"step": 1, "delta": 1}))
@dataclass(frozen=True, kw_only=True)
class EquivocateInSum:
    """Each faulty member adds `delta` to the words that it sends to half of the others in exchange `step`.

    The half is drawn anew in each round, of the members that do not collude with it.
    """

    step: int = 0
    delta: int = 2**20

    def __post_init__(self) -> None:
        check.integer_at_least(0, step=self.step)

    def __call__(self, view: MessageView) -> Equivocate:
        others = [place for place in range(len(view.members)) if place not in view.colluding]
        half = view.rng.permutation(len(others))[: (len(others) + 1) // 2]
        return Equivocate(step=self.step, delta=self.delta, to=frozenset(others[int(each)] for each in half))
