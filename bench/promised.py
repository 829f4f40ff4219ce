"""Whether the rule promises anything for the sizes that clusters may open with, unequal where members drop out."""

from dataclasses import replace

import numpy as np

from bench.setting import Federation
from protocols.aggregators import lapses
from protocols.promises import worst_sizes
from protocols.tolerance.verdict import Verdict
from protocols.types import Clustering

__all__ = ["promised_verdict"]

_MOST_SIZES = 10  # in a reason


def promised_verdict(federation: Federation, clustering: Clustering, said: Verdict) -> Verdict:
    """Return the verdict, which predicts no correct result where the rule's promise may lapse; see `lapses`.

    Guarantees:
        Where it predicts a correct result, the promise lapses for no sizes that the clusters open with.
        It is the verdict that was said where the rule does not count members.
    """
    if federation.graph is not None:  # each cluster then has a rule of its own, which counts clusters
        return said
    left = [_left(federation, each) for each in clustering.clusters]
    absent = len({*said.lost, *(j for j, size in enumerate(left) if not size)})
    for sizes, told in worst_sizes(clustering.sizes, left, absent, federation.told):
        if lapses(federation.rule, sizes, told):
            shown = ", ".join(map(str, sizes.tolist()[:_MOST_SIZES])) + (", .." if len(sizes) > _MOST_SIZES else "")
            reason = f"{federation.rule_spec.name} promises nothing for clusters of {shown} with {told} tainted"
            return replace(said, correct=False, why=(*said.why, reason))
    return said


def _left(federation: Federation, members: tuple[int, ...]) -> int:
    """Return how many members are left in a sum without the crashed ones, and Byzantine ones that crash or are caught.

    All are where no sum opens without every member.
    """
    faulty, conditions = federation.who_fails, federation.conditions
    whole = bool(np.all(conditions.lost(len(members), np.array([0]), np.array([1]))))
    if whole and not conditions.checked_inputs:
        return len(members)
    return len(set(members) - faulty.crashed - faulty.byzantine)
