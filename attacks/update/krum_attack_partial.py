"""The attack that is tailored to Krum, by processes that know their own updates only."""

from dataclasses import dataclass

from torch import Tensor

from attacks.api import OwnView, update_attack
from attacks.update._krum import Bait, longest_chosen, supporters
from protocols import check


@update_attack(
    knowledge="own",
    source="Fang, Cao, Jia, Gong 2020, USENIX Security (Krum, partial knowledge)",
    examples=({}, {"epsilon": 0.1}),
)
@dataclass(frozen=True, kw_only=True)
class KrumAttackPartial:
    """As krum_attack, with the senders' own honest updates in place of the unknown ones.

    s is the sign of their mean. With k = 1 crafted update among their own f, then 2, and so on, lambda is halved until
    Krum would choose a crafted one; the first k that has such a lambda ends the search.
    """

    epsilon: float = 0.01

    def __post_init__(self) -> None:
        check.positive(epsilon=self.epsilon)

    def __call__(self, view: OwnView) -> Tensor:
        f = len(view.own)
        direction = view.own.mean(dim=0).sign()
        bait = Bait.of(view.own, direction)
        length = 0.0
        for copies in range(1, max(f, 2)):
            length, chosen = longest_chosen(bait, copies=copies, tolerate=copies)
            if chosen:
                break
        return supporters(-length * direction, f, self.epsilon, view.rng)
