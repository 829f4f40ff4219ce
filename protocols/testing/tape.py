"""Exact secrecy: all secret randomness of a secure sum enumerated in tiny rings, all coalitions, all inputs.

A coalition's view in a cluster is what its members and the board received (the board is public and colludes), its
own digits and its own inputs. A coalition learns more than the sum exactly if two inputs that agree on the
coalition and on the sum give its view different distributions over the digits that it does not know. All
distributions are compared exactly, so there is no false alarm.

Digits that the coalition knows, and those that touch no word which depends on the inputs, are held at random
values: equality is shown for `values` values of these.

Source: Goldreich 2004, Foundations of Cryptography II, Definition 7.2.1 (privacy by equal views).
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product
from typing import cast

import numpy as np
from numpy.typing import NDArray

from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing._taped import Script, Views, play, record
from protocols.testing.influence import Influence, Words, influence_of, random_inputs, reduced_words, wrapped

__all__ = [
    "Enumeration",
    "coalitions_of",
    "enumerate_views",
    "exact_marginals",
    "exact_secrecy",
]

_MOST_ROWS = 100_000


@dataclass(frozen=True, kw_only=True)
class Enumeration:
    """What an enumeration found: the coalitions that learn more than the sum; those left undecided.

    `cases` are the clusters that were run; `left_out` counts messages that were taken as ideal.
    """

    leaking: tuple[tuple[int, ...], ...]
    skipped: tuple[tuple[int, ...], ...]
    cases: int
    left_out: int


@dataclass(frozen=True, kw_only=True)
class _Segment:
    """One coalition, one coordinate, one value of the digits that are held: inputs times tapes."""

    coalition: tuple[int, ...]
    inputs: Words
    groups: NDArray[np.int64]
    held: Words
    free: NDArray[np.int64]
    tapes: int

    @property
    def rows(self) -> int:
        return len(self.inputs) * self.tapes


def coalitions_of(parties: int) -> list[tuple[int, ...]]:
    """Return every coalition from whom something is hidden, smallest first: up to two parties are outside."""
    return list(chain.from_iterable(combinations(range(parties), size) for size in range(max(parties - 1, 1))))


def exact_secrecy(
    spec: Spec, parties: int, *, coordinates: int = 1, rows: int = 2**21, values: int = 1
) -> list[tuple[int, ...]]:
    """Return every coalition (with the board) that learns more than the sum and its own inputs, smallest first.

    Raises: AssertionError where a coalition has too many views for `rows` clusters.
    """
    found = enumerate_views(spec, parties, coordinates=coordinates, rows=rows, values=values)
    assert not found.skipped, f"the views of {found.skipped} are too many to enumerate; allowed: {rows} clusters in all"
    return list(found.leaking)


def enumerate_views(
    spec: Spec, parties: int, *, coordinates: int = 1, rows: int = 2**21, values: int = 1
) -> Enumeration:
    """Enumerate every coalition's views at every coordinate as far as `rows` clusters allow.

    All inputs of the others are tried where that makes at most 10^5 clusters; else one input and its changes by +1
    and -1 at two places, from which all others with that sum follow step by step.
    """
    script = record(spec, parties, coordinates=coordinates)
    influence = influence_of(script)
    left = rows
    segments: list[_Segment] = []
    skipped: list[tuple[int, ...]] = []
    for coalition in coalitions_of(parties):
        wanted: list[_Segment] = []
        for k in range(coordinates):
            free = _touching(script, influence, coalition, k)
            wanted += [_segment(script, coalition, k, free, value) for value in range(values)]
        needed = sum(segment.rows for segment in wanted)
        if needed > left or any(segment.rows > _MOST_ROWS for segment in wanted):
            skipped.append(coalition)
            continue
        left -= needed
        segments += wanted
    leaking: set[tuple[int, ...]] = set()
    left_out = 0
    for batch in _batches(segments):
        views = _play_all(script, batch)
        left_out = views.left_out
        first = 0
        for segment in batch:
            here = slice(first, first + segment.rows)
            first += segment.rows
            if segment.coalition not in leaking and _differs(script, views, here, segment):
                leaking.add(segment.coalition)
    return Enumeration(
        leaking=tuple(sorted(leaking, key=lambda each: (len(each), each))),
        skipped=_undecided(parties, skipped, leaking),
        cases=rows - left,
        left_out=left_out,
    )


def _undecided(
    parties: int, skipped: Sequence[tuple[int, ...]], leaking: set[tuple[int, ...]]
) -> tuple[tuple[int, ...], ...]:
    """Return the skipped coalitions of which nothing follows from larger ones.

    What a coalition learns about two others it learns as well together with everybody else; so it learns nothing
    if for any two others some larger coalition without them learns nothing.
    """
    learns_nothing = set(coalitions_of(parties)) - leaking - set(skipped)
    left: list[tuple[int, ...]] = []
    for coalition in sorted(skipped, key=len, reverse=True):
        others = [rank for rank in range(parties) if rank not in coalition]
        if all(
            any(set(coalition) <= set(larger) and not {i, j} & set(larger) for larger in learns_nothing)
            for i, j in combinations(others, 2)
        ):
            learns_nothing.add(coalition)
        else:
            left.append(coalition)
    return tuple(sorted(left, key=lambda each: (len(each), each)))


def exact_marginals(spec: Spec, parties: int, *, coordinates: int = 2, rows: int = 2**16) -> tuple[list[str], int]:
    """Return which received words are neither uniform nor fixed for their receiver, and how many words were tried.

    A word's distribution is over all digits that touch it and that its receiver does not know. Words with more
    than `rows` such digits' values are not tried.
    """
    script = record(spec, parties, coordinates=coordinates)
    influence = influence_of(script)
    modulus = secure_sums.make(spec).ring.modulus
    tried: list[tuple[int, NDArray[np.int64], int]] = []
    left = _MOST_ROWS
    for column, receiver in enumerate(influence.views.receivers):
        free = np.flatnonzero(influence.touches[:, column] & ~script.known([receiver]))
        tapes = math.prod(int(script.moduli[i]) for i in free)
        if tapes <= min(rows, left) and all(int(script.moduli[i]) == modulus for i in free):
            tried.append((column, free, tapes))
            left -= tapes
    if not tried:
        return [], 0
    held = [script.random_tapes(1, 100 + column) for column, _, _ in tried]
    inputs = [random_inputs(spec, script, 1, 100 + column) for column, _, _ in tried]
    digits = [_fill(script, tape, free, np.arange(n)) for tape, (_, free, n) in zip(held, tried, strict=True)]
    words = [np.repeat(each, n, axis=0) for each, (_, _, n) in zip(inputs, tried, strict=True)]
    views = play(script, np.concatenate(words), np.concatenate(digits))
    wrong: list[str] = []
    first = 0
    for column, _, tapes in tried:
        seen = reduced_words(spec, views.words[first : first + tapes, column])
        first += tapes
        counts = np.unique(seen, return_counts=True)[1]
        if len(counts) != 1 and (len(counts) != modulus or len(set(counts.tolist())) != 1):
            wrong.append(
                f"a word from party {views.senders[column]} to {views.receivers[column]} takes {len(counts)} of "
                f"{modulus} values, unevenly"
            )
    return wrong, len(tried)


def _touching(script: Script, influence: Influence, coalition: tuple[int, ...], coordinate: int) -> NDArray[np.int64]:
    """Return the digits unknown to a coalition behind the words that it sees and that depend on this coordinate.

    A digit behind any word that shows one of these digits belongs to them.
    """
    touches = influence.touches & ~script.known(coalition)[:, None] & influence.views.seen_by(coalition)
    columns = influence.depends[coordinate] & influence.views.seen_by(coalition)
    free = touches[:, columns].any(axis=1)
    while True:
        more = touches[:, touches[free].any(axis=0)].any(axis=1) | free
        if bool((more == free).all()):
            return np.flatnonzero(free)
        free = more


def _segment(
    script: Script, coalition: tuple[int, ...], coordinate: int, free: NDArray[np.int64], value: int
) -> _Segment:
    seed = int.from_bytes(bytes([len(coalition), coordinate, value, *coalition]), "big") % 2**31
    base = random_inputs(script.spec, script, 1, seed)[0]
    others = [j for j in range(script.parties) if j not in coalition]
    modulus = secure_sums.make(script.spec).ring.modulus
    tapes = math.prod(int(script.moduli[i]) for i in free)
    if modulus ** len(others) * tapes <= _MOST_ROWS:
        changes = np.array(list(product(range(modulus), repeat=len(others))), dtype=np.int64)
    else:
        steps = np.eye(len(others), dtype=np.int64)
        changes = np.concatenate([steps[:1] * 0, steps[:1] - steps[1:]])
    inputs = np.repeat(base[None], len(changes), axis=0)
    inputs[:, others, coordinate] += changes
    return _Segment(
        coalition=coalition,
        inputs=wrapped(script.spec, inputs),
        groups=changes.sum(axis=1) % modulus,
        held=script.random_tapes(1, seed),
        free=free,
        tapes=tapes,
    )


def _batches(segments: Sequence[_Segment]) -> Iterator[list[_Segment]]:
    batch: list[_Segment] = []
    for segment in segments:
        if batch and sum(each.rows for each in batch) + segment.rows > _MOST_ROWS:
            yield batch
            batch = []
        batch.append(segment)
    if batch:
        yield batch


def _play_all(script: Script, batch: Sequence[_Segment]) -> Views:
    inputs = np.concatenate([np.repeat(each.inputs, each.tapes, axis=0) for each in batch])
    digits = np.concatenate(
        [np.tile(_fill(script, each.held, each.free, np.arange(each.tapes)), (len(each.inputs), 1)) for each in batch]
    )
    return play(script, inputs, digits)


def _fill(script: Script, held: Words, free: NDArray[np.int64], numbers: NDArray[np.int64]) -> Words:
    """Return tapes (numbers, digits): the held row, with the free digits those of each number."""
    digits = np.repeat(held, len(numbers), axis=0)
    rest = numbers.copy()
    for i in free:
        rest, digits[:, i] = np.divmod(rest, int(script.moduli[i]))
    return digits


def _differs(script: Script, views: Views, here: slice, segment: _Segment) -> bool:
    """Return whether inputs of one group give the coalition's view different distributions."""
    seen = reduced_words(script.spec, views.words[here][:, views.seen_by(segment.coalition)])
    codes = np.sort(_codes(seen).reshape(len(segment.inputs), segment.tapes), axis=1)
    for group in np.unique(segment.groups):
        rows = codes[segment.groups == group]
        if bool((rows != rows[0]).any()):
            return True
    return False


def _codes(rows: Words) -> NDArray[np.int64]:
    """Return one number a row, equal exactly for equal rows."""
    codes = np.zeros(len(rows), dtype=np.int64)
    count = 1
    for column in rows.T:
        kinds, numbers = np.unique(column, return_inverse=True)
        if len(kinds) == 1:
            continue
        if count * len(kinds) >= 2**62:
            kept, codes = cast(tuple[Words, NDArray[np.int64]], np.unique(codes, return_inverse=True))
            count = len(kept)
        codes = codes * len(kinds) + numbers
        count *= len(kinds)
    return codes
