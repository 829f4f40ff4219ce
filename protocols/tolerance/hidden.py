"""Cluster sums that stay hidden among delegates: which placements, and which draws of delegates, break what.

The members of a cluster share with all of it (n of n); `Delegates.count` of the clusters, drawn uniformly, each send a
member, drawn uniformly, to hold all cluster sums with a threshold. A coalition learns an update where both give way, so
the weaker of the two counts: more delegates than the threshold collude, who then know all sums, and some cluster has
one member outside the coalition. Byzantine members choose their inputs and follow the protocol; where they deviate, one
delegate is enough to show a cluster's sum, and any of them changes or stops the result. Nobody learns by crashing: a
cluster with a crashed member is left out before an input of it is sent.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.analysis import Analysis, Faults, analyse
from protocols.tolerance.binomial import Floats, log_hypergeometric_sum
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.parts import Groups, clusters_of, log_weights
from protocols.tolerance.solve import Probability, bounds_on
from protocols.tolerance.worst import WorstCase, worst_case

__all__ = ["Delegates", "hidden_bound", "hidden_sides", "hidden_worst", "private_hidden", "sums_shown"]

_MOST_WORK = 3e8  # additions, about a second
_MANY = (
    "colluding, crashed and tainting processes among the delegates are counted apart, or there are too many to count"
)
_TOO_FEW = "whether lost clusters leave enough of them to serve is bounded by as few as may be lost"


@dataclass(frozen=True, kw_only=True)
class Delegates:
    """Who holds the sums: `count` delegates, of whom `threshold` know nothing; `deviating`: the faulty among them may.

    Raises: CloisterError unless 1 <= threshold < count / 2.
    """

    count: int = 3
    threshold: int = 1
    deviating: bool = False

    def __post_init__(self) -> None:
        check.integer_at_least(3, delegates=self.count)
        if not 1 <= self.threshold <= (self.count - 1) // 2:
            raise CloisterError(
                f"threshold = {self.threshold} of {self.count} delegates is not allowed; "
                f"allowed: 1 to {(self.count - 1) // 2}, fewer than half of them"
            )

    @property
    def withstood(self) -> int:
        """How many colluding delegates show no sum."""
        return 0 if self.deviating else self.threshold

    def check(self, groups: Groups) -> None:
        """Raise CloisterError where there are too few clusters for them."""
        if clusters_of(groups) < self.count:
            raise CloisterError(
                f"delegates = {self.count} of {clusters_of(groups)} clusters is not allowed; "
                f"allowed: as many clusters as delegates, or more"
            )


def hidden_sides(
    faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int, *, opens_sum: bool
) -> Analysis:
    """Return the four probabilities, over uniform placements and draws of delegates; see analysis.analyse.

    `conditions` are those of a cluster alone; `opens_sum` says that the outer rule opens a sum of all updates, which
    tells the last one to all others. Crashes among secrets make bounds, and so do more processes than can be counted.

    Guarantees:
        Equal to counting all placements and all draws of delegates, one by one.
    """
    delegates.check(groups)
    private = private_hidden(faults, groups, delegates, opens_sum=opens_sum)
    base = analyse(faults, groups, conditions, tolerate)
    if tolerate < 0 or (delegates.deviating and faults.byzantine):
        sure = Probability.exact(1.0, "certain")
        return Analysis(private=private, correct=sure, live=sure, fail=sure, union_bound=1.0)
    correct, live = base.correct, base.live
    spare = clusters_of(groups) - delegates.count  # with more of them lost there are too few to serve
    if faults.crashed and tolerate > spare:
        fewer = analyse(faults, groups, conditions, spare)
        correct, live = bounds_on(base.correct.lower, fewer.correct.upper, because=_TOO_FEW), fewer.live
    fail = _joined(faults, groups, delegates, tolerate, (private, correct))
    return Analysis(
        private=private,
        correct=correct,
        live=live,
        fail=fail,
        union_bound=max(fail.upper, min(1.0, private.upper + correct.upper)),
    )


def hidden_bound(
    faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int, *, opens_sum: bool
) -> float:
    """Return an upper bound on the failure of hidden_sides: the sum of two sides, which are cheap to compute."""
    delegates.check(groups)
    if tolerate < 0 or (delegates.deviating and faults.byzantine):
        return 1.0
    spare = min(tolerate, clusters_of(groups) - delegates.count) if faults.crashed else tolerate
    private = private_hidden(faults, groups, delegates, opens_sum=opens_sum)
    return min(1.0, private.upper + analyse(faults, groups, conditions, spare).correct.upper)


def sums_shown(faults: Faults, delegates: Delegates) -> float:
    """Return how likely colluding delegates know the clusters' sums.

    Whoever has not crashed serves or not whatever they are: the colluding delegates are a hypergeometric number.
    """
    present = faults.n - faults.crashed
    if not faults.colluding:
        return 0.0
    many = np.arange(delegates.withstood + 1, min(delegates.count, faults.colluding) + 1, dtype=np.float64)
    return math.exp(log_hypergeometric_sum([many], present, (faults.colluding,), delegates.count)) if len(many) else 0.0


def private_hidden(
    faults: Faults, groups: Groups, delegates: Delegates, *, opens_sum: bool = False, whoever: bool = False
) -> Probability:
    """Return how likely colluding processes learn an update; `whoever` is drawn: how likely some draw lets them."""
    delegates.check(groups)
    if opens_sum and faults.colluding == faults.n - 1:
        return Probability.exact(1.0, "certain")
    if faults.colluding in {0, faults.n}:
        return Probability.exact(0.0, "certain")
    shown = 1.0 if whoever else sums_shown(faults, delegates)
    if faults.crashed or _work(faults, groups, delegates, 1) > _MOST_WORK:
        alone = sum(count * _alone(size, faults) for size, count in groups)
        return bounds_on(0.0, min(shown, alone), because=_MANY)
    states = _states(faults.colluding, faults.n, groups, delegates, most=-1, whoever=whoever)
    return Probability.exact(min(1.0, float(states[1, 1].sum())), "recursion")


def _alone(size: int, faults: Faults) -> float:
    if not size - 1 <= faults.colluding < faults.n:
        return 0.0
    return math.exp(log_hypergeometric_sum([np.array([size - 1.0])], faults.n, (faults.colluding,), size))


def _joined(
    faults: Faults, groups: Groups, delegates: Delegates, tolerate: int, sides: tuple[Probability, Probability]
) -> Probability:
    private, correct = sides
    if private.upper == 0.0 or correct.lower == 1.0:
        return correct
    if correct.upper == 0.0 or private.lower == 1.0:
        return private
    kinds = faults.crashed or faults.curious
    if kinds or _work(faults, groups, delegates, tolerate + 2) > _MOST_WORK:
        why = private.because or correct.because or _MANY
        return bounds_on(max(private.lower, correct.lower), private.upper + correct.upper, because=why)
    most = min(tolerate, faults.byzantine)
    states = _states(faults.byzantine, faults.n, groups, delegates, most=most)
    either = states[1, 1].sum() + states[0, :, -1].sum() + states[1, 0, -1]
    return Probability.exact(min(1.0, float(either)), "recursion")


def hidden_worst(
    faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int, *, opens_sum: bool
) -> WorstCase:
    """Return the most Byzantine processes tolerated wherever they, the crashed and the curious are, whoever serves.

    Guarantees:
        Equal to trying every placement and every draw.
    """
    delegates.check(groups)
    found = worst_case(groups, conditions, tolerate, crashed=faults.crashed, curious=faults.curious)
    free = faults.n - faults.crashed - faults.curious
    # All but one of the smallest cluster, one of whom serves, with enough others who do; of one member, they alone.
    exposing = max(groups[0][0] - 1, 1) + delegates.withstood
    private = min(exposing, faults.n - 1) if opens_sum else exposing
    spare = clusters_of(groups) - delegates.count
    stopped = -1 if faults.crashed > spare else found.live
    correct = -1 if stopped < 0 else found.correct
    if delegates.deviating:
        correct, stopped = min(correct, 0), min(stopped, 0)
    return WorstCase(private=max(-1, min(free, private - faults.curious - 1)), correct=correct, live=stopped)


def _work(faults: Faults, groups: Groups, delegates: Delegates, rows: int) -> float:
    cells = 4.0 * min(rows, faults.colluding + 2) * (faults.colluding + 1)
    return cells * (delegates.count + 2) * sum(count * (size + 1) for size, count in groups)


def _states(faulty: int, n: int, groups: Groups, delegates: Delegates, *, most: int, whoever: bool = False) -> Floats:
    """Return the probabilities of (enough delegates collude, somebody is alone, k clusters have a faulty member).

    The last row of k is for more than `most`. Faulty processes and delegates are uniform, or `whoever` serves is what
    the coalition would like. Additions of non-negative terms only, as in the pair recursion.
    """
    total = np.zeros((2, 2, most + 2))
    for chance, serving in _draws(groups, delegates.count):
        states = np.zeros((delegates.withstood + 2, 2, most + 2, faulty + 1))
        states[0, 0, 0, 0] = 1.0
        for (size, count), served in zip(groups, serving, strict=True):
            weights = np.exp(log_weights(size, n, (faulty,)))[: faulty + 1]
            for number in range(count):
                drawn = 0.0 if whoever or number >= served else 1.0 / size
                states = _with_cluster(states, weights, size, drawn=drawn, whoever=whoever)
        own = states[..., faulty]
        total += chance * np.stack([own[:-1].sum(axis=0), own[-1]]) / own.sum()
        if whoever:  # then it does not matter who is drawn
            return total / chance
    return total


def _draws(groups: Groups, count: int) -> Iterator[tuple[float, tuple[int, ...]]]:
    """How many of the clusters of each size send a delegate, and how likely: there are two sizes at most."""
    m = clusters_of(groups)
    small, large = groups[0][1], m - groups[0][1]
    for k in range(max(0, count - small), min(count, large) + 1):
        chance = math.comb(small, count - k) * math.comb(large, k) / math.comb(m, count)
        yield chance, (count - k, k)[: len(groups)]


def _with_cluster(states: Floats, weights: Floats, size: int, *, drawn: float, whoever: bool) -> Floats:
    """Return the states with one more cluster, each member of which serves with probability `drawn`."""
    grown = np.zeros_like(states)
    for x, weight in enumerate(weights.tolist()):
        moved = weight * states[..., : states.shape[-1] - x]
        if x:
            moved = _raised(moved, 2)
        if x == size - 1:
            moved = _raised(moved, 1)
        serves = float(x > 0) if whoever else x * drawn
        moved = (1 - serves) * moved + serves * _raised(moved, 0) if serves else moved
        grown[..., x:] += moved
    return grown


def _raised(states: Floats, axis: int) -> Floats:
    """Return the states with one more on this axis; the last one stays the last."""
    moved = np.moveaxis(states, axis, 0)
    out = np.zeros_like(moved)
    out[1:] = moved[:-1]
    out[-1] += moved[-1]
    return np.moveaxis(out, 0, axis)
