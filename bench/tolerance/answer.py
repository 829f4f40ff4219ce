"""What was found for one cluster size: the four sides, broken clusters, the worst case, the best size."""

import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from bench.chain import chain_label
from bench.tolerance.designs import Designs, designs
from bench.tolerance.fitting import refusals
from bench.tolerance.hidden import best_of, sides_of, worst_of
from bench.tolerance.many_rounds import bounded_because, over_rounds
from bench.tolerance.question import Question
from protocols.check import CloisterError
from protocols.tolerance.analysis import Analysis, analyse
from protocols.tolerance.design import Best, best_size, distinct_sizes
from protocols.tolerance.disclosure import rounds_until_disclosed
from protocols.tolerance.group_testing import Noise, rounds_until_identified
from protocols.tolerance.hidden import sums_shown
from protocols.tolerance.hierarchy import hierarchy_tolerates, tree_of
from protocols.tolerance.kdist import distribution, distribution_work
from protocols.tolerance.parts import Groups, clusters_of, parts_of, without_absent
from protocols.tolerance.placements import Chosen
from protocols.tolerance.policies import law_of
from protocols.tolerance.sides import at_will, hierarchical_sides, mixed_sides, sides
from protocols.tolerance.union import bad_shares
from protocols.tolerance.worst import WorstCase, worst_case

__all__ = ["Answer", "Broken", "answers", "judge"]

_QUICK = frozenset({"iid", "packed", "spread", "worst"})
_MOST_PROCESSES = 5000  # up to which every size is tried under such a placement
_MOST_WORK = 2e8  # a fifth of a second for the whole law of K


@dataclass(frozen=True, kw_only=True)
class Broken:
    """The number K of tainted or lost clusters under a uniform placement: its mean, and P(K = k) for k = 0, 1, ..

    `law` is None where it would take too long; P(K > F) is then the answer's `correct`.
    """

    mean: float
    law: tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What was found for one cluster size; `tolerate` is F, what the rule withstands of the m clusters.

    `seconds` is what this answer took, `search_seconds` the search for the best size, once for all sizes asked about.
    `best` is None where sizes are not searched under this placement.
    """

    question: Question
    groups: Groups
    tolerate: int
    analysis: Analysis
    worst: WorstCase
    best: Best | None
    seconds: float
    search_seconds: float
    broken: Broken | None = None
    designs: Designs | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the answer for machines, probabilities at full precision."""
        asked, found = self.question, self.analysis
        sides_ = {"private": found.private, "correct": found.correct, "live": found.live, "fail": found.fail}
        over = self.over_rounds
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
            "least_honest": asked.conditions.least_honest or None,
            "least_passing": asked.conditions.least_passing or None,
            "delegates": asked.delegates and asked.delegates.count,
            "delegate_threshold": asked.delegates and asked.delegates.threshold,
            "input_check": asked.delegates and ("range" if asked.delegates.checked else "none"),
            "p_sums_shown": asked.delegates and sums_shown(asked.faults, asked.delegates),
            "policy": asked.policy,
            "placement": asked.placement,
            "domains": asked.domains if asked.placement == "by_domain" else None,
            "domains_failing": [list(each) for each in asked.setting(self.groups).failing]
            if asked.placement == "by_domain"
            else None,
            "moves": asked.aimed if asked.placement == "targeted" else None,
            "aggregator": asked.aggregator,
            "pre": chain_label(asked.pre, str),
            "p_private_fail": found.private.value,
            "p_correct_fail": found.correct.value,
            "p_live_fail": found.live.value,
            "p_fail": found.fail.value,
            "union_bound": found.union_bound,
            "engines": {side: probability.engine for side, probability in sides_.items()},
            "because": {side: probability.because for side, probability in sides_.items() if probability.because},
            "bounds": {side: [probability.lower, probability.upper] for side, probability in sides_.items()},
            "broken_clusters_mean": self.broken and self.broken.mean,
            "broken_clusters": self.broken and self.broken.law and list(self.broken.law),
            "worst_case_faulty": self.worst.all,
            "worst_case": {"private": self.worst.private, "correct": self.worst.correct, "live": self.worst.live},
            "best_cluster_size": self.best and self.best.size,
            "best_p_fail": self.best and self.best.fail,
            "target": asked.target,
            "rounds": asked.rounds,
            "p_fail_over_rounds": over and over[1],
            "p_fail_over_rounds_bounds": over and list(over),
            "p_fail_over_rounds_because": self.over_rounds_because or None,
            "rounds_until_disclosed": self.rounds_until_disclosed,
            "rounds_until_identified": self.rounds_until_identified,
            "design": self.designs and self.designs.as_json(),
            "seconds": self.seconds,
            "search_seconds": self.search_seconds,
        }

    @property
    def over_rounds(self) -> tuple[float, float] | None:
        """Bounds on the probability that any round fails, which meet where it is exact; None where none are asked."""
        asked = self.question
        if asked.rounds is None:
            return None
        return over_rounds(asked, self.groups, self.analysis, self.best and self.best.size)

    @property
    def over_rounds_because(self) -> str:
        """Why the probability over rounds is not known exactly, given that of one round; nothing where it is."""
        low, high = self.over_rounds or (0.0, 0.0)
        return "" if low == high else bounded_because(self.question, self.analysis)

    @property
    def rounds_until_disclosed(self) -> int | None:
        """After how many fresh drawings revealed sums determine static updates; None where they never do."""
        asked, m = self.question, clusters_of(self.groups)
        colluding = asked.faults.colluding
        if not asked.known.redrawn or not asked.conditions.revealed or colluding >= asked.faults.n:
            return None
        return rounds_until_disclosed(asked.faults.n, colluding, m)

    @property
    def rounds_until_identified(self) -> int | None:
        """After how many fresh drawings tainted clusters give all Byzantine processes away, but for 1e-6."""
        asked = self.question
        # Of sums that stay hidden nobody sees which are tainted.
        if asked.delegates or not asked.known.redrawn or not 0 < asked.faults.byzantine < asked.faults.n:
            return None
        return _rounds_until_identified(asked.faults.n, asked.faults.byzantine, self.groups[-1][0])


@lru_cache(maxsize=256)
def _rounds_until_identified(n: int, faulty: int, size: int) -> int | None:
    rule = rounds_until_identified(n=n, faulty=faulty, cluster_size=size, noise=Noise())
    return rule and rule.rounds


def answers(question: Question, *, design: bool = False) -> list[Answer]:
    """Return one answer for each cluster size asked about, or one for the best size; `design`: with all designs.

    Sizes that the protocol refuses have none; see `refusals`. Raises: CloisterError where it refuses them all.

    Guarantees:
        Sizes that give the same clusters give the same answer.
    """
    refused = refusals(question)
    started = time.perf_counter()
    best = _best(question)
    searched = time.perf_counter() - started
    found: dict[Groups, Answer] = {}
    asked: list[Groups] = []
    size = (best and best.size) or _middle(question.faults.n)
    for each in [each for each in question.sizes or (size,) if each not in refused]:
        groups = question.groups(each)
        asked.append(groups)
        if groups not in found:
            found[groups] = _answer(question, groups, best, searched, design=design)
    return [found[groups] for groups in asked]


def _middle(n: int) -> int:
    # No size is any good, or none was searched for: show one that is as far from either end as can be.
    return max(1, round(n**0.5))


def judge(question: Question, groups: Groups) -> Analysis:
    """Return the four probabilities for these clusters, under the policy's law for the placement."""
    tolerate = question.tolerate(groups)
    if question.delegates is not None:
        return sides_of(question, groups)
    if question.plain:
        return analyse(question.faults, groups, question.conditions, tolerate)
    faults, conditions, setting = question.faults, question.conditions, question.setting(groups)
    law, sizes = law_of(question.policy, question.placement, setting), [size for size, _ in groups]
    if question.known.hierarchical:
        return hierarchical_sides(law, setting, faults, conditions, question.breakdown)
    if not question.mixed:
        return sides(law, conditions, tolerate, sizes=sizes)
    if isinstance(law, Chosen):  # whom the adversary seats, it gives the kind that serves best
        return at_will(law.totals, faults, groups, conditions, tolerate)
    return mixed_sides(law, faults, conditions, tolerate, sizes=sizes)


def _best(question: Question) -> Best | None:
    if question.delegates is not None and question.policy != "single":
        return best_of(question)
    if question.policy in {"singletons", "single"}:
        groups = question.groups(1)
        fail = judge(question, groups).fail.upper
        return Best(size=groups[0][0] if fail < 1 else None, fail=fail)
    if question.plain:
        return best_size(question.faults, question.conditions, question.breakdown, target=question.target)
    quick = question.placement in _QUICK or question.policy == "similarity"
    if not quick or question.mixed or question.known.hierarchical or question.faults.n > _MOST_PROCESSES:
        return None
    return _best_of_all(question)


def _best_of_all(question: Question) -> Best:
    best = Best(size=None, fail=1.0)
    for size in distinct_sizes(question.faults.n):
        try:
            fail = judge(question, question.groups(size)).fail.upper
        except CloisterError:
            continue  # a threshold that clusters of this size cannot have
        if fail < best.fail:
            best = Best(size=size, fail=fail)
        if question.target is not None and fail <= question.target:
            return Best(size=size, fail=fail)
    return best


def _answer(question: Question, groups: Groups, best: Best | None, searched: float, *, design: bool) -> Answer:
    started = time.perf_counter()
    analysis = judge(question, groups)
    seconds = time.perf_counter() - started
    return Answer(
        question=question,
        groups=groups,
        tolerate=question.tolerate(groups),
        analysis=analysis,
        worst=_worst(question, groups),
        best=best,
        seconds=seconds,
        search_seconds=searched,
        broken=_broken(question, groups) if question.plain else None,
        designs=designs(question, groups) if design else None,
    )


def _worst(question: Question, groups: Groups) -> WorstCase:
    if question.delegates is not None:
        return worst_of(question, groups)
    faults, conditions = question.faults, question.conditions
    found = worst_case(groups, conditions, question.tolerate(groups), crashed=faults.crashed, curious=faults.curious)
    if not question.known.hierarchical:
        return found
    tree = tree_of(faults.n, groups[0][0], question.levels)

    def tolerated(rule: Any) -> int:
        def least(c: int) -> int:
            bad = np.flatnonzero(rule(c, np.arange(c + 1), np.array(0)))
            return int(bad[0]) if len(bad) else 2**40

        return hierarchy_tolerates(tree, least=least, breakdown=question.breakdown)

    return WorstCase(private=found.private, correct=tolerated(conditions.failed), live=tolerated(conditions.lost))


def _broken(question: Question, groups: Groups) -> Broken | None:
    faults, conditions = question.faults, question.conditions
    if faults.n > 10_000 and faults.crashed:  # tables of two kinds of fault
        return None

    def failed(c: int) -> np.ndarray:
        none = np.arange(c + 1 if faults.crashed else 1)
        return conditions.failed(c, np.arange(c + 1)[:, None], none[None, :])

    parts, counts = without_absent(parts_of(groups, failed), (faults.byzantine, faults.crashed))
    shares = bad_shares(parts, faults.n, counts)
    mean = float(sum(part.count * share for part, share in zip(parts, shares, strict=True)))
    if not counts or distribution_work(parts, counts) > _MOST_WORK:
        return Broken(mean=mean, law=None)
    return Broken(mean=mean, law=tuple(distribution(parts, faults.n, counts).tolist()))
