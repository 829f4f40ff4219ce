"""How few inputs a combination of opened sums can depend on: the least support of a real row span."""

from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from protocols.check import CloisterError

__all__ = ["least_support"]

_MOST_SETS = 2_000_000
_MOST_PROCESSES = 5000
_CHUNK = 100_000
# Columns of an orthonormal basis count as dependent below this; for 0/1 matrices of a few hundred columns the least
# eigenvalue of independent ones is orders of magnitude above it, and a cover that comes near is refused, not used.
_ZERO = 1e-9


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
        if comb(n, size) > _MOST_SETS:
            raise CloisterError(
                f"support = {size} of n = {n} processes is too many sets to try ({comb(n, size)}); "
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
