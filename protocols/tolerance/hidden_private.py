"""Who learns an update from sums that stay hidden: more delegates than may know one, and somebody alone in it."""

import math
from dataclasses import replace

import numpy as np

from protocols.tolerance.analysis import Faults
from protocols.tolerance.binomial import log_hypergeometric_sum
from protocols.tolerance.delegates import Delegates
from protocols.tolerance.hidden_states import MOST_WORK, states, states_work
from protocols.tolerance.parts import Groups, Mask, NotExactError, clusters_of, parts_of
from protocols.tolerance.solve import Probability, bounds_on, tail
from protocols.tolerance.tallies import tally
from protocols.tolerance.union import tail_bounds

__all__ = ["private_hidden", "sums_shown"]

_MANY = "colluding delegates and those who are alone in a cluster are too many to count together"
_TWICE = "a cluster may send a delegate to each committee, which is bounded by whoever is drawn"
_FEW_LEFT = "crashes may leave two committees too few clusters to be drawn apart"


def sums_shown(faults: Faults, delegates: Delegates) -> float:
    """Return how likely colluding delegates, of all committees, know the clusters' sums (the inputs, where checked).

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
    """Return how likely colluding processes learn an update; `whoever` is drawn: how likely some draw lets them.

    Guarantees:
        Equal to counting all placements and all draws of delegates, or bounds around it.
    """
    delegates.check(groups)
    if faults.colluding in {0, faults.n}:
        return Probability.exact(0.0, "certain")
    if delegates.committees > 1 and not delegates.checked:
        return _private_of_two(faults, groups, delegates, whoever=whoever)
    if delegates.checked and not (faults.crashed or whoever or delegates.chooses):
        return Probability.exact(sums_shown(faults, delegates), "draw of delegates")
    bounds = _checked(faults, groups, delegates, whoever=whoever) if delegates.checked else None
    if bounds and bounds.engine != "bounds":  # they meet, and cost less than counting
        return bounds
    found = _counted(faults, groups, delegates, whoever=whoever)
    if found is not None:
        return Probability.exact(min(1.0, found), "recursion")
    return bounds or _unchecked(faults, groups, delegates, whoever=whoever)


def _unchecked(faults: Faults, groups: Groups, delegates: Delegates, *, whoever: bool) -> Probability:
    alone = sum(count * _alone(size, faults) for size, count in groups)
    shown = _known_to_some(faults, groups, delegates) if whoever else sums_shown(faults, delegates)
    return bounds_on(0.0, min(shown, alone), because=_MANY)


def _counted(faults: Faults, groups: Groups, delegates: Delegates, *, whoever: bool) -> float | None:
    simple = not (delegates.checked or faults.crashed)
    if simple and states_work(faults.colluding, groups, delegates, 1) <= MOST_WORK:
        return float(states(faults.colluding, faults.n, groups, delegates, most=-1, whoever=whoever)[1, 1].sum())
    return _tallied(faults, groups, delegates, whoever=whoever)


def _tallied(faults: Faults, groups: Groups, delegates: Delegates, *, whoever: bool) -> float | None:
    # Only where members choose who is left out does it matter who of the coalition is Byzantine.
    merged = faults if delegates.chooses else replace(faults, byzantine=faults.colluding, curious=0)
    counted = tally(merged, groups, delegates, most=-1, whoever=whoever)
    return counted and counted.probability(lambda _, exposed, __: exposed)


def _private_of_two(faults: Faults, groups: Groups, delegates: Delegates, *, whoever: bool) -> Probability:
    """Return the same for two committees, of whom one delegate is enough: they are one of twice as many.

    Where clusters are fewer than these, and too many to count, between one committee and whoever is drawn.
    """
    one = replace(delegates, committees=1)
    twice = replace(one, count=2 * delegates.count)
    m = clusters_of(groups)
    if m - min(faults.crashed, m) >= twice.count:
        return private_hidden(faults, groups, twice, whoever=whoever)
    found = _tallied(faults, groups, delegates, whoever=whoever)
    if found is not None:
        return Probability.exact(min(1.0, found), "recursion")
    most = private_hidden(faults, groups, one, whoever=True)
    if whoever:
        return most
    if faults.crashed:
        return bounds_on(0.0, most.upper, because=_FEW_LEFT)
    return bounds_on(private_hidden(faults, groups, one).lower, most.upper, because=_TWICE)


def _alone(size: int, faults: Faults) -> float:
    if not size - 1 <= faults.colluding < faults.n:
        return 0.0
    return math.exp(log_hypergeometric_sum([np.array([size - 1.0])], faults.n, (faults.colluding,), size))


def _some(size: int) -> Mask:
    return np.arange(size + 1) > 0


def _touched(faults: Faults, groups: Groups, many: int, most: int) -> float:
    """Return at most how likely more than `most` clusters have one of so many processes, who are placed uniformly."""
    parts = parts_of(groups, _some)
    try:
        return tail(parts, faults.n, (many,), most).value
    except NotExactError:
        return min(1.0, tail_bounds(parts, faults.n, (many,), most).upper)


def _known_to_some(faults: Faults, groups: Groups, delegates: Delegates) -> float:
    """Return at most how likely clusters could send more colluding delegates than may know a sum."""
    return _touched(faults, groups, faults.colluding, delegates.withstood)


def _checked(faults: Faults, groups: Groups, delegates: Delegates, *, whoever: bool) -> Probability:
    """Bounds where inputs are checked: from who serves, and what must be if members leave one input alone in a mean."""
    m, spare = clusters_of(groups), delegates.spare(groups)
    shown = _known_to_some(faults, groups, delegates) if whoever else sums_shown(faults, delegates)
    served = 1.0
    if faults.crashed:
        # As many clusters as serve are complete; otherwise nothing is shown.
        complete = parts_of(groups, lambda size: np.arange(size + 1) == 0)
        try:
            served = tail(complete, faults.n, (faults.crashed,), m - spare - 1).value
        except NotExactError:
            served = 0.0
    least = delegates.count * groups[0][0]
    nobody = (faults.colluding / (faults.n - faults.crashed)) ** least if faults.colluding >= least else 0.0
    # All clusters but one have somebody who is faulty.
    chosen = _touched(faults, groups, faults.total, m - 2) if delegates.chooses else 0.0
    lower = 0.0 if whoever else max(0.0, shown * served - nobody)
    return bounds_on(lower, min(1.0, shown + chosen), because=_MANY)
