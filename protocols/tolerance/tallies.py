"""Hidden sums under faults of all kinds: what the sides depend on, counted together over clusters, one after the other.

Of every cluster it matters whether a member has crashed (it is left out), whether one is Byzantine, how many are
outside the coalition, and whether it sends a delegate, who colludes or not. Delegates are drawn uniformly among the
complete clusters, whose number is only known at the end: so choices of delegates are counted, and then divided by how
many there are. Two committees are of clusters apart, as one of twice as many would be, unless too few are complete:
then each of these sends one member, and as many of them as are missing a second one. Additions of non-negative terms
only.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance._counting import raised, shifted
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
    shape = (delegates.withstood + 2, _situations(delegates), failed, *(count + 1 for count in counts))
    drawn = {None: 1} if whoever else _most_drawn(lost, groups, delegates)
    cells = sum(many * math.prod(min(size, count) + 1 for count in counts) for size, many in groups)
    if 3.0 * sum(max(lost * each * math.prod(shape), _SMALLEST) for each in drawn.values()) * cells > _MOST_WORK:
        return None
    own = {sent: _counted((lost, most, *shape), faults, groups, delegates, sent) for sent, most in drawn.items()}
    chances = _served(own, groups, delegates)
    return Tally(chances=chances, exposing=_exposing(delegates), spare=spare)


def _sent_by_all(lost: int, groups: Groups, delegates: Delegates) -> int:
    """How many members each complete cluster sends where so many are lost; some of them send one more."""
    return int(clusters_of(groups) - lost < delegates.serving)


def _most_drawn(lost: int, groups: Groups, delegates: Delegates) -> dict[int | None, int]:
    """How long the axis of clusters that send one more must be, by how many members all of them send."""
    spare = min(lost - 1, delegates.spare(groups))
    sent = sorted({_sent_by_all(few, groups, delegates) for few in (0, spare)})
    return {each: 1 + delegates.serving - each * delegates.count for each in sent}


def _counted(shape: tuple[int, ...], faults: Faults, groups: Groups, delegates: Delegates, sent: int | None) -> Floats:
    """Weights by all axes of `shape` but those of the kinds of fault; `sent` is None where whoever is liked serves."""
    counts = (faults.byzantine, faults.crashed, faults.curious)
    held = np.zeros(shape)
    held[(0,) * len(shape)] = 1.0
    for size, many in groups:
        letters = _letters(size, faults, delegates)
        for _ in range(many):
            held = _with_cluster(held, letters, size, sent)
    return held[(..., *counts)] * math.exp(-log_total(faults.n, counts))


def _served(own: Mapping[int | None, Floats], groups: Groups, delegates: Delegates) -> Floats:
    """Each choice of delegates equally likely, given how many clusters are lost; with too many lost, none is made."""
    first = next(iter(own.values()))
    out, m = np.zeros((first.shape[0], *first.shape[2:])), clusters_of(groups)
    for lost in range(len(out)):
        if None in own or lost > delegates.spare(groups):
            out[lost] = first[lost, 0]
            continue
        sent = _sent_by_all(lost, groups, delegates)
        chosen = delegates.serving - sent * (m - lost)
        out[lost] = own[sent][lost, chosen] / math.comb(m - lost, chosen)
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


def _with_cluster(held: Floats, letters: Sequence[_Letter], size: int, sent: int | None) -> Floats:
    grown = np.zeros_like(held)
    for letter in letters:
        for term, drawn, colluding in _terms(held, letter, size, sent):
            moved = raised(term, 0) if letter.lost else term
            moved = raised(moved, 4) if letter.failed else moved
            moved = raised(moved, 2) if colluding else moved
            source, target = (slice(None, -1), slice(1, None)) if drawn else (slice(None), slice(None))
            for before, after in enumerate(letter.moves):
                grown[:, target, :, after] += moved[:, source, :, before]
    return grown


def _terms(held: Floats, letter: _Letter, size: int, sent: int | None) -> Iterator[tuple[Floats, bool, bool]]:
    """The weights after such a cluster, whether it is drawn, and whether one who colludes serves: as they are so far.

    It sends `sent` members, and one more if it is drawn.
    """
    if letter.lost:
        yield shifted(held, ((cell, weight) for cell, weight, _ in letter.cells)), False, False
    elif sent is None:
        yield shifted(held, ((cell, weight) for cell, weight, a in letter.cells if a)), False, True
        yield shifted(held, ((cell, weight) for cell, weight, a in letter.cells if not a)), False, False
    else:
        for drawn in (False, True):
            free = [(cell, weight * _free(size, size - a, sent + drawn)) for cell, weight, a in letter.cells]
            some = [(cell, weight * _some(size, a, sent + drawn)) for cell, weight, a in letter.cells]
            yield shifted(held, (each for each in free if each[1])), drawn, False
            if any(weight for _, weight in some):
                yield shifted(held, (each for each in some if each[1])), drawn, True


def _free(size: int, others: int, serving: int) -> float:
    """How likely all members of a cluster that serve, two at most, are of so many."""
    return math.comb(others, serving) / math.comb(size, serving)


def _some(size: int, a: int, serving: int) -> float:
    """How likely one of so many or more is among them: as a positive number, which keeps its digits."""
    return a * (2 * size - a - 1) / (size * (size - 1)) if serving > 1 else serving * a / size
