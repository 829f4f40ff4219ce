"""Polynomials over a prime field at public points: Shamir sharing, reconstruction and exact consistency.

Party j (from 0) has the point j + 1; the secret is the value at 0, so no party may have the point 0.
Points and weights are public Python integers; what is shared or interpolated are whole tensors of elements.
"""

import math
from collections.abc import Sequence

from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.field import PrimeField

__all__ = [
    "consistent",
    "evaluate",
    "interpolate",
    "lagrange_weights",
    "party_points",
    "reconstruct",
    "require_points",
    "share",
]


def party_points(field: PrimeField, parties: int) -> tuple[int, ...]:
    """Return the points 1..parties; CloisterError unless the field has that many besides 0."""
    check.integer_at_least(1, parties=parties)
    if parties >= field.modulus:
        raise CloisterError(
            f"parties = {parties} do not fit the field modulo {field.modulus}; allowed: 1 to {field.modulus - 1}"
        )
    return tuple(range(1, parties + 1))


def require_points(field: PrimeField, points: Sequence[int]) -> None:
    """Raise CloisterError unless the points are distinct integers from 1 to p - 1 (0 would show the secret)."""
    for position, point in enumerate(points):
        if type(point) is not int or not 0 < point < field.modulus:
            raise CloisterError(
                f"points[{position}] = {point!r} is not allowed; allowed: 1 to {field.modulus - 1} "
                f"(the value at 0 is the secret)"
            )
    if len(set(points)) < len(points):
        repeated = next(point for position, point in enumerate(points) if point in points[:position])
        raise CloisterError(f"points = {list(points)} have {repeated} twice; allowed: each point once")


def _require_values(field: PrimeField, points: Sequence[int], values: Tensor) -> None:
    require_points(field, points)
    if not points or values.ndim == 0 or len(values) != len(points):
        raise CloisterError(
            f"{len(points)} points do not fit values of shape {tuple(values.shape)}; allowed: one a row, at least 1"
        )
    field.require(values=values)


def evaluate(field: PrimeField, coefficients: Tensor, points: Sequence[int]) -> Tensor:
    """Return the values (len(points), ...) of polynomials whose coefficients (t + 1, ...) begin with the constant.

    Raises: CloisterError for points that are 0, repeated or not below p, and for coefficients that are no elements.
    Guarantees:
        Every value is exactly that of the polynomial at its point.
    """
    if coefficients.ndim == 0 or len(coefficients) == 0:
        raise CloisterError(f"coefficients of shape {tuple(coefficients.shape)}; allowed: (t + 1, ...) with t >= 0")
    return _evaluated(field, list(coefficients), points)


def _evaluated(field: PrimeField, coefficients: list[Tensor], points: Sequence[int]) -> Tensor:
    require_points(field, points)
    field.require(**{f"coefficients[{i}]": row for i, row in enumerate(coefficients)})
    powers = [[pow(point, i, field.modulus) for i in range(len(coefficients))] for point in points]
    return field.apply(powers, coefficients)


def lagrange_weights(field: PrimeField, points: Sequence[int], at: int) -> list[int]:
    """Return the w with f(at) = sum_i w[i] f(points[i]) modulo p for every f of degree < len(points).

    Raises: CloisterError for points that are 0, repeated or not below p, or `at` outside 0..p - 1.
    """
    require_points(field, points)
    if not 0 <= at < field.modulus:
        raise CloisterError(f"at = {at} is not allowed; allowed: 0 to {field.modulus - 1}")
    return [_weight(field.modulus, point, points, at) for point in points]


def _weight(modulus: int, point: int, points: Sequence[int], at: int) -> int:
    others = [other for other in points if other != point]
    above = math.prod(at - other for other in others)
    return above * pow(math.prod(point - other for other in others), -1, modulus) % modulus


def interpolate(field: PrimeField, points: Sequence[int], values: Tensor, at: int = 0) -> Tensor:
    """Return the value (...) at `at` of the polynomials of degree < k through values (k, ...) at k points.

    Raises: CloisterError for points that are 0, repeated or not below p, or that are not one for each row.
    Guarantees:
        Interpolating a polynomial of degree < k gives exactly its value.
    """
    _require_values(field, points, values)
    return field.apply([lagrange_weights(field, points, at)], values)[0]


def consistent(field: PrimeField, points: Sequence[int], values: Tensor, degree: int) -> Tensor:
    """Return, for each trailing coordinate of values (k, ...), whether its k values lie on one polynomial.

    Guarantees:
        True exactly where some polynomial of degree <= `degree` passes through all values (always if k <= degree + 1).
    Source: divided differences of order degree + 1 are zero for these polynomials only; those of neighbouring
        points are enough, since two such windows share the degree + 1 points that fix the polynomial.
    """
    _require_values(field, points, values)
    check.integer_at_least(0, degree=degree)
    starts = range(len(points) - degree - 1)
    return field.vanishes([_difference(points, start, start + degree + 2) for start in starts], values)


def _difference(points: Sequence[int], start: int, stop: int) -> list[int]:
    """Return the weights of a divided difference, times the least number that makes them whole: small for small points.

    All points lie below p, so that number is no multiple of p and every weight in the window stays non-zero.
    """
    window = points[start:stop]
    slopes = [math.prod(point - other for other in window if other != point) for point in window]
    whole = math.lcm(*slopes)
    return [0] * start + [whole // slope for slope in slopes] + [0] * (len(points) - stop)


def share(field: PrimeField, secret: Tensor, degree: int, parties: int, coefficients: Tensor) -> Tensor:
    """Return the shares (parties, ...) of secret (...) under coefficients (degree, ...) that the caller drew.

    Row j is the share of party j: the value at j + 1 of secret + coefficients[0] x + coefficients[1] x^2 + ...

    Raises: CloisterError unless 0 <= degree < parties < p, the shapes fit, and both tensors hold elements.
    Guarantees:
        Any degree + 1 shares reconstruct the secret.
        Any `degree` shares are jointly uniform if the coefficients are uniform and independent of the secret.
    Source: Shamir 1979.
    """
    points = party_points(field, parties)
    check.integer_at_least(0, degree=degree)
    if degree >= parties:
        raise CloisterError(
            f"degree = {degree} needs {degree + 1} shares, of which {parties} parties hold {parties}; "
            f"allowed: 0 to {parties - 1}"
        )
    if coefficients.shape != (degree, *secret.shape):
        raise CloisterError(
            f"coefficients of shape {tuple(coefficients.shape)} do not fit; allowed: {(degree, *secret.shape)}, "
            f"one for each power of x and each secret"
        )
    return _evaluated(field, [secret, *coefficients], points)


def reconstruct(field: PrimeField, points: Sequence[int], shares: Tensor, degree: int) -> Tensor:
    """Return the secret (...) from the first degree + 1 of the shares (k, ...); the others are not looked at.

    It trusts the shares: `reed_solomon.detect` and `reed_solomon.decode` are for parties that may lie.

    Raises: CloisterError for fewer than degree + 1 shares, or points that do not fit.
    Guarantees:
        degree + 1 or more honest shares give exactly the secret that was shared.
        Fewer than degree + 1 shares are refused.
    """
    _require_values(field, points, shares)
    require_enough(len(points), degree)
    return interpolate(field, points[: degree + 1], shares[: degree + 1])


def require_enough(shares: int, degree: int) -> None:
    """Raise CloisterError unless there are at least degree + 1 shares."""
    check.integer_at_least(0, degree=degree)
    if shares <= degree:
        raise CloisterError(
            f"{shares} shares do not determine a polynomial of degree {degree}; "
            f"allowed: {degree + 1} or more (t + 1 needed for degree t)"
        )
