"""Hidden sums: the same questions, of clusters whose sums are shared by delegates and combined under encryption."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from bench.tolerance.pricing import Price
from bench.tolerance.question import Question
from protocols import check
from protocols.check import CloisterError
from protocols.hidden_sums.hidden import Hidden, group_conditions
from protocols.hidden_sums.rules import outer_rules
from protocols.tolerance.analysis import Analysis, Faults, correct_failure
from protocols.tolerance.compared import wrong_result, wrong_result_bounds
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.design import Best, Window, distinct_sizes
from protocols.tolerance.expressions import parse_threshold
from protocols.tolerance.hidden import (
    Delegates,
    hidden_bound,
    hidden_sides,
    hidden_worst,
    private_hidden,
)
from protocols.tolerance.parts import Groups, size_groups
from protocols.tolerance.worst import WorstCase

__all__ = [
    "best_of",
    "correct_upper",
    "hidden_named",
    "largest_faulty_of",
    "over_rounds_upper",
    "price_of",
    "sides_of",
    "window_of",
    "worst_of",
]

_MODES = ("inputs", "passive", "detect")
_INPUT_CHECKS = ("none", "range")
_MOST_PROCESSES = 5000  # up to which every size is tried


def hidden_named(
    *, mode: str | None, threshold: str | None, delegates: int, aggregator: str = "median", input_check: str = "none"
) -> tuple[Conditions, Delegates]:
    """Return what one cluster tolerates, and who holds the sums; `threshold` is an expression in c, their number.

    Mode `inputs`: Byzantine members choose their inputs and follow the protocol; `passive`: they deviate as well;
    `detect`: they do, and two committees of delegates compare their results. With `input_check` "range" every member's
    input is shown to be in range, one by one, before the rule `aggregator` combines the sums of who passes.
    Raises: CloisterError for a mode, a number, a threshold or a check that does not fit.
    """
    chosen = mode or _MODES[0]
    check.one_of(_MODES, mode=chosen)
    check.one_of(_INPUT_CHECKS, input_check=input_check)
    rules = outer_rules.entries()  # one that is not among them is refused by the question
    by_members = aggregator in rules and outer_rules.make(outer_rules.resolve(aggregator)).by_members
    held = parse_threshold(threshold or "c/2")(delegates)
    committees = 2 if chosen == "detect" else 1
    found = Delegates(
        count=delegates,
        threshold=held,
        deviating=chosen != "inputs",
        committees=committees,
        checked=input_check != "none",
        shows_total=by_members,
    )
    return replace(group_conditions(), mode=chosen), found


def correct_upper(question: Question, groups: Groups, delegates: Delegates, *, enough: float | None = None) -> float:
    """Return how likely the correct side fails, at most; `enough`: only whether it is above this has to be right."""
    given = question.faults, groups, question.conditions
    if not delegates.deviating or not question.faults.byzantine:
        return correct_failure(*given, question.tolerate(groups)).upper
    if delegates.committees == 1:
        return 1.0
    apart = wrong_result_bounds(*given, delegates, question.tolerate(groups))
    if enough is not None and (apart.upper <= enough or apart.lower > enough):
        return apart.upper
    return wrong_result(*given, delegates, question.tolerate(groups)).upper


def _delegates(question: Question) -> Delegates:
    assert question.delegates is not None
    return question.delegates


def sides_of(question: Question, groups: Groups) -> Analysis:
    """Return the four probabilities for these clusters."""
    return hidden_sides(
        question.faults,
        groups,
        question.conditions,
        _delegates(question),
        question.tolerate(groups),
    )


def worst_of(question: Question, groups: Groups) -> WorstCase:
    """Return what is tolerated wherever the faulty are and whoever serves."""
    return hidden_worst(
        question.faults,
        groups,
        question.conditions,
        _delegates(question),
        question.tolerate(groups),
    )


def over_rounds_upper(question: Question, groups: Groups, analysis: Analysis) -> float:
    """Return a bound on the failure while clusters are kept: delegates are drawn in every round all the same."""
    if question.known.redrawn and question.every == 1:
        return analysis.fail.upper
    kept = private_hidden(question.faults, groups, _delegates(question), whoever=True)
    return min(1.0, kept.upper + analysis.correct.upper)


def _fitting(question: Question) -> Iterator[Groups]:
    """Yield the clusters of every size that leaves enough of them for the delegates."""
    for size in distinct_sizes(question.faults.n):
        groups = size_groups(question.faults.n, size)
        try:
            _delegates(question).check(groups)
        except CloisterError:
            continue
        yield groups


def _bound(question: Question, groups: Groups, faults: Faults | None = None) -> float:
    return hidden_bound(
        faults or question.faults,
        groups,
        question.conditions,
        _delegates(question),
        question.tolerate(groups),
    )


def best_of(question: Question) -> Best | None:
    """Return the smallest size that meets the target by the bound of both sides together, without one the safest.

    None for more processes than every size can be tried for.
    """
    if question.faults.n > _MOST_PROCESSES:
        return None
    best: tuple[float, Groups] | None = None
    for groups in _fitting(question):
        fail = _bound(question, groups)
        if question.target is not None and fail <= question.target:
            return Best(size=groups[0][0], fail=sides_of(question, groups).fail.upper)
        if fail < 1 - 1e-9 and (best is None or fail < best[0]):
            best = fail, groups
    if best is None:
        return Best(size=None, fail=1.0)
    return Best(size=best[1][0][0], fail=sides_of(question, best[1]).fail.upper)


def window_of(question: Question, target: float) -> Window:
    """Return the sizes that meet the target: the smallest that is private, the largest that is correct."""

    def meeting(fails: Callable[[Groups], float]) -> list[int]:
        return [groups[0][0] for groups in _fitting(question) if fails(groups) <= target]

    delegates = _delegates(question)
    private = meeting(lambda groups: private_hidden(question.faults, groups, delegates).upper)
    correct = meeting(lambda groups: correct_upper(question, groups, delegates, enough=target))
    return Window(
        private=min(private, default=None),
        correct=max(correct, default=None),
        sizes=tuple(sorted(set(private) & set(correct))),
    )


def largest_faulty_of(question: Question, groups: Groups, target: float) -> int:
    """Return the most Byzantine processes up to which the bound of both sides meets the target (-1: not even none)."""
    top = question.faults.n - question.faults.crashed - question.faults.curious
    low, high = -1, top + 1
    while high - low > 1:
        middle = (low + high) // 2
        meets = _bound(question, groups, replace(question.faults, byzantine=middle)) <= target
        low, high = (middle, high) if meets else (low, middle)
    return low


def price_of(question: Question, groups: Groups) -> Price:
    """Return the price of one round of all clusters: the protocol's formula.

    Raises: CloisterError where the clusters cannot run it.
    """
    n, tolerate = question.faults.n, max(question.tolerate(groups), 0)
    delegates = _delegates(question)
    protocol = Hidden(
        group_size=groups[0][0],
        outer=question.aggregator,
        tolerate=tolerate,
        delegates=delegates.count,
        delegate_threshold=str(delegates.threshold),
        committees=delegates.committees,
        input_check="range" if delegates.checked else "none",
    )
    protocol.check_size(parties=n)
    traffic = protocol.cost(parties=n, clusters=1, coordinates=question.coordinates)
    return Price(wire_bytes_per_process=traffic.wire_bytes / n, rounds=traffic.rounds, comparisons=traffic.comparisons)
