"""The rounds of a simulation, one after the other in bounded memory, and what was counted of them."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bench.simulation.counting import BYZANTINE, CountVerdict, Kinds, Occupancy, verdict_of_counts
from bench.simulation.forecast import SIDES, Composition
from bench.simulation.request import Request
from bench.simulation.roundlog import RoundLog
from bench.simulation.screening import Screening, tested_clusters
from bench.simulation.world import Churn, World
from protocols.promises import withstood
from protocols.randomness import public_stream

__all__ = ["Tally", "run_epoch"]

_MOST_COMPOSITIONS = 16


@dataclass(kw_only=True)
class Tally:
    """What was counted. `failed` by side over rounds, `failed_drawings` over the first rounds of drawings.

    A drawing counts where the forecast speaks of it: all but the first one for a placement that knows the first.
    `broken` has how many counted drawings had k broken clusters; `smallest` and `largest` are sizes of clusters.
    """

    rounds: int = 0
    drawings: int = 0
    counted: int = 0
    failed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SIDES, 0))
    failed_drawings: dict[str, int] = field(default_factory=lambda: dict.fromkeys(SIDES, 0))
    first_failure: dict[str, int | None] = field(default_factory=lambda: dict.fromkeys(SIDES))
    broken: NDArray[np.int64] = field(default_factory=lambda: np.zeros(1, dtype=np.int64))
    smallest: int = 0
    largest: int = 0
    fewest: int = 0
    most: int = 0
    compositions: dict[Composition, None] = field(default_factory=dict)
    churn: Churn = field(default_factory=Churn)
    screening: Screening | None = None
    suspects: int = 0
    honest_suspects: int = 0
    missed: int = 0
    kinds: Kinds = field(default_factory=lambda: np.zeros(0, dtype=np.int8))

    def add(self, verdict: CountVerdict, *, counts_here: bool) -> None:
        """Count a round; `counts_here`: it opens a drawing that counts."""
        fails = dict(
            zip(SIDES, (not verdict.private, not verdict.correct, not verdict.live, not verdict.safe), strict=True)
        )
        for side, fell in fails.items():
            self.failed[side] += fell
            self.failed_drawings[side] += fell and counts_here
            if fell and self.first_failure[side] is None:
                self.first_failure[side] = self.rounds
        if counts_here:
            self.counted += 1
            k = verdict.broken
            if k >= len(self.broken):
                self.broken = np.concatenate([self.broken, np.zeros(k + 1, dtype=np.int64)])
            self.broken[k] += 1
        self.rounds += 1


def run_epoch(asked: Request, log: RoundLog | None, tick: Callable[[], None]) -> Tally:
    """Simulate all rounds; `tick` is called after each, and each has a line in the log.

    Guarantees:
        The same request gives the same tally.
        Memory does not grow with the number of rounds.
    """
    world, tally = World(asked), Tally()
    rule, conditions = asked.question.rule, asked.question.conditions
    drawing = -1
    stride = max(1, asked.rounds // _MOST_COMPOSITIONS)
    while tally.rounds < asked.rounds:
        former = world.advance()
        counts = world.counts
        verdict = verdict_of_counts(counts, conditions, withstood(rule, counts.groups, int(counts.crashed.sum())))
        if tally.screening is None and asked.identify:
            share = asked.question.faults.byzantine / asked.question.faults.n
            tally.screening = Screening(world.n, share=share, noise=asked.noise)
        elif tally.screening is not None:
            tally.screening.renumber(former)
        suspected = np.zeros_like(verdict.lost)
        if tally.screening is not None:
            suspected = _tested(asked, world, counts, tally, tally.screening)
        if world.standing is not None:
            world.standing.add(world.owner, verdict.lost | suspected)
        _note_sizes(tally, world, counts, stride)
        if log is not None:
            log.write(tally.rounds, world.drawing, world.n, verdict)
        opens = world.drawing > drawing
        drawing = world.drawing
        tally.add(verdict, counts_here=opens and not (asked.fresh and drawing == 0 and asked.seen == "first"))
        tick()
    tally.drawings, tally.churn, tally.kinds = drawing + 1, world.churn, world.kinds
    return tally


def _note_sizes(tally: Tally, world: World, counts: Occupancy, stride: int) -> None:
    low, high = int(counts.size.min()), int(counts.size.max())
    first = tally.rounds == 0
    tally.smallest = low if first else min(tally.smallest, low)
    tally.largest = max(tally.largest, high)
    tally.fewest = world.n if first else min(tally.fewest, world.n)
    tally.most = max(tally.most, world.n)
    if tally.rounds % stride == 0 and len(tally.compositions) < 2 * _MOST_COMPOSITIONS:
        tally.compositions[counts.groups, *world.composition] = None


def _tested(asked: Request, world: World, counts: Occupancy, tally: Tally, screening: Screening) -> NDArray[np.bool_]:
    """Test the clusters, and return which (m,) hold a suspect: what a policy that learns is told."""
    tested = tested_clusters(counts, asked.question.conditions)
    tainted = counts.byzantine > 0
    if asked.test_error:
        errs = public_stream(asked.seed, "simulation", "tests", world.round_index).random(len(tainted))
        tainted = tainted ^ (errs < asked.test_error)
    screening.add(world.owner, counts.size, tested, tainted)
    byzantine, suspects = world.kinds == BYZANTINE, screening.suspects
    screening.compare(byzantine)
    tally.suspects = int(np.count_nonzero(suspects))
    tally.honest_suspects = int(np.count_nonzero(suspects & ~byzantine))
    tally.missed = int(np.count_nonzero(byzantine & ~suspects))
    return tested & (np.bincount(world.owner[suspects], minlength=len(tested)) > 0)
