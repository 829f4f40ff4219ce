"""What a protocol promises in one cluster, in four numbers and a word: the summary of its conditions."""

from dataclasses import dataclass

import numpy as np

from protocols import check
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.schemes import OnCheating

__all__ = ["Thresholds", "thresholds_of"]


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """How many faulty members of a cluster a protocol tolerates, each kind alone; -1: not even none.

    `private`: so many curious or Byzantine members learn nothing beyond the opened sum. `correct`: so many
    Byzantine members cannot make what is opened wrong by what they send (their own inputs are theirs to choose).
    `live_crashed`, `live_byzantine`: despite so many the sum opens. `on_cheating`: what a wrong message leads to.
    """

    private: int
    correct: int
    live_crashed: int
    live_byzantine: int
    on_cheating: OnCheating


def thresholds_of(conditions: Conditions, c: int) -> Thresholds:
    """Return the thresholds in a cluster of c members.

    Guarantees:
        One more faulty member of that kind, where there is room for one, breaks the promise.

    Raises: CloisterError where the protocol cannot run with c members.
    """
    check.integer_at_least(1, c=c)
    count, none = np.arange(c + 1), np.zeros(c + 1, dtype=np.int64)
    wrong = conditions.scheme.wrong(count, none, c, conditions.threshold_at(c))
    return Thresholds(
        private=_before_the_first(conditions.exposed(c, count, none)),
        correct=_before_the_first(wrong),
        live_crashed=_before_the_first(conditions.lost(c, none, count)),
        live_byzantine=_before_the_first(conditions.lost(c, count, none)),
        on_cheating=conditions.scheme.on_cheating,
    )


def _before_the_first(broken: np.ndarray) -> int:
    return int(np.argmax(broken)) - 1 if broken.any() else len(broken) - 1
