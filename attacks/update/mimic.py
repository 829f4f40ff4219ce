"""Mimic: overweight one honest process."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import HonestView, update_attack
from attacks.update._statistics import length, mean_of
from protocols import check


@update_attack(
    knowledge="honest", source="Karimireddy, He, Jaggi 2022, ICLR (mimic)", examples=({}, {"warmup_rounds": 1})
)
@dataclass(frozen=True, kw_only=True)
class Mimic:
    """All send the update of one honest process, so that heterogeneous data get a wrong weight. One vector for all.

    Over the first `warmup_rounds` rounds of the attack the direction z of the largest variance of honest updates is
    learnt by Oja's rule, with a running mean mu:
    mu <- t / (1 + t) mu + 1 / (1 + t) mean and z <- t / (1 + t) z + 1 / (1 + t) c / |c|, then z <- z / |z|, where
    c = sum_i <x_i - mu, z> (x_i - mu). The copied process is the one with the largest <x_i, z>; after the warm-up it
    stays the same one, and is chosen anew only in a round in which that process does not take part.
    """

    warmup_rounds: int = 5

    def __post_init__(self) -> None:
        check.integer_at_least(1, warmup_rounds=self.warmup_rounds)

    def __call__(self, view: HonestView) -> Tensor:
        seen = int(view.memory.get("rounds", 0))
        if seen < self.warmup_rounds:
            _learn(view, seen)
        victim = view.memory.get("victim")
        if seen < self.warmup_rounds or victim not in view.honest_numbers:
            victim = view.honest_numbers[int((view.honest @ view.memory["direction"]).argmax())]
        if seen < self.warmup_rounds:
            view.memory["victim"] = victim
        view.memory["rounds"] = seen + 1
        return view.honest[view.honest_numbers.index(victim)].expand_as(view.own)


def _learn(view: HonestView, seen: int) -> None:
    """Move the running mean and the direction in the memory by one round."""
    mean = mean_of(view.honest)
    start = torch.from_numpy(view.rng.normal(size=len(mean)))
    old = view.memory.get("direction", start)
    mean = mean if not seen else (seen * view.memory["mean"] + mean) / (1 + seen)
    centred = view.honest - mean
    spread = centred.T @ (centred @ old)
    size = length(spread)
    step = spread / size if size else torch.zeros_like(spread)
    new = step if not seen else (seen * old + step) / (1 + seen)
    size = length(new)
    view.memory["mean"] = mean
    view.memory["direction"] = new / size if size else old
