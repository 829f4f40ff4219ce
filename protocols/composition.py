"""Pre-aggregators and a rule, one after the other, as a rule again."""

from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Aggregator, Bounded, Given, Points, Selecting, combine, exclude
from protocols.aggregators.pre import PreAggregator
from protocols.randomness import public_stream

__all__ = ["Composed", "SelectingComposed", "composed"]


def composed(*steps: PreAggregator, rule: Aggregator) -> Aggregator:
    """Return the rule after these pre-aggregators, in order; the rule itself where there are none.

    Where the rule selects clusters and every step makes each row from the one in its place, what comes out selects too.
    After nnm it does not: a row that the rule leaves out has its part in the averages that the rule keeps.
    """
    if not steps:
        return rule
    if isinstance(rule, Selecting) and all(step.in_place and step.row_by_row for step in steps):
        return SelectingComposed(steps=steps, rule=rule, selecting=rule)
    return Composed(steps=steps, rule=rule)


@dataclass(frozen=True, kw_only=True)
class Composed:
    """A rule that sees what the steps make of the cluster means; see Aggregator.

    Hostile rows are taken out once, before the first step. Each step and the rule get a random stream of their own,
    drawn from the one that is given. A history is passed on as long as each row stays in its place.

    Guarantees:
        The rule is told the tainted clusters among those that the steps leave.
    """

    steps: tuple[PreAggregator, ...]
    rule: Aggregator

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Aggregator."""

        def inner(points: Points) -> Tensor:
            rows, counts, left, last = _prepared(self.steps, points, given)
            return self.rule(rows, counts, left, last)

        return combine(self, means, sizes, tolerate, inner)

    def breakdown(self, m: int) -> int:
        """The fewest that a step or the rule withstands, each of the rows that reach it."""
        counts = _counts(self.steps, m)
        return min(
            *(step.breakdown(count) for step, count in zip(self.steps, counts[:-1], strict=True)),
            self.rule.breakdown(counts[-1]),
        )

    def unfit(self, m: int, tolerate: int) -> str | None:
        """See Bounded."""
        return self.rule.unfit(_counts(self.steps, m)[-1], tolerate) if isinstance(self.rule, Bounded) else None

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """The steps' lemmas, one on top of the other; infinity where one has none."""
        reaching = [sizes]
        for step in self.steps:
            reaching.append(step.sizes_after(reaching[-1]))
        return reduce(
            lambda kappa, step: step[0].coefficient(step[1], tolerate, kappa),
            reversed(list(zip(self.steps, reaching[:-1], strict=True))),
            self.rule.coefficient(reaching[-1], tolerate),
        )

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:
        """The rule's own, where no step brings two values of a row farther apart; else not bounded."""
        if not all(step.in_place for step in self.steps):
            return None
        return reduce(
            lambda bound, step: step.sensitivity(bound),
            reversed(self.steps),
            self.rule.sensitivity(sizes, tolerate),
        )


@dataclass(frozen=True, kw_only=True)
class SelectingComposed(Composed):
    """A composed rule that can say which clusters have no part in its result; `selecting` is its rule."""

    selecting: Selecting

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Selecting."""

        def inner(points: Points) -> Tensor:
            rows, counts, left, last = _prepared(self.steps, points, given)
            return torch.stack([self.selecting.excluded(cell, counts, left, last) for cell in rows])

        return exclude(self, means, sizes, tolerate, inner)


def _counts(steps: tuple[PreAggregator, ...], m: int) -> list[int]:
    """Return how many rows reach each step, and how many the rule."""
    counts = [m]
    for step in steps:
        counts.append(step.clusters(counts[-1]))
    return counts


def _prepared(steps: tuple[PreAggregator, ...], points: Points, given: Given) -> tuple[Tensor, Tensor, int, Given]:
    """Return what the rule gets: rows (cells, m', d), their sizes, how many may be tainted, and what is given."""
    rows, sizes, tolerate = points.means, points.sizes, points.tolerate
    history = None if given.history is None else given.history.to(rows.device)[points.kept]
    streams = _streams(given.rng, len(steps) + 1)
    for step, rng in zip(steps, streams[:-1], strict=True):
        rows, sizes, tolerate = step(rows, sizes, tolerate, replace(given, rng=rng, history=history))
        history = history if step.in_place else None
    return rows, sizes, tolerate, replace(given, rng=streams[-1], history=history)


def _streams(rng: np.random.Generator | None, count: int) -> list[np.random.Generator | None]:
    """Return independent streams that depend on the given one alone, which stays where it is."""
    if rng is None:
        return [None] * count
    name = str(rng.bit_generator.state)
    return [public_stream(0, "composed rule", name, place) for place in range(count)]
