"""Galois rings: the words modulo 2^64, extended until there are enough points for polynomials to be shared on.

Among the words themselves only two points, 0 and 1, have a difference that can be divided by. GR(2^64, m), the
polynomials over them modulo one of degree m that is irreducible modulo 2, has 2^m: all those whose coefficients are
bits, as a difference of two of them is not zero modulo 2.

Source: Abspoel, Cramer, Damgård, Escudero and Yuan 2019, TCC, Efficient Information-Theoretic Secure Multiparty
Computation over Z/p^kZ via Galois Rings.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError

__all__ = ["Element", "GaloisRing"]

Element = tuple[int, ...]
"""A public element: its m coefficients modulo 2^64, the constant one first."""

_WORD_BITS = 64
_IRREDUCIBLE = (0b10, 0b111, 0b1011, 0b10011, 0b100101, 0b1000011, 0b10000011, 0b100011011)
"""A polynomial that is irreducible modulo 2 of each degree from 1 to 8; bit k is the coefficient of X^k."""


@dataclass(frozen=True, kw_only=True)
class GaloisRing:
    """GR(2^64, degree), the ring of secret elements of `degree` words and of public ones.

    Raises: CloisterError for a degree outside 1 to 8.
    Guarantees:
        The difference of any two points is invertible.
        Multiplication is that of polynomials over the integers, reduced afterwards.
    """

    degree: int

    def __post_init__(self) -> None:
        check.integer_at_least(1, degree=self.degree)
        if self.degree > len(_IRREDUCIBLE):
            raise CloisterError(f"degree = {self.degree} is not supported; allowed: 1 to {len(_IRREDUCIBLE)}")

    @classmethod
    def with_points(cls, count: int) -> "GaloisRing":
        """Return the smallest of these rings with the points 0 to `count`."""
        check.integer_at_least(1, count=count)
        return cls(degree=count.bit_length())

    @property
    def one(self) -> Element:
        """The element 1."""
        return self.point(1)

    def point(self, number: int) -> Element:
        """Return a point, whose coefficients are the bits of its number."""
        if not 0 <= number < 2**self.degree:
            raise CloisterError(f"number = {number} is not allowed; allowed: 0 to {2**self.degree - 1}")
        return tuple(number >> k & 1 for k in range(self.degree))

    def subtract(self, left: Element, right: Element) -> Element:
        """Return left - right."""
        return _wrapped(a - b for a, b in zip(left, right, strict=True))

    def multiply(self, left: Element, right: Element) -> Element:
        """Return left x right."""
        product = [0] * (2 * self.degree - 1)
        for i, a in enumerate(left):
            for j, b in enumerate(right):
                product[i + j] += a * b
        taps = [k for k in range(self.degree) if _IRREDUCIBLE[self.degree - 1] >> k & 1]
        for top in range(len(product) - 1, self.degree - 1, -1):  # X^m is minus the lower terms
            for k in taps:
                product[top - self.degree + k] -= product[top]
        return _wrapped(product[: self.degree])

    def inverse(self, element: Element) -> Element:
        """Return the element that makes 1 with this one; CloisterError where it is zero modulo 2.

        Modulo 2 it is the power 2^m - 2 = 2 + 4 + ..; each step of Newton's doubles the bits that are right.
        """
        if not any(each & 1 for each in element):
            raise CloisterError(f"the element {element} is even and has no inverse; allowed: one odd coefficient")
        found, power = self.one, element
        for _ in range(self.degree - 1):
            power = self.multiply(power, power)
            found = self.multiply(found, power)
        two = self.subtract(self.one, self.subtract(self.point(0), self.one))
        for _ in range(_WORD_BITS.bit_length() - 1):
            found = self.multiply(found, self.subtract(two, self.multiply(element, found)))
        return found

    def lagrange_weights(self, points: Sequence[int]) -> list[Element]:
        """Return the w with f(0) = sum_i w[i] f(points[i]) for every f of degree < len(points).

        Raises: CloisterError for points that are repeated or no points.
        """
        if len(set(points)) < len(points):
            raise CloisterError(f"points = {list(points)} are not allowed; allowed: each of them once")
        weights: list[Element] = []
        for point in points:
            weight = self.one
            for other in points:
                if other != point:
                    apart = self.subtract(self.point(other), self.point(point))
                    weight = self.multiply(weight, self.multiply(self.point(other), self.inverse(apart)))
            weights.append(weight)
        return weights

    def powers(self, number: int, count: int) -> list[Element]:
        """Return a point to the powers 0 .. count - 1."""
        found = [self.one]
        while len(found) < count:
            found.append(self.multiply(found[-1], self.point(number)))
        return found[:count]

    def matrix(self, element: Element) -> Tensor:
        """Return the int64 (m, m) by which the m words of a secret element are multiplied to be its products."""
        columns = [
            self.multiply(element, tuple(int(k == row) for k in range(self.degree))) for row in range(self.degree)
        ]
        return torch.tensor([[_signed(word) for word in column] for column in columns], dtype=torch.int64).T


def _wrapped(words: Iterable[int]) -> Element:
    return tuple(word % 2**_WORD_BITS for word in words)


def _signed(word: int) -> int:
    return word - 2**_WORD_BITS if word >> (_WORD_BITS - 1) else word
