"""Two committees of delegates that compare what they open: how likely a wrong result is taken over.

It takes a lying delegate in each, whatever else they are told, or more tainted or lost clusters than the rule
withstands, or too few complete ones to serve: these are counted together, over clusters, one after the other. Nobody
serves twice. Where enough clusters are complete, each sends one member to one committee at most; else all of them send
one, and some of them one to each. All choices of so many complete clusters are alike: so who serves is fixed first, and
these are complete. Additions of non-negative terms only.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import product

import numpy as np

from protocols.tolerance._counting import raised, shifted
from protocols.tolerance._draws import Plan, committees_of, plans_of
from protocols.tolerance.analysis import Faults, correct_failure
from protocols.tolerance.binomial import Floats, log_hypergeometric, log_multinomial, log_total
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.delegates import Delegates
from protocols.tolerance.parts import Groups, clusters_of
from protocols.tolerance.solve import Probability, bounds_on

__all__ = ["lying_in_each", "wrong_result", "wrong_result_bounds"]

_LIES = "lying delegates and tainted clusters are counted apart"
_MOST_WORK = 1.5e9  # additions, about two seconds
_SMALLEST = 5000  # additions: what an array costs however small it is
_Role = tuple[int, int]
"""How many members a cluster sends to the first committee, and to the second: 0 or 1."""
_IDLE, _FIRST, _SECOND, _BOTH = _ROLES = (0, 0), (1, 0), (0, 1), (1, 1)
_Cells = Sequence[tuple[tuple[int, int], float]]
"""Occupancies of a cluster, as (Byzantine, crashed) members, and how likely they are."""
_LIED, _FAILED = (1, 2), 3
"""Axes of the weights (lost, lied in the first, in the second, failed), after which come those of the kinds of fault.
"""


def lying_in_each(faults: Faults, delegates: Delegates) -> float:
    """Return how likely both committees have a Byzantine delegate, given that enough clusters are complete.

    Whichever processes serve, those who lie are uniform among all that have not crashed, and among those who serve.
    """
    present, b, g = faults.n - faults.crashed, faults.byzantine, delegates.count
    if present < 2 * g:
        return 0.0
    lying = np.arange(2, min(2 * g, b) + 1, dtype=np.float64)
    if not len(lying):
        return 0.0
    # Of x who lie, all may serve in one committee: 1 - 2 C(g, x) / C(2g, x) of the draws have one in each.
    split = [1 - 2 * math.comb(g, int(x)) / math.comb(2 * g, int(x)) for x in lying]
    return math.fsum(np.exp(log_hypergeometric([lying], present, (b,), 2 * g)) * split)


def wrong_result(
    faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int
) -> Probability:
    """Return how likely faults and a draw of two committees let a wrong result be taken over, or leave too few to draw.

    Guarantees:
        Equal to counting all placements and all draws of both committees, one by one, or bounds around it.
    """
    apart, few = (
        wrong_result_bounds(faults, groups, conditions, delegates, tolerate),
        _few(faults, groups, conditions, delegates),
    )
    counted = None
    if apart.engine == "bounds" and few.engine != "bounds":
        counted = _counted(faults, groups, delegates, tolerate)
    return apart if counted is None else Probability.exact(min(1.0, few.value + counted), "recursion")


def wrong_result_bounds(
    faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates, tolerate: int
) -> Probability:
    """Return the same from who lies and who is tainted or lost, each for itself, which is cheap."""
    tainted = correct_failure(faults, groups, conditions, tolerate)
    few, both = _few(faults, groups, conditions, delegates), lying_in_each(faults, delegates)
    if not both and not few.upper:
        return tainted
    least = both if faults.crashed <= delegates.spare(groups) else 0.0
    return bounds_on(max(tainted.lower, few.lower, least), tainted.upper + few.upper + both, because=_LIES)


def _few(faults: Faults, groups: Groups, conditions: Conditions, delegates: Delegates) -> Probability:
    """How likely crashes leave too few clusters to serve."""
    spare = delegates.spare(groups)
    if faults.crashed <= spare:
        return Probability.exact(0.0, "certain")
    return correct_failure(replace(faults, byzantine=0, curious=0), groups, conditions, spare)


def _counted(faults: Faults, groups: Groups, delegates: Delegates, tolerate: int) -> float | None:
    """Enough clusters are complete, and lies or too many failed clusters make it wrong; None if it takes too long."""
    plans, counts = list(_plans(faults, groups, delegates)), (faults.byzantine, faults.crashed)
    lost, failed = min(delegates.spare(groups), faults.crashed) + 1, min(tolerate + 1, sum(counts)) + 1
    shape = (lost, 2, 2, failed, *(count + 1 for count in counts))
    steps = sum(many * math.prod(min(size, count) + 1 for count in counts) for size, many in groups)
    if 3.0 * len(plans) * max(math.prod(shape), _SMALLEST) * steps > _MOST_WORK:
        return None
    cells = [_cells(size, faults) for size, _ in groups]
    whole, m = 0.0, clusters_of(groups)
    for plan in plans:
        held = np.zeros(shape)
        held[(0,) * len(shape)] = 1.0
        for (size, _), each, idle, roles in zip(groups, cells, plan.idle(groups), plan.by_size, strict=True):
            for role, many in zip(_ROLES, (idle, *roles), strict=True):
                for _ in range(many):
                    held = _with_cluster(held, each, size, role)
        wrong = _wrong(held[(..., *counts)], tolerate)
        whole += math.fsum(plan.chance(m, few) * float(wrong[few].sum()) for few in plan.lost)
    return math.exp(-log_total(faults.n, counts)) * whole


def _wrong(own: Floats, tolerate: int) -> Floats:
    """The weights (lost, lied in the first, in the second, failed) of what is wrong."""
    wrong = own.copy()
    for lied in ((0, 0), (0, 1), (1, 0)):
        wrong[(slice(None), *lied, slice(None, tolerate + 1))] = 0.0
    return wrong


def _plans(faults: Faults, groups: Groups, delegates: Delegates) -> Iterator[Plan]:
    """Yield what clusters may be for; the two committees are alike, so one of each two plans stands for both."""
    for both, lost in committees_of(groups, delegates, faults.crashed):
        alone = delegates.count - both
        for plan in plans_of(groups, (alone, alone, both), lost):
            first, second, _ = plan.by_size[0]
            if first <= second:
                yield replace(plan, draws=plan.draws * (1 + (first < second)))


def _cells(size: int, faults: Faults) -> _Cells:
    counts = (faults.byzantine, faults.crashed)
    most_lying, most_crashed = (min(size, count) for count in counts)
    found = [(b, k) for b in range(most_lying + 1) for k in range(min(most_crashed, size - b) + 1)]
    axes = [np.array(axis, dtype=np.float64) for axis in zip(*found, strict=True)]
    logs = log_multinomial(axes, np.asarray(float(size)), [count / faults.n for count in counts])
    return list(zip(found, np.exp(logs).tolist(), strict=True))


def _with_cluster(held: Floats, cells: _Cells, size: int, role: _Role) -> Floats:
    """Return the weights with one more cluster, which is complete if anyone of it serves."""
    grown = shifted(held, [cell for cell in cells if cell[0] == (0, 0)])
    for lied, chance in _OUTCOMES[role]:
        lying = [((b, k), weight * chance(b, size)) for (b, k), weight in cells if b and not k]
        term = raised(shifted(held, [cell for cell in lying if cell[1]]), _FAILED)
        for axis in (axis for axis, lies in zip(_LIED, lied, strict=True) if lies):
            term = raised(term, axis)
        grown += term
    crashed = [cell for cell in cells if cell[0][1]]
    if crashed and role == _IDLE:
        grown[1:] += raised(shifted(held, crashed), _FAILED)[:-1]
    return grown


def _one_honest(b: int, size: int) -> float:
    return (size - b) / size


def _one_lying(b: int, size: int) -> float:
    return b / size


def _two(first: bool, second: bool) -> Callable[[int, int], float]:
    """How likely the first that serves lies or not, and the second."""

    def chance(b: int, size: int) -> float:
        left = b - first if second else size - b - (not first)
        return (b if first else size - b) * left / (size * (size - 1))

    return chance


_OUTCOMES: dict[_Role, Sequence[tuple[tuple[bool, bool], Callable[[int, int], float]]]] = {
    _IDLE: (((False, False), lambda b, size: 1.0),),  # noqa: ARG005
    _FIRST: (((False, False), _one_honest), ((True, False), _one_lying)),
    _SECOND: (((False, False), _one_honest), ((False, True), _one_lying)),
    _BOTH: tuple(((first, second), _two(first, second)) for first, second in product((False, True), repeat=2)),
}
"""What a cluster with a liar does in a role: in which committees it has one who lies, and how likely."""
