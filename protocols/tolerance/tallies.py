"""Hidden sums under faults of all kinds: what the sides depend on, counted together over clusters, one after the other.

Of every cluster it matters whether a member has crashed (it is left out), whether one is Byzantine, how many are
outside the coalition, and whether it sends a delegate, who colludes or not. Delegates are drawn uniformly among the
complete clusters, and all choices of as many are alike: so who serves is fixed first, and clusters that nobody serves
from are counted without it. Two committees are of clusters apart, as one of twice as many would be, unless too few are
complete: then each of these sends one member, and as many of them as are missing a second one. Additions of
non-negative terms only.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance._counting import raised, shifted
from protocols.tolerance._draws import Plan, committees_of, plans_of
from protocols.tolerance.analysis import Faults
from protocols.tolerance.binomial import Floats, log_multinomial, log_total
from protocols.tolerance.delegates import Delegates
from protocols.tolerance.parts import Groups, Mask, clusters_of

__all__ = ["Tally", "tally"]

Counts = NDArray[np.int64]

_MOST_WORK = 1.5e9  # additions, about two seconds
_SMALLEST = 5000  # additions: what an array costs however small it is
_LIKED = -1
"""The role of a cluster that sends somebody who colludes if it has one; others are how many of its members serve."""
_NOBODY, _MANY, _ALONE, _UNMOVED, _HIDDEN = range(5)
"""Who of those outside the coalition is in the clusters that are kept, where members choose which ones are:

nobody; only members of clusters that may be left out, none of them with one of these, or some with one; besides those,
one alone in a cluster that may not be left out; or two such clusters, or one with several, who hide each other.
"""
_AFTER_LEAVABLE = {False: (_MANY, _MANY, _ALONE, _UNMOVED, _HIDDEN), True: (_ALONE, _ALONE, _ALONE, _UNMOVED, _HIDDEN)}
_AFTER_KEPT = {False: (_HIDDEN,) * 5, True: (_UNMOVED, _UNMOVED, _UNMOVED, _HIDDEN, _HIDDEN)}
"""The same after a cluster that may be left out, or not: by whether it has only one member outside the coalition."""


@dataclass(frozen=True, kw_only=True)
class Tally:
    """chances[l, q, s, k]: l clusters lost, q colluding delegates, situation s, k clusters tainted or lost.

    The last of l and k may stand for more as well, that of q does. exposing[q, s]: whether that shows an input.
    `spare`: how many clusters may be lost; with more nobody serves, and nothing is shown.
    """

    chances: Floats
    exposing: NDArray[np.bool_]
    spare: int

    def probability(self, event: Callable[[Counts, Mask, Counts], Mask]) -> float:
        """Return the probability of event(lost, exposed, failed), which is applied to arrays."""
        lost, q, s, failed = (np.asarray(axis, dtype=np.int64) for axis in np.indices(self.chances.shape))
        happens = event(lost, self.exposing[q, s] & (lost <= self.spare), failed)
        return min(1.0, float(self.chances[happens].sum()))


@dataclass(frozen=True, kw_only=True)
class _Letter:
    """What an occupancy of a cluster does to all counts: the next situation of each, and how it lies by kinds.

    cells: (faulty members by kind, weight, colluding members).
    """

    lost: bool
    failed: bool
    moves: tuple[int, ...]
    cells: tuple[tuple[tuple[int, int, int], float, int], ...]


def tally(faults: Faults, groups: Groups, delegates: Delegates, *, most: int, whoever: bool = False) -> Tally | None:
    """Return all counts, up to more than `most` failed clusters (-1: none are counted); None if it takes too long.

    Faults and delegates are uniform, or `whoever` serves is what the coalition would like (one who colludes in each
    cluster that has one).

    Guarantees:
        Equal to counting all placements and all draws of delegates, one by one.
    """
    counts, spare = (faults.byzantine, faults.crashed, faults.curious), delegates.spare(groups)
    lost, failed = min(spare + 1, faults.crashed) + 1, min(most + 1, faults.byzantine + faults.crashed) + 1
    shape = (lost, delegates.withstood + 2, _situations(delegates), failed, *(count + 1 for count in counts))
    plans = list(_plans(lost, groups, delegates, whoever=whoever))
    if _work(shape, groups, counts, plans, whoever=whoever) > _MOST_WORK:
        return None
    chances = _chances(shape, faults, groups, delegates, plans, idle=_LIKED if whoever else 0)
    return Tally(chances=chances * math.exp(-log_total(faults.n, counts)), exposing=_exposing(delegates), spare=spare)


def _plans(lost: int, groups: Groups, delegates: Delegates, *, whoever: bool) -> Iterator[Plan]:
    """Yield who may serve: of so many clusters that send one member, and so many that send two; or nobody in advance.

    With more lost clusters than may be nobody serves.
    """
    spare = delegates.spare(groups)
    if not whoever:
        for twice, few in committees_of(groups, delegates, lost - 1):
            yield from plans_of(groups, (delegates.serving - 2 * twice, twice), few)
    nobody = range(0 if whoever else spare + 1, lost)
    if nobody:
        yield from plans_of(groups, (0, 0), nobody)


def _work(
    shape: tuple[int, ...], groups: Groups, counts: tuple[int, ...], plans: Sequence[Plan], *, whoever: bool
) -> float:
    """About how many additions that takes: with who serves counted or, at first, without."""
    cells = [math.prod(min(size, count) + 1 for count in counts) for size, _ in groups]
    whole = max(math.prod(shape), _SMALLEST)
    idle = whole if whoever else max(math.prod(shape) // shape[1], _SMALLEST)
    shared = _never_serving(groups, plans)
    work = float(sum(idle * many * each for many, each in zip(shared, cells, strict=True)))
    for plan in plans:
        for (_, many), roles, same, each in zip(groups, plan.by_size, shared, cells, strict=True):
            work += each * (2 * whole * sum(roles) + idle * (many - sum(roles) - same))
    return 3.0 * work


def _never_serving(groups: Groups, plans: Sequence[Plan]) -> list[int]:
    """How many clusters of each size serve in no plan: they are counted once."""
    return [min(each) for each in zip(*(plan.idle(groups) for plan in plans), strict=True)]


def _chances(
    shape: tuple[int, ...],
    faults: Faults,
    groups: Groups,
    delegates: Delegates,
    plans: Sequence[Plan],
    *,
    idle: int,
) -> Floats:
    """Weights by all axes of `shape` but those of the kinds of fault; `idle` is the role of who is in no plan."""
    counts, m = shape[-3:], clusters_of(groups)
    letters = [_letters(size, faults, delegates) for size, _ in groups]
    # As long as nobody serves, no delegate colludes.
    held = np.zeros(shape if idle == _LIKED else (shape[0], 1, *shape[2:]))
    held[(0,) * len(shape)] = 1.0
    shared = _never_serving(groups, plans)

    def grown(before: Floats, role: int, many: Sequence[int]) -> Floats:
        for (size, _), own, times in zip(groups, letters, many, strict=True):
            for _ in range(times):
                before = _with_cluster(before, own, size, role)
        return before

    held, out = grown(held, idle, shared), np.zeros(shape[:-3])
    for plan in plans:
        others = [each - same for each, same in zip(plan.idle(groups), shared, strict=True)]
        mine = grown(held, idle, others)
        if idle != _LIKED:
            mine = np.concatenate([mine, np.zeros((shape[0], shape[1] - 1, *shape[2:]))], axis=1)
        for role in (1, 2):
            mine = grown(mine, role, [roles[role - 1] for roles in plan.by_size])
        own = mine[(..., *(length - 1 for length in counts))]
        for lost in plan.lost:
            out[lost] += plan.chance(m, lost) * own[lost]
    return out


def _situations(delegates: Delegates) -> int:
    return 5 * delegates.count if delegates.chooses else 2


def _exposing(delegates: Delegates) -> NDArray[np.bool_]:
    """Whether enough delegates collude and there is somebody to expose; or members leave one input alone in a mean."""
    exposed = np.zeros((delegates.withstood + 2, _situations(delegates)), dtype=np.bool_)
    if not delegates.chooses:
        exposed[-1, 1] = True
        return exposed
    for s in range(_situations(delegates)):
        full, sort = divmod(s, 5)
        exposed[-1, s] = sort != _NOBODY
        # The one beside clusters that all collude, as many of them as a result needs.
        exposed[:, s] |= sort in {_ALONE, _UNMOVED} and full + 1 >= delegates.count
    return exposed


def _moves(rest: int, byzantine: bool, delegates: Delegates) -> tuple[int, ...]:
    """The situation after a complete cluster with so many members outside the coalition, for each before it."""
    if not delegates.checked:
        return (int(rest == 1), 1)
    if not delegates.chooses:
        return (int(rest > 0), 1)
    most = delegates.count - 1
    found: list[int] = []
    for s in range(_situations(delegates)):
        full, sort = divmod(s, 5)
        if not rest:
            full = min(full + 1, most)
        else:
            sort = (_AFTER_LEAVABLE if byzantine else _AFTER_KEPT)[rest == 1][sort]
        found.append(5 * full + sort)
    return tuple(found)


def _letters(size: int, faults: Faults, delegates: Delegates) -> list[_Letter]:
    counts = (faults.byzantine, faults.crashed, faults.curious)
    occupancies = [cell for cell in product(*(range(min(size, count) + 1) for count in counts)) if sum(cell) <= size]
    axes = [np.array(axis, dtype=np.float64) for axis in zip(*occupancies, strict=True)]
    logs = log_multinomial(axes, np.asarray(float(size)), [count / faults.n for count in counts])
    stay = tuple(range(_situations(delegates)))
    found: dict[tuple[bool, bool, tuple[int, ...]], list[tuple[tuple[int, int, int], float, int]]] = {}
    for (b, k, p), log in zip(occupancies, logs.tolist(), strict=True):
        moves = stay if k else _moves(size - b - p, b > 0, delegates)
        found.setdefault((k > 0, b + k > 0, moves), []).append(((b, k, p), math.exp(log), b + p))
    return [
        _Letter(lost=lost, failed=failed, moves=moves, cells=tuple(cells))
        for (lost, failed, moves), cells in found.items()
    ]


def _with_cluster(held: Floats, letters: Sequence[_Letter], size: int, role: int) -> Floats:
    """Return the weights with one more cluster, which is complete if anyone of it serves."""
    grown = np.zeros_like(held)
    for letter in letters:
        for term, colluding in _terms(held, letter, size, role):
            moved = raised(term, 0) if letter.lost else term
            moved = raised(moved, 3) if letter.failed else moved
            moved = raised(moved, 1) if colluding else moved
            for before, after in enumerate(letter.moves):
                grown[:, :, after] += moved[:, :, before]
    return grown


def _terms(held: Floats, letter: _Letter, size: int, role: int) -> Iterator[tuple[Floats, bool]]:
    """The weights after such a cluster, and whether one who colludes serves: as they are so far."""
    if letter.lost and role > 0:
        return
    if letter.lost or not role:
        yield shifted(held, ((cell, weight) for cell, weight, _ in letter.cells)), False
    elif role == _LIKED:
        yield shifted(held, ((cell, weight) for cell, weight, a in letter.cells if a)), True
        yield shifted(held, ((cell, weight) for cell, weight, a in letter.cells if not a)), False
    else:
        free = [(cell, weight * _free(size, size - a, role)) for cell, weight, a in letter.cells]
        some = [(cell, weight * _some(size, a, role)) for cell, weight, a in letter.cells]
        yield shifted(held, (each for each in free if each[1])), False
        yield shifted(held, (each for each in some if each[1])), True


def _free(size: int, others: int, serving: int) -> float:
    """How likely all members of a cluster that serve, two at most, are of so many."""
    return math.comb(others, serving) / math.comb(size, serving)


def _some(size: int, a: int, serving: int) -> float:
    """How likely one of so many or more is among them: as a positive number, which keeps its digits."""
    return a * (2 * size - a - 1) / (size * (size - 1)) if serving > 1 else serving * a / size
