"""Cluster sums that stay hidden among delegates: which placements, and which draws of delegates, break what.

The members of a cluster share with all of it (n of n); `Delegates.count` of the clusters, drawn uniformly, each send a
member, drawn uniformly, to hold all cluster sums with a threshold. A coalition learns an update where both give way, so
the weaker of the two counts: more delegates than the threshold collude, who then know all sums, and some cluster has
one member outside the coalition. Byzantine members choose their inputs and follow the protocol; where they deviate, one
delegate is enough to show a cluster's sum, and any of them changes or stops the result. Of two committees of delegates
that compare their results, one in each is needed to change it. Nobody learns by crashing: a cluster with a crashed
member is left out before an input of it is sent.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

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
_TWICE = "a cluster may send a delegate to each committee, which is bounded by whoever is drawn"
_LIES = "lying delegates and tainted clusters are counted apart"
_TOO_FEW = "whether lost clusters leave enough of them to serve is bounded by as few as may be lost"


@dataclass(frozen=True, kw_only=True)
class Delegates:
    """Who holds the sums: `count` delegates, of whom `threshold` know nothing; `deviating`: the faulty among them may.

    `committees` of so many compare what they open. Raises: CloisterError unless 1 <= threshold < count / 2, and for two
    committees of members who follow the protocol, who have nothing to compare.
    """

    count: int = 3
    threshold: int = 1
    deviating: bool = False
    committees: int = 1

    def __post_init__(self) -> None:
        check.integer_at_least(3, delegates=self.count)
        if not 1 <= self.threshold <= (self.count - 1) // 2:
            raise CloisterError(
                f"threshold = {self.threshold} of {self.count} delegates is not allowed; "
                f"allowed: 1 to {(self.count - 1) // 2}, fewer than half of them"
            )
        if not 1 <= self.committees <= 1 + self.deviating:
            raise CloisterError(
                f"committees = {self.committees} is not allowed; allowed: 1, or 2 where members deviate"
            )

    @property
    def withstood(self) -> int:
        """How many colluding delegates show no sum."""
        return 0 if self.deviating else self.threshold

    @property
    def serving(self) -> int:
        """How many delegates all committees have."""
        return self.committees * self.count

    def least(self, groups: Groups) -> int:
        """Return how many clusters must be complete for all of them to be drawn."""
        # A cluster of one has no second member for a second committee.
        return self.serving if groups[0][0] == 1 else self.count

    def spare(self, groups: Groups) -> int:
        """Return how many clusters may be lost: with one more there are too few to serve."""
        return clusters_of(groups) - self.least(groups)

    def check(self, groups: Groups) -> None:
        """Raise CloisterError where there are too few clusters for them."""
        least = self.least(groups)
        if clusters_of(groups) < least:
            raise CloisterError(
                f"delegates = {self.count} of {clusters_of(groups)} clusters is not allowed; "
                f"allowed: {least} clusters or more"
            )


def hidden_sides(
    faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int
) -> Analysis:
    """Return the four probabilities, over uniform placements and draws of delegates; see analysis.analyse.

    `conditions` are those of a cluster alone. Crashes make the private side bounds, as more processes do than can be
    counted. An outer mean tells the last honest update to all others, who know it from their delegates anyway.

    Guarantees:
        Equal to counting all placements and all draws of delegates, one by one.
    """
    delegates.check(groups)
    private = private_hidden(faults, groups, delegates)
    base = analyse(faults, groups, conditions, tolerate)
    if tolerate < 0 or (delegates.deviating and faults.byzantine):
        sure = Probability.exact(1.0, "certain")
        lying = tolerate >= 0 and delegates.committees > 1
        correct = _lied(faults, groups, delegates, base.correct) if lying else sure
        return Analysis(private=private, correct=correct, live=sure, fail=sure, union_bound=1.0)
    correct, live = base.correct, base.live
    spare = delegates.spare(groups)
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


def _lied(faults: Faults, groups: Groups, delegates: Delegates, tainted: Probability) -> Probability:
    """Return how likely a wrong result is taken over: too many tainted clusters, or a liar in each of two committees.

    Whichever processes serve, those who lie are uniform among all that have not crashed, and nobody serves twice:
    inclusion and exclusion of the committees without one. Where crashes may leave too few clusters nobody may serve.
    """
    present, b, g = faults.n - faults.crashed, faults.byzantine, delegates.count
    if present < delegates.serving:
        return tainted
    free = [math.comb(present - serving, b) / math.comb(present, b) for serving in (g, 2 * g)]
    both = max(0.0, 1 - 2 * free[0] + free[1])
    if not both:
        return tainted
    least = both if faults.crashed <= delegates.spare(groups) else 0.0
    return bounds_on(max(tainted.lower, least), min(1.0, tainted.upper + both), because=_LIES)


def hidden_bound(faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int) -> float:
    """Return an upper bound on the failure of hidden_sides: the sum of two sides, which are cheap to compute."""
    delegates.check(groups)
    if tolerate < 0 or (delegates.deviating and faults.byzantine):
        return 1.0
    spare = min(tolerate, delegates.spare(groups)) if faults.crashed else tolerate
    private = private_hidden(faults, groups, delegates)
    return min(1.0, private.upper + analyse(faults, groups, conditions, spare).correct.upper)


def sums_shown(faults: Faults, delegates: Delegates) -> float:
    """Return how likely colluding delegates, of all committees, know the clusters' sums.

    Whoever has not crashed serves or not whatever they are: the colluding delegates are a hypergeometric number.
    """
    present, serving = faults.n - faults.crashed, delegates.serving
    if not faults.colluding:
        return 0.0
    many = np.arange(delegates.withstood + 1, min(serving, faults.colluding) + 1, dtype=np.float64)
    if not len(many):
        return 0.0
    return min(1.0, math.exp(log_hypergeometric_sum([many], present, (faults.colluding,), serving)))


def private_hidden(faults: Faults, groups: Groups, delegates: Delegates, *, whoever: bool = False) -> Probability:
    """Return how likely colluding processes learn an update; `whoever` is drawn: how likely some draw lets them."""
    delegates.check(groups)
    if faults.colluding in {0, faults.n}:
        return Probability.exact(0.0, "certain")
    if delegates.committees > 1:
        return _private_of_two(faults, groups, delegates, whoever=whoever)
    shown = 1.0 if whoever else sums_shown(faults, delegates)
    if faults.crashed or _work(faults, groups, delegates, 1) > _MOST_WORK:
        alone = sum(count * _alone(size, faults) for size, count in groups)
        return bounds_on(0.0, min(shown, alone), because=_MANY)
    states = _states(faults.colluding, faults.n, groups, delegates, most=-1, whoever=whoever)
    return Probability.exact(min(1.0, float(states[1, 1].sum())), "recursion")


def _private_of_two(faults: Faults, groups: Groups, delegates: Delegates, *, whoever: bool) -> Probability:
    """Return the same for two committees, of whom one delegate is enough: they are one of twice as many.

    Where clusters are fewer than these, between one committee and whoever is drawn.
    """
    one = replace(delegates, committees=1)
    if clusters_of(groups) >= 2 * delegates.count:
        return private_hidden(faults, groups, replace(one, count=2 * delegates.count), whoever=whoever)
    least, most = (private_hidden(faults, groups, one, whoever=each) for each in (whoever, True))
    return least if whoever else bounds_on(least.lower, most.upper, because=_TWICE)


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
    faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int
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
    stopped = -1 if faults.crashed > delegates.spare(groups) else found.live
    correct = -1 if stopped < 0 else found.correct
    if delegates.deviating:
        correct, stopped = min(correct, delegates.committees - 1), min(stopped, 0)
    return WorstCase(private=max(-1, min(free, exposing - faults.curious - 1)), correct=correct, live=stopped)


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
