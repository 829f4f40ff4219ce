"""Exact Reed-Solomon decoding of whole messages: a party that lies is wrong in one row, in any of its coordinates.

Error positions are common to all coordinates of a message, so they are found once, in Python integers, from one
random combination of the coordinates. What follows is exact and does not rest on that randomness: every row left
must agree in every coordinate, and the first coordinate that does not names further wrong rows.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import field as dataclass_field

import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.field import PrimeField
from protocols.polynomials import consistent, interpolate, require_enough, require_points

__all__ = ["Decoded", "DecodingError", "decode", "decode_clusters", "detect"]

Polynomial = list[int]
"""Coefficients modulo p from the constant up, without zeros at the end; the zero polynomial is empty."""


class DecodingError(CloisterError):
    """No polynomial of the degree agrees with all but e rows: there are more errors than can be corrected."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Decoded:
    """The secret, of the shape of one row, and the sorted positions of the rows that disagree with it."""

    secret: Tensor = dataclass_field(repr=False)
    wrong: tuple[int, ...]


def decode(field: PrimeField, points: Sequence[int], received: Tensor, degree: int, *, challenge: Tensor) -> Decoded:
    """Return the secret that received (k, ...) encodes, although up to e = (k - degree - 1) // 2 rows are wrong.

    The rows are one message: a row counts as wrong if any of its coordinates is. Received words that are no
    elements are read modulo p. The challenge holds elements, one for each coordinate, drawn after the rows were
    fixed; a challenge that an adversary knew costs at most e + 1 passes over the coordinates, never correctness.

    Raises: DecodingError if more than e rows are wrong and that shows; CloisterError for fewer than degree + 1 rows,
        points that are 0, repeated or not below p, and shapes that do not fit.
    Guarantees:
        With at most e wrong rows, the secret is exact and `wrong` holds exactly their positions.
        The polynomials of the secret agree with at least k - e of the rows in every coordinate.
        Whatever the challenge is, both hold.
    Source: Gao 2003, for one codeword; Bleichenbacher, Kiayias and Yung 2003, for positions common to many.
    """
    rows = _rows(field, points, received, degree)
    if challenge.shape != rows.shape[1:]:
        raise CloisterError(
            f"a challenge of shape {tuple(challenge.shape)} does not fit rows of shape {tuple(rows.shape[1:])}; "
            f"allowed: one element for each coordinate"
        )
    field.require(challenge=challenge)
    wrong = _errors(field, points, _combined(field, rows, challenge), degree)
    while True:
        kept = [position for position in range(len(points)) if position not in wrong]
        disagreeing = _first_disagreement(field, points, rows, degree, kept)
        if disagreeing is None:
            break
        # Within the radius its errors are errors of the message, at least one of them not known yet.
        known, wrong = wrong, wrong | _errors(field, points, disagreeing, degree)
        if wrong == known or len(wrong) > _radius(len(points), degree):
            raise _beyond(len(points), degree)
    some = kept[: degree + 1]
    return Decoded(secret=interpolate(field, [points[i] for i in some], rows[some]), wrong=tuple(sorted(wrong)))


def decode_clusters(
    field: PrimeField, points: Sequence[int], received: Tensor, degree: int, *, challenge: Tensor
) -> tuple[Decoded | DecodingError, ...]:
    """Return what `decode` finds for each cluster of received (k, clusters, coordinates), each a message of its own.

    Wrong positions are not shared between clusters, and a cluster that cannot be decoded gets its error as its
    result, so that it does not hold up the others. The challenge (coordinates,) serves all clusters.

    Raises: CloisterError as `decode` does.
    """
    if received.ndim != 3:
        raise CloisterError(f"received has shape {tuple(received.shape)}; allowed: (rows, clusters, coordinates)")
    return tuple(
        _decoded(field, points, received[:, cluster], degree, challenge) for cluster in range(received.shape[1])
    )


def _decoded(
    field: PrimeField, points: Sequence[int], received: Tensor, degree: int, challenge: Tensor
) -> Decoded | DecodingError:
    try:
        return decode(field, points, received, degree, challenge=challenge)
    except DecodingError as error:
        return error


def detect(field: PrimeField, points: Sequence[int], received: Tensor, degree: int) -> bool:
    """Return whether received (k, ...) has errors: True unless all rows lie on polynomials of the degree.

    Raises: CloisterError for fewer than degree + 1 rows or points that do not fit.
    Guarantees:
        True whenever 1 to k - degree - 1 rows are wrong, in any of their coordinates; False without errors.
    """
    return not bool(consistent(field, points, _rows(field, points, received, degree), degree).all())


def _rows(field: PrimeField, points: Sequence[int], received: Tensor, degree: int) -> Tensor:
    require_points(field, points)
    if received.ndim == 0 or len(received) != len(points):
        raise CloisterError(
            f"{len(points)} points do not fit rows of shape {tuple(received.shape)}; allowed: one a row"
        )
    require_enough(len(points), degree)
    return received if field.holds(received) else field.from_signed(received)


def _radius(rows: int, degree: int) -> int:
    """Return e, the most wrong rows that leave only one polynomial to choose."""
    return (rows - degree - 1) // 2


def _beyond(rows: int, degree: int) -> DecodingError:
    return DecodingError(
        f"no polynomial of degree {degree} agrees with all but {_radius(rows, degree)} of the {rows} rows; "
        f"allowed: at most {_radius(rows, degree)} wrong rows (2 wrong + degree < rows)"
    )


def _combined(field: PrimeField, rows: Tensor, challenge: Tensor) -> list[int]:
    words = field.combine(challenge.reshape(-1), rows.reshape(len(rows), challenge.numel()))
    return [int(word) for word in words]


def _first_disagreement(
    field: PrimeField, points: Sequence[int], rows: Tensor, degree: int, kept: list[int]
) -> list[int] | None:
    """Return the first coordinate of all rows in which the kept ones do not lie on one polynomial."""
    values = rows if len(kept) == len(rows) else rows[kept]
    agrees = consistent(field, [points[i] for i in kept], values, degree).reshape(-1)
    if bool(agrees.all()):
        return None
    column = rows.reshape(len(rows), -1)[:, int(torch.argmin(agrees.to(torch.int8)))]
    return [int(word) for word in column]


def _errors(field: PrimeField, points: Sequence[int], word: list[int], degree: int) -> set[int]:
    """Return the wrong positions of one codeword, at most e, by Gao's algorithm; DecodingError if there is none."""
    modulus, rows = field.modulus, len(points)
    remainders = [_vanishing(modulus, points), _through(modulus, points, word)]
    locators: list[Polynomial] = [[], [1]]
    while 2 * (len(remainders[1]) - 1) >= rows + degree + 1:
        quotient, rest = _divide(modulus, remainders[0], remainders[1])
        remainders = [remainders[1], rest]
        locators = [locators[1], _minus(modulus, locators[0], _times(modulus, quotient, locators[1]))]
    message, _ = _divide(modulus, remainders[1], locators[1])
    wrong = {i for i, point in enumerate(points) if _value(modulus, message, point) != word[i]}
    if len(message) > degree + 1 or len(wrong) > _radius(rows, degree):
        raise _beyond(rows, degree)
    return wrong


def _trimmed(polynomial: Polynomial) -> Polynomial:
    while polynomial and polynomial[-1] == 0:
        polynomial.pop()
    return polynomial


def _value(modulus: int, polynomial: Polynomial, point: int) -> int:
    value = 0
    for coefficient in reversed(polynomial):
        value = (value * point + coefficient) % modulus
    return value


def _minus(modulus: int, first: Polynomial, second: Polynomial) -> Polynomial:
    return _trimmed([(a - b) % modulus for a, b in itertools.zip_longest(first, second, fillvalue=0)])


def _times(modulus: int, first: Polynomial, second: Polynomial) -> Polynomial:
    product = [0] * max(0, len(first) + len(second) - 1)
    for (i, a), (j, b) in itertools.product(enumerate(first), enumerate(second)):
        product[i + j] = (product[i + j] + a * b) % modulus
    return _trimmed(product)


def _divide(modulus: int, above: Polynomial, below: Polynomial) -> tuple[Polynomial, Polynomial]:
    """Return quotient and remainder; `below` is not zero."""
    rest, quotient = list(above), [0] * max(0, len(above) - len(below) + 1)
    inverse = pow(below[-1], -1, modulus)
    for shift in reversed(range(len(quotient))):
        quotient[shift] = rest[shift + len(below) - 1] * inverse % modulus
        for i, coefficient in enumerate(below):
            rest[shift + i] = (rest[shift + i] - quotient[shift] * coefficient) % modulus
    return quotient, _trimmed(rest)


def _vanishing(modulus: int, points: Sequence[int]) -> Polynomial:
    product: Polynomial = [1]
    for point in points:
        product = _times(modulus, product, [-point % modulus, 1])
    return product


def _through(modulus: int, points: Sequence[int], word: Sequence[int]) -> Polynomial:
    """Return the polynomial of degree < len(points) through the word, one point after the other (Newton)."""
    found: Polynomial = []
    product: Polynomial = [1]
    for point, value in zip(points, word, strict=True):
        missing = (value - _value(modulus, found, point)) * pow(_value(modulus, product, point), -1, modulus)
        found = _minus(modulus, found, _times(modulus, [-missing % modulus], product))
        product = _times(modulus, product, [-point % modulus, 1])
    return found
