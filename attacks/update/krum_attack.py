"""The attack that is tailored to Krum, with full knowledge."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import HonestView, update_attack
from attacks.update._krum import Bait, choice, longest_chosen, supporters
from protocols import check


@update_attack(
    knowledge="honest",
    source="Fang, Cao, Jia, Gong 2020, USENIX Security, Theorem 1 (Krum, full knowledge)",
    examples=({}, {"epsilon": 0.1}),
)
@dataclass(frozen=True, kw_only=True)
class KrumAttack:
    """The first sends -lambda s, the longest step that Krum still chooses; the others send something close to it.

    s is the sign of the update that Krum would choose if all were honest. lambda is halved from the bound of Theorem 1
    until Krum prefers the crafted update to all honest ones; supporters are up to `epsilon` away from it. Krum is
    taken to see every update by itself and to know f.
    """

    epsilon: float = 0.01

    def __post_init__(self) -> None:
        check.positive(epsilon=self.epsilon)

    def __call__(self, view: HonestView) -> Tensor:
        f = len(view.own)
        direction = choice(torch.cat([view.own, view.honest]), tolerate=f).sign()
        length, _ = longest_chosen(Bait.of(view.honest, direction), copies=f, tolerate=f)
        return supporters(-length * direction, f, self.epsilon, view.rng)
