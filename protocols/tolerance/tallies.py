"""Hidden sums under faults of all kinds: what the sides depend on, counted together over clusters, one after the other.

Of every cluster it matters whether a member has crashed (it is left out), whether one is Byzantine, how many are
outside the coalition, and whether it sends a delegate, who colludes or not. Delegates are drawn uniformly among the
complete clusters, whose number is only known at the end: so choices of delegates are counted, and then divided by how
many there are. Additions of non-negative terms only.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance.analysis import Faults
from protocols.tolerance.binomial import Floats, log_multinomial, log_total
from protocols.tolerance.delegates import Delegates
from protocols.tolerance.parts import Groups, Mask, clusters_of

__all__ = ["Tally", "tally"]

Counts = NDArray[np.int64]

_MOST_WORK = 1.5e9  # additions, about two seconds
_SMALLEST = 5000  # additions: what an array costs however small it is
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
    seats = (1 if whoever else delegates.count + 1, delegates.withstood + 2)
    shape = (lost, *seats, _situations(delegates), failed, *(count + 1 for count in counts))
    cells = sum(many * math.prod(min(size, count) + 1 for count in counts) for size, many in groups)
    if 3.0 * max(math.prod(shape), _SMALLEST) * cells > _MOST_WORK:
        return None
    held = np.zeros(shape)
    held[(0,) * len(shape)] = 1.0
    for size, many in groups:
        letters = _letters(size, faults, delegates)
        for _ in range(many):
            held = _with_cluster(held, letters, size, whoever=whoever)
    own = held[(..., *counts)] * math.exp(-log_total(faults.n, counts))
    chances = _served(own, clusters_of(groups), delegates, spare)
    return Tally(chances=chances, exposing=_exposing(delegates), spare=spare)


def _served(own: Floats, m: int, delegates: Delegates, spare: int) -> Floats:
    """Each choice of delegates equally likely, given how many clusters are lost; with too many lost, none is made."""
    out = np.zeros((own.shape[0], *own.shape[2:]))
    for lost in range(own.shape[0]):
        drawn = own.shape[1] > 1 and lost <= spare
        out[lost] = own[lost, -1] / math.comb(m - lost, delegates.count) if drawn else own[lost, 0]
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


def _with_cluster(held: Floats, letters: Sequence[_Letter], size: int, *, whoever: bool) -> Floats:
    grown = np.zeros_like(held)
    for letter in letters:
        for term, drawn, colluding in _terms(held, letter, size, whoever=whoever):
            moved = _raised(term, 0) if letter.lost else term
            moved = _raised(moved, 4) if letter.failed else moved
            moved = _raised(moved, 2) if colluding else moved
            source, target = (slice(None, -1), slice(1, None)) if drawn else (slice(None), slice(None))
            for before, after in enumerate(letter.moves):
                grown[:, target, :, after] += moved[:, source, :, before]
    return grown


def _terms(held: Floats, letter: _Letter, size: int, *, whoever: bool) -> Iterator[tuple[Floats, bool, bool]]:
    """The weights after such a cluster, and whether it sends a delegate, who colludes: as they are so far."""
    if letter.lost:
        yield _shifted(held, ((cell, weight) for cell, weight, _ in letter.cells)), False, False
    elif whoever:
        yield _shifted(held, ((cell, weight) for cell, weight, a in letter.cells if a)), False, True
        yield _shifted(held, ((cell, weight) for cell, weight, a in letter.cells if not a)), False, False
    else:
        yield _shifted(held, ((cell, weight) for cell, weight, _ in letter.cells)), False, False
        yield _shifted(held, ((cell, weight * a / size) for cell, weight, a in letter.cells if a)), True, True
        honest = ((cell, weight * (size - a) / size) for cell, weight, a in letter.cells if a < size)
        yield _shifted(held, honest), True, False


def _shifted(held: Floats, cells: Iterator[tuple[tuple[int, int, int], float]]) -> Floats:
    out = np.zeros_like(held)
    for cell, weight in cells:
        into = tuple(slice(x, None) for x in cell)
        room = tuple(slice(0, length - x) for x, length in zip(cell, held.shape[-3:], strict=True))
        out[(..., *into)] += weight * held[(..., *room)]
    return out


def _raised(held: Floats, axis: int) -> Floats:
    """Return the counts with one more on this axis; the last one stays the last."""
    moved = np.moveaxis(held, axis, 0)
    out = np.zeros_like(moved)
    out[1:] = moved[:-1]
    out[-1] += moved[-1]
    return np.moveaxis(out, 0, axis)
