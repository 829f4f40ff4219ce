"""Row spans of sums over processes, kept reduced row by row: over the rationals, or modulo a prime for many.

What a span tells at worst is its least support, which is searched for in floating point: covers are drawn until one
passes, so that it is asked for often.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.check import CloisterError
from protocols.randomness import public_stream

__all__ = ["ModularSpan", "RationalSpan", "Span", "least_support"]

Integers = NDArray[np.int64]
Support = NDArray[np.bool_]
_PRIMES = 50_697_537  # of 31 bits: pi(2^31) - pi(2^30)
_MOST_SETS = 2_000_000
_MOST_PROCESSES = 5000
_CHUNK = 100_000
# Columns of an orthonormal basis count as dependent below this; for 0/1 matrices of a few hundred columns the least
# eigenvalue of independent ones is orders of magnitude above it, and a cover that comes near is refused, not used.
_ZERO = 1e-9


class Span(Protocol):
    """The span of 0/1 rows over n columns, in reduced echelon form: every pivot is alone in its column."""

    @property
    def rank(self) -> int:
        """The dimension."""
        ...

    @property
    def error(self) -> float:
        """A bound on the probability that the rank is too small, over the choice of the prime (0: exact)."""
        ...

    def add(self, row: Sequence[int]) -> bool:
        """Add the row that is 1 at these columns; return whether the rank grew."""
        ...

    def support(self) -> tuple[list[int], Support]:
        """Return the pivots and, row by row in their order, where the reduced rows are not zero, (rank, n)."""
        ...

    def dependent(self, pivots: Sequence[int], columns: Sequence[int]) -> bool:
        """Return whether some combination of these pivots' rows, not all with weight 0, vanishes on the columns."""
        ...


class RationalSpan:
    """Exact: rows of integers without a common factor, so that no fraction is ever formed.

    Guarantees:
        Rank, support and dependence are those over the rationals.
    """

    def __init__(self, n: int) -> None:
        self._n = n
        self._rows: dict[int, list[int]] = {}

    @property
    def rank(self) -> int:
        """See Span."""
        return len(self._rows)

    @property
    def error(self) -> float:
        """See Span."""
        return 0.0

    def add(self, row: Sequence[int]) -> bool:
        """See Span."""
        new = [0] * self._n
        for column in row:
            new[column] = 1
        for pivot, known in self._rows.items():
            if new[pivot]:
                new = _combined(new, known, pivot)
        pivot = next((column for column, value in enumerate(new) if value), None)
        if pivot is None:
            return False
        for place, known in self._rows.items():
            if known[pivot]:
                self._rows[place] = _combined(known, new, pivot)
        self._rows[pivot] = new
        return True

    def support(self) -> tuple[list[int], Support]:
        """See Span."""
        held = np.array([[value != 0 for value in row] for row in self._rows.values()], dtype=np.bool_)
        return list(self._rows), held.reshape(-1, self._n)

    def dependent(self, pivots: Sequence[int], columns: Sequence[int]) -> bool:
        """See Span."""
        rows: list[list[Fraction]] = []
        for pivot in pivots:
            row = self._rows[pivot]
            rows.append([Fraction(row[column]) for column in columns])
        return _rank(rows) < len(rows)


def _combined(row: list[int], other: list[int], pivot: int) -> list[int]:
    """A multiple of `row` less one of `other`, 0 at the pivot, without a common factor."""
    a, b = other[pivot], row[pivot]
    mixed = [a * x - b * y for x, y in zip(row, other, strict=True)]
    common = math.gcd(*mixed)
    return [value // common for value in mixed] if common > 1 else mixed


def _rank(rows: list[list[Fraction]]) -> int:
    rank = 0
    for column in range(len(rows[0]) if rows else 0):
        found = next((i for i in range(rank, len(rows)) if rows[i][column]), None)
        if found is None:
            continue
        rows[rank], rows[found] = rows[found], rows[rank]
        for i in range(rank + 1, len(rows)):
            if rows[i][column]:
                factor = rows[i][column] / rows[rank][column]
                rows[i] = [x - factor * y for x, y in zip(rows[i], rows[rank], strict=True)]
        rank += 1
    return rank


class ModularSpan:
    """For many processes: modulo a prime of 31 bits drawn from the seed, with a bound on the error.

    Guarantees:
        The rank is never above the one over the rationals, and below it with probability at most `error`.
    Source: a minor of 0/1 rows is at most n^(n/2) (Hadamard 1893), so few primes divide it.
    """

    def __init__(self, n: int, *, seed: int = 0) -> None:
        self._n = n
        self._prime = _drawn_prime(seed)
        self._rows: Integers = np.zeros((n, n), dtype=np.int64)
        self._pivots: list[int] = []

    @property
    def rank(self) -> int:
        """See Span."""
        return len(self._pivots)

    @property
    def error(self) -> float:
        """See Span."""
        bits = self._n / 2 * math.log2(max(self._n, 2))
        return min(1.0, bits / 30 / _PRIMES)

    def add(self, row: Sequence[int]) -> bool:
        """See Span."""
        p, rank = self._prime, self.rank
        if rank == self._n:
            return False
        new: Integers = np.zeros(self._n, dtype=np.int64)
        new[list(row)] = 1
        weights = new[self._pivots]
        used = np.flatnonzero(weights)
        # Products are below 2^62; what is left of each after division is below 2^31, so sums are small.
        new = (new - (weights[used, None] * self._rows[used] % p).sum(axis=0)) % p
        held = np.flatnonzero(new)
        if not len(held):
            return False
        pivot = int(held[0])
        new = new * pow(int(new[pivot]), -1, p) % p
        known = self._rows[:rank]
        known -= known[:, pivot, None] * new % p
        known %= p
        self._rows[rank] = new
        self._pivots.append(pivot)
        return True

    def support(self) -> tuple[list[int], Support]:
        """See Span."""
        return list(self._pivots), self._rows[: self.rank] != 0

    def dependent(self, pivots: Sequence[int], columns: Sequence[int]) -> bool:
        """See Span."""
        places = [self._pivots.index(pivot) for pivot in pivots]
        rows = self._rows[np.ix_(places, list(columns))].copy()
        return _modular_rank(rows, self._prime) < len(places)


def _modular_rank(rows: Integers, p: int) -> int:
    rank = 0
    for column in range(rows.shape[1]):
        held = np.flatnonzero(rows[rank:, column])
        if not len(held):
            continue
        found = rank + int(held[0])
        rows[[rank, found]] = rows[[found, rank]]
        scaled = rows[rank] * pow(int(rows[rank, column]), -1, p) % p
        below = rows[rank + 1 :]
        rows[rank + 1 :] = (below - below[:, column, None] * scaled % p) % p
        rank += 1
        if rank == len(rows):
            break
    return rank


def _drawn_prime(seed: int) -> int:
    stream = public_stream(seed, "disclosure", "prime")
    while True:
        number = int.from_bytes(stream.bytes(4), "big") % 2**30 | 2**30 | 1
        if _is_prime(number):
            return number


def _is_prime(number: int) -> bool:
    """Miller and Rabin, with the bases that decide every number below 3.4e9."""
    if any(number % small == 0 for small in (3, 5, 7)):
        return False
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, base, odd, twos) for base in (2, 3, 5, 7))


def _passes(number: int, base: int, odd: int, twos: int) -> bool:
    power = pow(base, odd, number)
    if power in {1, number - 1}:
        return True
    for _ in range(twos - 1):
        power = power * power % number
        if power == number - 1:
            return True
    return False


def least_support(membership: NDArray[np.int64], most: int) -> int:
    """Return the least number of processes that a non-zero real combination of the rows depends on.

    `membership` (sums, n) is 0/1. Looks for supports up to `most` and returns most + 1 where there is none: a vector
    of the row span lives on a set of columns exactly if these columns of a basis of the null space are dependent.

    Guarantees:
        Equal to trying every set of columns with exact rationals.
    Raises: CloisterError where there are too many sets to try.
    """
    n = membership.shape[1]
    if n > _MOST_PROCESSES:
        raise CloisterError(f"n = {n} processes are too many to check what their sums tell; allowed: {_MOST_PROCESSES}")
    gram = _null_projector(membership)
    for size in range(1, min(most, n) + 1):
        if math.comb(n, size) > _MOST_SETS:
            raise CloisterError(
                f"support = {size} of n = {n} processes is too many sets to try ({math.comb(n, size)}); "
                f"allowed: at most {_MOST_SETS}; ask for a smaller support or fewer colluders"
            )
        if _some_dependent(gram, size):
            return size
    return most + 1


def _null_projector(membership: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return I - P (n, n) with P the projector on the row span, from the sums' own, much smaller, products."""
    rows = membership.astype(np.float64)
    values, vectors = np.linalg.eigh(rows @ rows.T)
    kept = values > _ZERO * max(1.0, float(values[-1]))
    span = (vectors[:, kept] / np.sqrt(values[kept])).T @ rows
    return np.eye(membership.shape[1]) - span.T @ span


def _some_dependent(gram: NDArray[np.float64], size: int) -> bool:
    sets = np.array(list(combinations(range(len(gram)), size)), dtype=np.int64)
    for start in range(0, len(sets), _CHUNK):
        chosen = sets[start : start + _CHUNK]
        blocks = gram[chosen[:, :, None], chosen[:, None, :]]
        if float(np.linalg.eigvalsh(blocks)[:, 0].min()) < _ZERO:
            return True
    return False
