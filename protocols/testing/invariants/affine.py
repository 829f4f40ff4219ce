"""Exact secrecy of linear protocols at full size: what is received is an affine map of inputs and digits.

The map is read off one run whose clusters hold one unit each; further clusters hold random inputs and digits, and
show whether the map is affine. Over the uniform digits a view is then uniform on a coset, so that two inputs give
a view the same distribution exactly if the difference of their images is an image of digits: linear algebra
modulo the ring, instead of an enumeration, decides for every coalition and every input.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from protocols.faulty_link import Fault
from protocols.model_digest import Models
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing._taped import Script, Views, play, record

__all__ = ["AffineViews", "affine_views", "in_span"]

Matrix = NDArray[np.object_]
_CHECKED = 24


@dataclass(frozen=True, kw_only=True)
class AffineViews:
    """The map from inputs and digits to received words, modulo `modulus`.

    `inputs` (columns, parties, coordinates) and `digits` (columns, digits) are its coefficients.
    """

    script: Script
    views: Views
    modulus: int
    inputs: Matrix
    digits: Matrix

    def leaking(self, coalitions: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
        """Return which coalitions (each with the board) learn more than the sums and their own inputs."""
        return [coalition for coalition in coalitions if self._leaks(coalition)]

    def unknown(self, members: Sequence[int]) -> Matrix:
        """Return the coefficients of the digits that these do not know."""
        return self.digits[:, ~self.script.known(members)]

    def _leaks(self, coalition: tuple[int, ...]) -> bool:
        seen = self.views.seen_by(coalition)
        added = set(self.script.contributors)
        inside = [j for j in range(self.script.parties) if j not in coalition and j in added]
        outside = [j for j in range(self.script.parties) if j not in coalition and j not in added]
        changes = [self.inputs[seen, inside[0]] - self.inputs[seen, other] for other in inside[1:]]  # equal sums
        # Whose words are not in the sum must stay hidden altogether.
        changes += [self.inputs[seen, other] for other in outside]
        differences = [change[:, k] % self.modulus for change in changes for k in range(self.script.coordinates)]
        if not differences or not seen.any():
            return False  # the sum tells the one word that is left, or nothing is seen
        return not in_span(self.unknown(coalition)[seen], differences, self.modulus)


def affine_views(
    spec: Spec,
    parties: int,
    *,
    coordinates: int,
    faults: Mapping[int, Fault] = MappingProxyType({}),
    models: Models | None = None,
) -> AffineViews | None:
    """Return the map of a protocol over a ring of 2^k words or a prime field, or None where it is not affine.

    It is checked on 24 random inputs and tapes: a map that is not affine there fits one of them with probability
    at most 1/2 where it differs in a polynomial of degree one in some digit, so all with 2^-24 or less.
    """
    script = record(spec, parties, coordinates=coordinates, faults=faults, models=models)
    ring = secure_sums.make(spec).ring
    if any(int(modulus) != ring.modulus for modulus in script.moduli):
        return None
    digits, held = len(script.moduli), parties * coordinates
    tapes = np.concatenate(
        [np.zeros((1 + held, digits), dtype=np.int64), np.eye(digits, dtype=np.int64), script.random_tapes(_CHECKED, 9)]
    )
    half = ring.modulus // 2
    rng = np.random.default_rng(9)
    random = rng.integers(-half, half - 1, (_CHECKED, parties, coordinates), dtype=np.int64, endpoint=True)
    units = np.eye(held, dtype=np.int64).reshape(held, parties, coordinates)
    nothing = np.zeros((1, parties, coordinates), dtype=np.int64)
    words = np.concatenate([nothing, units, np.repeat(nothing, digits, axis=0), random])
    views = play(script, words, tapes)
    received = views.words.astype(object) % ring.modulus
    constant, rows = received[0], (received - received[0]) % ring.modulus
    by_input, by_digit, checked = rows[1 : 1 + held], rows[1 + held : 1 + held + digits], received[-_CHECKED:]
    predicted = constant + random.reshape(_CHECKED, -1).astype(object) @ by_input
    if digits:
        predicted = predicted + tapes[-_CHECKED:].astype(object) @ by_digit
    if not np.array_equal(predicted % ring.modulus, checked):
        return None
    return AffineViews(
        script=script,
        views=views,
        modulus=ring.modulus,
        inputs=by_input.T.reshape(rows.shape[1], parties, coordinates),
        digits=by_digit.T,
    )


def in_span(columns: Matrix, targets: Sequence[Matrix], modulus: int) -> bool:
    """Return whether every target is a combination of the columns, modulo 2^k or a prime.

    Columns are eliminated by pivots of the least 2-adic valuation, which divide all that is left; in a field every
    pivot divides.
    """
    matrix = np.concatenate([columns, np.array(list(targets), dtype=object).reshape(len(targets), -1).T], axis=1)
    matrix = matrix[np.array([bool(row.any()) for row in matrix], dtype=bool)] if len(matrix) else matrix
    left = columns.shape[1]
    dyadic = modulus & (modulus - 1) == 0
    used = np.zeros(len(matrix), dtype=bool)
    while True:
        pivot = _pivot(matrix, left, used, dyadic)
        if pivot is None:
            return not bool(matrix[:, left:].any())
        row, column, part = pivot
        inverse = pow(int(matrix[row, column]) // part, -1, modulus)
        heads = matrix[row] % modulus
        if any(int(head) % part for head in heads[left:]):
            return False
        factors = np.array([int(head) // part * inverse % modulus for head in heads], dtype=object)
        factors[column] = 0
        rows = np.flatnonzero(matrix[:, column] != 0)
        matrix[np.ix_(rows, np.flatnonzero(factors))] = (
            matrix[np.ix_(rows, np.flatnonzero(factors))]
            - matrix[rows, column][:, None] * factors[np.flatnonzero(factors)][None]
        ) % modulus
        matrix[:, column] = 0
        used[row] = True


def _pivot(matrix: Matrix, left: int, used: NDArray[np.bool_], dyadic: bool) -> tuple[int, int, int] | None:
    """Return (row, column, largest power of two in it) of the best entry that is left; in a field the power is 1."""
    best: tuple[int, int, int] | None = None
    for row, column in np.argwhere((matrix[:, :left] != 0) & ~used[:, None]):
        entry = int(matrix[row, column])
        part = entry & -entry if dyadic else 1
        if best is None or part < best[2]:
            best = (int(row), int(column), part)
        if best[2] == 1:
            break
    return best
