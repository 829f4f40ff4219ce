"""What the page's figures show: failure by size, policy, share of faults and levels, computed but not drawn."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.tolerance.curves import SHARES, Curve, Heat, curve_of, sizes_of
from bench.tolerance.designs import Designs, designs
from bench.tolerance.hidden_survey import committee_curves, delegate_curves, hidden_curves, hidden_heat
from bench.tolerance.question import Question
from protocols.check import CloisterError
from protocols.tolerance.analysis import Faults, correct_failure, failure, private_failure
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.hierarchy import hierarchy_fails, hierarchy_tolerates, tree_of
from protocols.tolerance.laws import Event, Law
from protocols.tolerance.parts import Groups, Mask, clusters_of, size_groups
from protocols.tolerance.placements import Chosen, Setting
from protocols.tolerance.policies import POLICIES
from protocols.tolerance.screen import screen
from protocols.tolerance.sides import at_will, side_events

__all__ = ["Survey", "domains_shown", "survey"]

_PANELS = ("uniform", "by_domain", "heterogeneous")
_POLICIES = ("random", "stratified", "segregated", "locality", "similarity")
_LEVELS: tuple[tuple[str, tuple[int, ...]], ...] = (("flat", ()), ("groups of 3", (3,)), ("groups of 3, of 3", (3, 3)))
_MOST_CLUSTERS = 600  # with laws that look at each of them
_MOST_EXACT = 20_000  # beyond, the curves and the map show bounds
_MOST_UNLIKE = 3000  # processes with probabilities of their own: seconds, not minutes


@dataclass(frozen=True, kw_only=True)
class Survey:
    """All that the page shows beside the answers; what means nothing to the protocol is empty.

    Sums that stay hidden know uniform placements and no levels; only they have `delegates` and `committees` of them.
    """

    question: Question
    target: float
    by_policy: tuple[Curve, ...]
    sides: tuple[Curve, ...]
    heat: Heat
    levels: tuple[Curve, ...]
    delegates: tuple[Curve, ...]
    committees: tuple[Curve, ...]
    designs: Designs
    groups: Groups


def survey(question: Question, groups: Groups) -> Survey:
    """Return what the figures show around one question; `groups` are the clusters that it was answered for."""
    found = designs(question, groups)
    hidden = question.delegates is not None
    return Survey(
        question=question,
        target=found.target,
        by_policy=() if hidden else tuple(_by_policy(question)),
        sides=tuple(hidden_curves(question) if hidden else _sides(question)),
        heat=hidden_heat(question) if hidden else _heat(question),
        levels=() if hidden else tuple(_levels(question)),
        delegates=tuple(delegate_curves(question)) if hidden else (),
        committees=tuple(committee_curves(question)) if hidden else (),
        designs=found,
        groups=groups,
    )


def _events(question: Question, groups: Groups, conditions: Conditions) -> dict[str, Event]:
    none = np.array(0)

    def exposed(c: int) -> Mask:
        return conditions.exposed(c, np.arange(c + 1), none)

    def failed(c: int) -> Mask:
        return conditions.failed(c, np.arange(c + 1), none)

    return {"private": Event(bad=exposed, most=0), "correct": Event(bad=failed, most=question.tolerate(groups))}


def _by_policy(question: Question) -> list[Curve]:
    faults = question.faults
    sizes = [size for size in sizes_of(faults.n, 11) if faults.n // size <= _MOST_CLUSTERS]
    curves: list[Curve] = []
    for panel in _PANELS:
        if panel == "heterogeneous" and faults.n > _MOST_UNLIKE:
            continue
        for side in ("private", "correct"):
            known: dict[object, Curve] = {}
            for policy in _POLICIES:
                law = POLICIES[policy].laws[panel]
                if law not in known:  # several policies have one law
                    known[law] = curve_of(panel, side, policy, sizes, _failing(question, law, side))
                curves.append(replace(known[law], name=policy))
    return curves


def _failing(question: Question, law: Callable[[Setting], Law], side: str) -> Callable[[int], float]:
    faults = question.faults

    def at(size: int) -> float:
        groups = size_groups(faults.n, size)
        asked = Setting(n=faults.n, faulty=faults.total, groups=groups, domains=domains_shown(question))
        if question.mixed:
            return _mixed(question, law(asked), groups, side)
        return law(asked).probability(_events(question, groups, question.conditions)[side]).upper

    return at


def _mixed(question: Question, law: Law, groups: Groups, side: str) -> float:
    tolerate, faults, conditions = question.tolerate(groups), question.faults, question.conditions
    if isinstance(law, Chosen):
        found = at_will(law.totals, faults, groups, conditions, tolerate)
        return (found.private if side == "private" else found.correct).upper
    if side == "correct" and tolerate < 0:
        return 1.0
    private, correct, *_ = side_events(faults, conditions, max(tolerate, 0))
    return law.marked(private if side == "private" else correct).upper


def domains_shown(question: Question) -> int:
    """Return as many failure domains as asked about, or more where not even one of them would fail."""
    n, f = question.faults.n, question.faults.total
    few = round(f / n * question.domains) < 1
    return min(n, -(-2 * n // f)) if few and f else question.domains


def _sides(question: Question) -> list[Curve]:
    faults, conditions = question.faults, question.conditions
    sizes = sizes_of(faults.n, 40)
    if faults.n > _MOST_EXACT:
        found = screen(faults, conditions, question.breakdown, sizes)
        sides = {"private": found.private, "correct": found.correct}
        return [
            Curve(panel="", side=side, name=side, sizes=found.sizes, values=tuple(ranges.upper.tolist()))
            for side, ranges in sides.items()
        ]

    def private(size: int) -> float:
        return private_failure(faults, size_groups(faults.n, size), conditions).upper

    def correct(size: int) -> float:
        groups = size_groups(faults.n, size)
        return correct_failure(faults, groups, conditions, question.tolerate(groups)).upper

    return [curve_of("", "private", "private", sizes, private), curve_of("", "correct", "correct", sizes, correct)]


def _heat(question: Question) -> Heat:
    n = question.faults.n
    sizes = sizes_of(n, 18)
    fails = _bounded if n > _MOST_EXACT else _exact
    rows = [fails(question, Faults(n=n, byzantine=int(share * n)), sizes) for share in SHARES]
    return Heat(shares=SHARES, sizes=tuple(sizes), fail=np.array(rows))


def _exact(question: Question, faults: Faults, sizes: Sequence[int]) -> list[float]:
    found: list[float] = []
    for size in sizes:
        groups = size_groups(faults.n, size)
        try:
            found.append(failure(faults, groups, question.conditions, question.tolerate(groups)).upper)
        except CloisterError:
            found.append(math.nan)  # a threshold that clusters of this size cannot have
    return found


def _bounded(question: Question, faults: Faults, sizes: Sequence[int]) -> list[float]:
    found = screen(faults, question.conditions, question.breakdown, sizes)
    upper = np.minimum(1.0, found.private.upper + found.correct.upper).tolist()
    known = dict(zip(found.sizes, upper, strict=True))
    return [known.get(size, math.nan) for size in sizes]


def _levels(question: Question) -> list[Curve]:
    """For each number of levels: P(more broken than withstood), and the share that every placement tolerates."""
    faults = question.faults
    sizes = [size for size in sizes_of(faults.n, 16) if faults.n // size <= _MOST_CLUSTERS]
    curves: list[Curve] = []
    for name, levels in _LEVELS:
        own = replace(question, levels=levels or (1,))

        def fails(size: int, *, levels: tuple[int, ...] = levels, own: Question = own) -> float:
            event = _events(own, size_groups(faults.n, size), own.conditions)["correct"]
            tree = tree_of(faults.n, size, levels)
            return hierarchy_fails(tree, faulty=(faults.byzantine,), bad=event.bad, breakdown=own.breakdown).upper

        def worst(size: int, *, levels: tuple[int, ...] = levels, own: Question = own) -> float:
            event = _events(own, size_groups(faults.n, size), own.conditions)["correct"]

            def least(c: int) -> int:
                bad = np.flatnonzero(event.bad(c))
                return int(bad[0]) if len(bad) else 2**40

            tree = tree_of(faults.n, size, levels)
            return max(0, hierarchy_tolerates(tree, least=least, breakdown=own.breakdown)) / faults.n

        enough = [size for size in sizes if clusters_of(size_groups(faults.n, size)) >= 3 ** (len(levels) + 1)]
        curves += [curve_of("random", "correct", name, enough, fails), curve_of("worst", "share", name, enough, worst)]
    return curves
