"""`bench tolerance`: how likely a random placement breaks a design, and what is tolerated at worst."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
from rich.table import Table

from protocols import check
from protocols.aggregators import Aggregator, aggregators
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.tolerance.analysis import Analysis, Faults, analyse
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.design import Best, best_size
from protocols.tolerance.parts import Groups, clusters_of, size_groups
from protocols.tolerance.rounds import over_rounds
from protocols.tolerance.worst import WorstCase, worst_case

__all__ = ["Answer", "Question", "answers", "ask", "describe", "tabulate"]

# Who sits where, under each policy, when the faults are exchangeable: the same law for all, but not the same worst
# case. A policy that is not here has a law of its own, and no answer from this one.
LAWS: Mapping[str, str] = MappingProxyType(
    {
        "none": "every process is its own cluster, so only the number of faults counts",
        "random": "nobody can arrange it when the seed is fixed after the faults; it takes that bad luck",
        "round_robin": "an adversary who chooses its processes' numbers arranges it at will",
    }
)
_MOST_SIZES = 5000


@dataclass(frozen=True, kw_only=True)
class Question:
    """One design to judge; `sizes` are the cluster sizes asked about, empty for the best one.

    Raises: CloisterError for a policy whose law is not known, numbers that do not fit, or a target outside 0..1.
    """

    faults: Faults
    sizes: tuple[int, ...]
    conditions: Conditions
    policy: str
    aggregator: str
    target: float | None = None
    rounds: int | None = None

    def __post_init__(self) -> None:
        clusterings.entry(self.policy)
        check.one_of(LAWS, policy=self.policy)
        aggregators.entry(self.aggregator)
        if self.target is not None:
            check.fraction(target=self.target)
        if self.rounds is not None:
            check.integer_at_least(1, rounds=self.rounds)

    @property
    def rule(self) -> Aggregator:
        """The outer rule."""
        return aggregators.make(aggregators.resolve(self.aggregator))


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was found for one cluster size; `tolerate` is F, what the rule withstands of the m clusters.

    `seconds` is what this answer took, `search_seconds` the search for the best size, once for all sizes asked about.
    """

    question: Question
    groups: Groups
    tolerate: int
    analysis: Analysis
    worst: WorstCase
    best: Best
    seconds: float
    search_seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return the answer for machines, probabilities at full precision."""
        asked, found = self.question, self.analysis
        sides = {"private": found.private, "correct": found.correct, "live": found.live, "fail": found.fail}
        return {
            "n": asked.faults.n,
            "faulty": asked.faults.byzantine,
            "crash": asked.faults.crashed,
            "curious": asked.faults.curious,
            "cluster_sizes": [size for size, count in self.groups for _ in range(count)],
            "clusters": clusters_of(self.groups),
            "clusters_tolerated": self.tolerate,
            "protocol": asked.conditions.protocol,
            "mode": asked.conditions.mode,
            "threshold": asked.conditions.threshold,
            "policy": asked.policy,
            "aggregator": asked.aggregator,
            "p_private_fail": found.private.value,
            "p_correct_fail": found.correct.value,
            "p_live_fail": found.live.value,
            "p_fail": found.fail.value,
            "union_bound": found.union_bound,
            "engines": {side: probability.engine for side, probability in sides.items()},
            "worst_case_faulty": self.worst.all,
            "worst_case": {"private": self.worst.private, "correct": self.worst.correct, "live": self.worst.live},
            "best_cluster_size": self.best.size,
            "best_p_fail": self.best.fail,
            "target": asked.target,
            "rounds": asked.rounds,
            "p_fail_over_rounds": self.over_rounds,
            "seconds": self.seconds,
            "search_seconds": self.search_seconds,
        }

    @property
    def over_rounds(self) -> float | None:
        """The failure probability over all rounds; only the random policy draws new clusters for each."""
        if self.question.rounds is None:
            return None
        p = self.analysis.fail.value
        return over_rounds(p, self.question.rounds) if self.question.policy == "random" else p


def _number_of(n: int, **named: str) -> int:
    (name, text), *_ = named.items()
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise CloisterError(f"{name} = {text!r} is not a number; allowed: a count, or a fraction such as 0.2") from None
    whole = "." not in text and "/" not in text and "e" not in text.lower()
    if not whole and not 0 <= value <= 1:
        raise CloisterError(f"{name} = {text!r} is not allowed; allowed: a count 0 to {n}, or a fraction 0.0 to 1.0")
    count = int(value) if whole else int(value * n)  # a fraction of the processes, rounded down
    if not 0 <= count <= n:
        raise CloisterError(f"{name} = {text!r} does not fit n = {n} processes; allowed: 0 to {n}, or a fraction")
    return count


def _sizes_of(n: int, text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        ends = [int(word) for word in text.split(":")]
    except ValueError:
        ends = []
    if not 1 <= len(ends) <= 2:
        raise CloisterError(f"cluster_size = {text!r} is not understood; allowed: a size such as 20, or a range 3:101")
    first, last = ends[0], ends[-1]
    if not 1 <= first <= last <= n:
        raise CloisterError(f"cluster_size = {text!r} does not fit n = {n} processes; allowed: 1 to {n}, ascending")
    if last - first >= _MOST_SIZES:
        raise CloisterError(f"cluster_size = {text!r} is {last - first + 1} sizes; allowed: at most {_MOST_SIZES}")
    return tuple(range(first, last + 1))


def ask(
    *,
    n: int,
    faulty: str,
    crash: str,
    curious: str,
    cluster_size: str | None,
    conditions: Conditions,
    policy: str,
    aggregator: str,
    target: float | None,
    rounds: int | None,
) -> Question:
    """Return the question that the command line's words ask; CloisterError for words that make no sense."""
    check.integer_at_least(1, n=n)
    return Question(
        faults=Faults(
            n=n,
            byzantine=_number_of(n, faulty=faulty),
            crashed=_number_of(n, crash=crash),
            curious=_number_of(n, curious=curious),
        ),
        sizes=_sizes_of(n, cluster_size),
        conditions=conditions,
        policy=policy,
        aggregator=aggregator,
        target=target,
        rounds=rounds,
    )


def answers(question: Question) -> list[Answer]:
    """Return one answer for each cluster size asked about, or one for the best size.

    Guarantees:
        Sizes that give the same clusters give the same answer.
    """
    started = time.perf_counter()
    best = _best(question)
    searched = time.perf_counter() - started
    found: dict[Groups, Answer] = {}
    asked: list[Groups] = []
    for size in question.sizes or (best.size or _middle(question.faults.n),):
        groups = _groups(question, size)
        asked.append(groups)
        if groups not in found:
            found[groups] = _answer(question, groups, best, searched)
    return [found[groups] for groups in asked]


def _middle(n: int) -> int:
    # No size is any good: show one that is as far from either end as can be.
    return max(1, round(n**0.5))


def _groups(question: Question, size: int) -> Groups:
    policy = clusterings.make(clusterings.resolve(question.policy))
    return size_groups(question.faults.n, policy.smallest_cluster(size))


def _best(question: Question) -> Best:
    if question.policy == "none":
        fail = _answer(question, size_groups(question.faults.n, 1), Best(size=1, fail=1.0), 0.0).analysis.fail.value
        return Best(size=1 if fail < 1 else None, fail=fail)
    return best_size(question.faults, question.conditions, question.rule.breakdown, target=question.target)


def _answer(question: Question, groups: Groups, best: Best, searched: float) -> Answer:
    started = time.perf_counter()
    faults, conditions = question.faults, question.conditions
    tolerate = question.rule.breakdown(clusters_of(groups))
    analysis = analyse(faults, groups, conditions, tolerate)
    worst = worst_case(groups, conditions, tolerate, crashed=faults.crashed, curious=faults.curious)
    return Answer(
        question=question,
        groups=groups,
        tolerate=tolerate,
        analysis=analysis,
        worst=worst,
        best=best,
        seconds=time.perf_counter() - started,
        search_seconds=searched,
    )


def _shown(probability: float) -> str:
    if probability == 0:
        return "0 (or below 1e-300)"
    # 1 - 2e-8 must not read as certainty.
    return f"1 - {1 - probability:.3g}" if 0.999 < probability < 1 else f"{probability:.6g}"


def _sizes_words(groups: Groups) -> str:
    sizes = " and ".join(f"{count} of {size}" for size, count in groups)
    return f"{clusters_of(groups)} clusters ({sizes})"


def describe(answer: Answer) -> list[str]:
    """Return a few lines for people: the design, the three sides with reasons, the worst case, the best size."""
    asked, found = answer.question, answer.analysis
    faults = asked.faults
    kinds = {"Byzantine": faults.byzantine, "crashed": faults.crashed, "curious": faults.curious}
    who = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count) or "none faulty"
    scheme = asked.conditions
    threshold = f", threshold {scheme.threshold}" if scheme.threshold else ""
    lines = [
        f"{faults.n} processes, {who}; {_sizes_words(answer.groups)}, {asked.policy}; "
        f"{scheme.protocol} ({scheme.mode}{threshold}); {asked.aggregator}",
        f"private  fails with probability {_shown(found.private.value)}: {_why_private(answer)}",
        f"correct  fails with probability {_shown(found.correct.value)}: {_why_correct(answer)}",
        f"live     fails with probability {_shown(found.live.value)}: {_why_live(answer)}",
        f"any      fails with probability {_shown(found.fail.value)} (union bound {found.union_bound:.6g}); "
        f"{_verdict(answer)}",
        _worst_words(answer),
        _best_words(answer),
    ]
    if asked.rounds is not None and answer.over_rounds is not None:
        drawn = "drawn anew for each" if asked.policy == "random" else "the same in all"
        lines.insert(5, f"over {asked.rounds} rounds, clusters {drawn}: {_shown(answer.over_rounds)}")
    return lines


def _why_private(answer: Answer) -> str:
    conditions, size = answer.question.conditions, answer.groups[0][0]
    if conditions.protocol == "plaintext":
        return "every update is sent in the clear"
    if conditions.scheme.threshold is not None:
        worst = _least_exposed(conditions, size)
        return f"{worst} colluding members of a cluster of {size} open its updates"
    if not conditions.revealed:
        return "cluster sums stay shared, and no proper part of the members learns anything"
    return f"{size - 1} colluding members of a cluster of {size} subtract themselves from its sum"


def _least_exposed(conditions: Conditions, size: int) -> str:
    bad = np.flatnonzero(conditions.exposed(size, np.arange(size + 1)))
    return f"{int(bad[0])} or more" if len(bad) else "no number of"


def _why_correct(answer: Answer) -> str:
    m, most = clusters_of(answer.groups), answer.tolerate
    if most < 0:
        return f"{answer.question.aggregator} is not defined for {m} clusters"
    inputs = "broken" if answer.question.conditions.checked_inputs else "with a Byzantine member"
    return f"{answer.question.aggregator} withstands {most} of {m} clusters {inputs} or lost"


def _why_live(answer: Answer) -> str:
    m, most = clusters_of(answer.groups), answer.tolerate
    return f"fewer than {m - max(most, 0)} of {m} clusters deliver"


def _verdict(answer: Answer) -> str:
    target, fail = answer.question.target, answer.analysis.fail
    if target is not None:
        return f"the target {target:g} is {'met' if fail.upper <= target else 'missed'}"
    return "an upper bound" if fail.engine == "bounds" else f"exact, by the {fail.engine}"


def _worst_words(answer: Answer) -> str:
    worst = answer.worst
    if worst.all < 0:
        return f"worst case: not even without Byzantine processes; {LAWS[answer.question.policy]}"
    return (
        f"worst case: up to {worst.all} Byzantine processes wherever they sit (private {worst.private}, "
        f"correct {worst.correct}, live {worst.live}); {LAWS[answer.question.policy]}"
    )


def _best_words(answer: Answer) -> str:
    best, target = answer.best, answer.question.target
    if best.size is None:
        return "best size: none; at this many faults every cluster size fails almost surely"
    if target is not None and best.fail > target:
        return f"best size: {best.size}, failing with {_shown(best.fail)}; no size meets the target {target:g}"
    return f"best size: {best.size}, failing with {_shown(best.fail)}"


def tabulate(found: list[Answer]) -> Table:
    """Return one line for each cluster size."""
    table = Table("size", "clusters", "private", "correct", "live", "any", "worst case")
    sizes = found[0].question.sizes
    for size, answer in zip(sizes, found, strict=True):
        sides = answer.analysis
        shown = [f"{side.value:.3g}" for side in (sides.private, sides.correct, sides.live, sides.fail)]
        table.add_row(str(size), str(clusters_of(answer.groups)), *shown, str(answer.worst.all))
    return table
