"""The sides of failure under any law of Byzantine processes, and under a tree of groups."""

from collections.abc import Callable, Sequence

import numpy as np

from protocols.tolerance.analysis import Analysis
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.hierarchy import hierarchy_fails, tree_of
from protocols.tolerance.laws import Event, Law, Uniform
from protocols.tolerance.parts import Mask
from protocols.tolerance.placements import Setting
from protocols.tolerance.solve import Probability, bounds_on

__all__ = ["hierarchical_sides", "sides"]


def sides(law: Law, conditions: Conditions, tolerate: int, *, sizes: Sequence[int] = ()) -> Analysis:
    """Return the four probabilities under a law of Byzantine processes; see analysis.analyse for what they mean.

    `sizes`: the sizes of clusters, to refuse thresholds that they cannot have before anything is computed.

    Guarantees:
        Under the uniform law equal to analyse.
    """
    for size in sizes:
        conditions.threshold_at(size)

    def exposed(c: int) -> Mask:
        return conditions.exposed(c, np.arange(c + 1))

    def failed(c: int) -> Mask:
        return conditions.failed(c, np.arange(c + 1), np.array(0))

    def lost(c: int) -> Mask:
        return conditions.lost(c, np.arange(c + 1), np.array(0))

    private = law.probability(Event(bad=exposed, most=0))
    if tolerate < 0:
        sure = Probability.exact(1.0, "certain")
        return Analysis(private=private, correct=sure, live=sure, fail=sure, union_bound=1.0)
    correct = law.probability(Event(bad=failed, most=tolerate))
    live = law.probability(Event(bad=lost, most=tolerate))
    rest = law.probability(Event(bad=failed, most=tolerate, forbidden=exposed))
    fail = _both(private, correct, rest)
    return Analysis(
        private=private,
        correct=correct,
        live=live,
        fail=fail,
        union_bound=max(fail.upper, min(1.0, private.upper + correct.upper)),
    )


def _both(private: Probability, correct: Probability, rest: Probability) -> Probability:
    if "bounds" in {private.engine, rest.engine}:
        return bounds_on(max(private.lower, correct.lower), min(1.0, private.upper + correct.upper))
    return Probability.exact(min(1.0, private.value + rest.value), rest.engine)


def hierarchical_sides(
    asked: Setting, conditions: Conditions, breakdown: Callable[[int], int], cluster_size: int
) -> Analysis:
    """Return the four probabilities where each level of groups withstands as many bad parts as the rule does.

    Privacy is that of the clusters; uniform faults. `fail` lies between the larger side and the sum of both.
    """
    tree = tree_of(asked.n, cluster_size, asked.levels)

    def failed(c: int) -> Mask:
        return conditions.failed(c, np.arange(c + 1), np.array(0))

    def lost(c: int) -> Mask:
        return conditions.lost(c, np.arange(c + 1), np.array(0))

    private = Uniform(n=asked.n, faulty=asked.faulty, groups=asked.groups).probability(
        Event(bad=lambda c: conditions.exposed(c, np.arange(c + 1)), most=0)
    )
    correct = hierarchy_fails(tree, faulty=asked.faulty, bad=failed, breakdown=breakdown)
    live = hierarchy_fails(tree, faulty=asked.faulty, bad=lost, breakdown=breakdown)
    fail = bounds_on(max(private.lower, correct.lower), min(1.0, private.upper + correct.upper))
    return Analysis(private=private, correct=correct, live=live, fail=fail, union_bound=fail.upper)
