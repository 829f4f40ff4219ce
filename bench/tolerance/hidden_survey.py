"""What the page's figures show of sums that stay hidden: failure by size, by delegates, and by how members behave."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import numpy as np

from bench.tolerance.curves import SHARES, Curve, Heat, curve_of, sizes_of
from bench.tolerance.hidden import correct_upper
from bench.tolerance.question import Question
from protocols.check import CloisterError
from protocols.tolerance.analysis import Faults, correct_failure
from protocols.tolerance.hidden import Delegates, hidden_bound, private_hidden
from protocols.tolerance.parts import Groups, size_groups

__all__ = ["committee_curves", "delegate_curves", "hidden_curves", "hidden_heat"]

_COUNTS = (3, 5, 9)
_SIDES = 40
_SIZES = 16
_COLUMNS = 14


def hidden_curves(question: Question) -> list[Curve]:
    """Return the private and the correct side by cluster size, for the delegates that were asked about."""
    serving = _asked(question)
    sizes = sizes_of(question.faults.n, _SIDES)
    return [curve_of("", side, side, sizes, _BY_SIDE[side](question, serving)) for side in ("private", "correct")]


def delegate_curves(question: Question) -> list[Curve]:
    """Return a curve for each of some numbers of delegates, with the largest threshold: private, and any side.

    Where members deviate any of them stops a round, and the second panel is of wrong results.
    """
    asked = _asked(question)
    second = "correct" if asked.deviating else "fail"
    serving = {
        f"{count} delegates": asked if count == asked.count else replace(asked, count=count, threshold=(count - 1) // 2)
        for count in sorted({*_COUNTS, asked.count})
    }
    return _panels(question, ("private", second), serving.items())


def committee_curves(question: Question) -> list[Curve]:
    """Return both sides where members follow the protocol, and where they deviate under one committee and two."""
    asked = replace(_asked(question), committees=1)
    serving = {
        "all follow the protocol": replace(asked, deviating=False),
        "some deviate, one committee": replace(asked, deviating=True),
        "some deviate, two committees": replace(asked, deviating=True, committees=2),
    }
    return _panels(question, ("private", "correct"), serving.items())


def hidden_heat(question: Question) -> Heat:
    """Return the bound of both sides together, over shares of faults and cluster sizes."""
    n, serving = question.faults.n, _asked(question)
    sizes = tuple(sizes_of(n, _COLUMNS))
    rows = [
        [_bound(question, Faults(n=n, byzantine=int(share * n)), serving, size) for size in sizes] for share in SHARES
    ]
    return Heat(shares=SHARES, sizes=sizes, fail=np.array(rows))


def _asked(question: Question) -> Delegates:
    assert question.delegates is not None
    return question.delegates


def _panels(question: Question, sides: Iterable[str], serving: Iterable[tuple[str, Delegates]]) -> list[Curve]:
    sizes, named = sizes_of(question.faults.n, _SIZES), list(serving)
    return [curve_of(side, side, name, sizes, _BY_SIDE[side](question, each)) for side in sides for name, each in named]


def _private(question: Question, serving: Delegates) -> Callable[[int], float]:
    faults = question.faults
    return lambda size: private_hidden(faults, size_groups(faults.n, size), serving).upper


def _correct(question: Question, serving: Delegates) -> Callable[[int], float]:
    faults, conditions = question.faults, question.conditions

    def at(size: int) -> float:
        groups = size_groups(faults.n, size)
        serving.check(groups)
        if serving.deviating and faults.byzantine:
            return correct_upper(question, groups, serving)
        return correct_failure(faults, groups, conditions, _withstood(question, groups, serving)).upper

    return at


def _withstood(question: Question, groups: Groups, serving: Delegates) -> int:
    """As many clusters as the rule withstands, or as can be lost to crashes before too few are left to serve."""
    most = question.tolerate(groups)
    return min(most, serving.spare(groups)) if question.faults.crashed else most


def _fail(question: Question, serving: Delegates) -> Callable[[int], float]:
    return lambda size: _either(question, question.faults, serving, size)


def _either(question: Question, faults: Faults, serving: Delegates, size: int) -> float:
    groups = size_groups(faults.n, size)
    return hidden_bound(faults, groups, question.conditions, serving, question.tolerate(groups))


def _bound(question: Question, faults: Faults, serving: Delegates, size: int) -> float:
    try:
        return _either(question, faults, serving, size)
    except CloisterError:
        return math.nan  # too few clusters for the delegates


_BY_SIDE: dict[str, Callable[[Question, Delegates], Callable[[int], float]]] = {
    "private": _private,
    "correct": _correct,
    "fail": _fail,
}
