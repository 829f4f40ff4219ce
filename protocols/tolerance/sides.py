"""The sides of failure under any law of faulty processes, of one kind or of several, and under a tree of groups."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from protocols.tolerance.analysis import Analysis, Faults, axes_of
from protocols.tolerance.binomial import log_binomial
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.hierarchy import Tree, hierarchy_drawn, hierarchy_fails, leaves_to_break, tree_of
from protocols.tolerance.kinds import MarkedEvent
from protocols.tolerance.laws import Event, Law, Mixture, Uniform
from protocols.tolerance.parts import Groups, Mask, NotExactError
from protocols.tolerance.placements import Setting
from protocols.tolerance.solve import Probability, bounds_on
from protocols.tolerance.worst import worst_case

__all__ = ["at_will", "hierarchical_sides", "mixed_sides", "side_events", "sides"]

_NONE = np.array(0)
_UNLIKELY = 1e-18


def sides(law: Law, conditions: Conditions, tolerate: int, *, sizes: Sequence[int] = ()) -> Analysis:
    """Return the four probabilities under a law of Byzantine processes; see analysis.analyse for what they mean.

    `sizes`: the sizes of clusters, to refuse thresholds that they cannot have before anything is computed.

    Guarantees:
        Under the uniform law equal to analyse.
    """
    for size in sizes:
        conditions.threshold_at(size)

    def exposed(c: int) -> Mask:
        return conditions.exposed(c, np.arange(c + 1), _NONE)

    def failed(c: int) -> Mask:
        return conditions.failed(c, np.arange(c + 1), _NONE)

    def lost(c: int) -> Mask:
        return conditions.lost(c, np.arange(c + 1), _NONE)

    private = law.probability(Event(bad=exposed, most=0))
    if tolerate < 0:
        return _undefined(private)
    return _joined(
        private,
        law.probability(Event(bad=failed, most=tolerate)),
        law.probability(Event(bad=lost, most=tolerate)),
        law.probability(Event(bad=failed, most=tolerate, forbidden=exposed)),
    )


def mixed_sides(
    law: Law, faults: Faults, conditions: Conditions, tolerate: int, *, sizes: Sequence[int] = ()
) -> Analysis:
    """Return the four probabilities under a law of faulty processes of several kinds, as `faults` counts them.

    Guarantees:
        Under the uniform law equal to analyse.
    """
    for size in sizes:
        conditions.threshold_at(size)
    private, correct, live, rest = (_marked(law, event) for event in side_events(faults, conditions, max(tolerate, 0)))
    return _undefined(private) if tolerate < 0 else _joined(private, correct, live, rest)


def _marked(law: Law, event: MarkedEvent) -> Probability:
    try:
        return law.marked(event)
    except NotExactError as error:  # too many occupancies of so large a cluster
        return bounds_on(0.0, 1.0, because=str(error))


def side_events(faults: Faults, conditions: Conditions, tolerate: int) -> tuple[MarkedEvent, ...]:
    """Return the events private, correct, live, and correct without private; `tolerate` >= 0."""
    pair, harm = (faults.colluding, faults.crashed), (faults.byzantine, faults.crashed)
    kinds = (*harm, faults.curious)

    def alone(c: int) -> Mask:
        return conditions.exposed(c, *axes_of(c, pair))

    def failed(c: int) -> Mask:
        return conditions.failed(c, *axes_of(c, harm))

    def lost(c: int) -> Mask:
        return conditions.lost(c, *axes_of(c, harm))

    def failed_of_three(c: int) -> Mask:
        b, k, p = axes_of(c, kinds)
        return conditions.failed(c, b, k) | (p < 0)

    def exposed_of_three(c: int) -> Mask:
        b, k, p = axes_of(c, kinds)
        return conditions.exposed(c, b + p, k)

    return (
        MarkedEvent(kinds=pair, bad=alone, most=0),
        MarkedEvent(kinds=harm, bad=failed, most=tolerate, unseen=faults.curious),
        MarkedEvent(kinds=harm, bad=lost, most=tolerate, unseen=faults.curious),
        MarkedEvent(kinds=kinds, bad=failed_of_three, most=tolerate, forbidden=exposed_of_three),
    )


def _undefined(private: Probability) -> Analysis:
    """The answer where there are too few clusters for the rule."""
    sure = Probability.exact(1.0, "certain")
    return Analysis(private=private, correct=sure, live=sure, fail=sure, union_bound=1.0)


def _joined(private: Probability, correct: Probability, live: Probability, rest: Probability) -> Analysis:
    if "bounds" in {private.engine, rest.engine}:
        because = private.because or rest.because
        lower = max(private.lower + rest.lower, correct.lower)
        fail = bounds_on(lower, private.upper + min(rest.upper, correct.upper), because=because)
    else:
        fail = private.plus(rest)
    bound = max(fail.upper, min(1.0, private.upper + correct.upper))
    return Analysis(private=private, correct=correct, live=live, fail=fail, union_bound=bound)


def at_will(totals: Sequence[float], faults: Faults, groups: Groups, conditions: Conditions, tolerate: int) -> Analysis:
    """Return the four probabilities against an adversary who seats faulty processes of all kinds at will.

    It has f of them with probability totals[f]: exactly so many of each kind where only one number is possible, else
    each of a kind by itself, with the shares of `faults`. A side fails where a placement breaks it.

    Guarantees:
        Equal to the best of all placements, whatever kinds are drawn.
    """
    possible = np.flatnonzero(np.array(totals))
    if len(possible) == 1:
        worst = worst_case(groups, conditions, tolerate, crashed=faults.crashed, curious=faults.curious)
        fails = [faults.byzantine > most for most in (worst.private, worst.correct, worst.live, worst.all)]
        return _certain(*(float(each) for each in fails))
    private = correct = live = fail = 0.0
    weights = np.array(totals)
    f = np.arange(float(len(weights)))
    crashes, liars = faults.crashed / faults.total, faults.byzantine / max(1, faults.colluding)
    for k in range(int(possible[-1]) + 1):
        with_k = weights * np.exp(log_binomial(np.asarray(float(k)), f, crashes))
        if with_k.sum() < _UNLIKELY:
            continue
        worst = worst_case(groups, conditions, tolerate, crashed=k)
        together = f - k
        exposed = together > worst.private
        wrong, lost = (_more_than(most, together, liars) for most in (worst.correct, worst.live))
        private += float(with_k @ exposed)
        correct += float(with_k @ wrong)
        live += float(with_k @ lost)
        fail += float(with_k @ np.where(exposed, 1.0, wrong))
    return _certain(private, correct, live, fail)


def _more_than(most: int, trials: np.ndarray, share: float) -> np.ndarray:
    """P(more than `most` of each number of trials), each with this share."""
    if most < 0:
        return np.ones_like(trials)
    top = int(trials.max())
    x = np.arange(float(most + 1), float(top + 1))
    if not len(x):
        return np.zeros_like(trials)
    return np.exp(log_binomial(x[:, None], np.maximum(trials, 0.0)[None, :], share)).sum(axis=0)


def _certain(private: float, correct: float, live: float, fail: float) -> Analysis:
    found = [Probability.exact(min(1.0, value), "worst case") for value in (private, correct, live, fail)]
    bound = max(found[3].value, min(1.0, private + correct))
    return Analysis(private=found[0], correct=found[1], live=found[2], fail=found[3], union_bound=bound)


def hierarchical_sides(
    law: Law, asked: Setting, faults: Faults, conditions: Conditions, breakdown: Callable[[int], int]
) -> Analysis:
    """Return the four probabilities where each level of groups withstands as many bad parts as the rule does.

    Privacy is that of the clusters. Exact for faults that are uniform, or drawn with a random total; for other laws
    bounds: fewer bad clusters than can break the root do not, and more than it can bear do.

    Guarantees:
        Equal to counting every placement, or bounds around it.
    """
    tree = tree_of(asked.n, asked.groups[0][0], asked.levels)
    private, *others = side_events(faults, conditions, 0)
    correct, live, rest = (_under_tree(law, tree, event, breakdown) for event in others)
    return _joined(_marked(law, private), correct, live, rest)


def _under_tree(law: Law, tree: Tree, event: MarkedEvent, breakdown: Callable[[int], int]) -> Probability:
    match law:
        case Uniform():
            found = hierarchy_fails(
                tree, faulty=event.kinds, bad=event.bad, breakdown=breakdown, forbidden=event.forbidden
            )
        case Mixture():
            found = hierarchy_drawn(tree, event, law.totals, breakdown)
        case _:
            found = None
    if found is not None and found.engine != "bounds":
        return found
    fewest, most = leaves_to_break(tree, breakdown)
    enough, sure = (_marked(law, replace(event, most=count)) for count in (fewest - 1, most))
    upper = min(enough.upper, found.upper) if found else enough.upper
    why = found.because if found else "clusters of unlike laws break the same level in too many ways"
    return bounds_on(sure.lower, upper, because=why)
