"""Exact arithmetic on whole tensors over a prime field.

Two kinds of modulus are enough: the Mersenne prime 2^61 - 1 for real sums, and any prime below 2^31, of which
the smallest let a test enumerate every value of every random number.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.field_arithmetic import MERSENNE_61, Arithmetic, arithmetic_of

__all__ = ["MERSENNE_61", "PrimeField"]

_BLOCK = 2**16
"""Words worked on at a time: the handful of temporary tensors of this size stays in the cache."""


@dataclass(frozen=True)
class PrimeField:
    """The integers modulo a prime; elements are int64 tensors of any shape with values in [0, modulus).

    Arithmetic takes elements on trust, for speed; `require` checks what comes from outside, and `from_signed`
    makes elements of any words. Python integers given to it (factors, exponents, matrices) are public.

    Raises: CloisterError unless modulus is 2^61 - 1 or a prime below 2^31.
    Guarantees:
        Every operation equals the one on Python integers modulo p, for all elements.
    """

    modulus: int = MERSENNE_61

    def __post_init__(self) -> None:
        check.integer_at_least(2, modulus=self.modulus)
        if self.modulus >= 2**31 and self.modulus != MERSENNE_61:
            raise CloisterError(f"modulus = {self.modulus} is not supported; allowed: 2^61 - 1 or a prime below 2^31")
        if not _is_prime(self.modulus):
            raise CloisterError(f"modulus = {self.modulus} is not prime; allowed: 2^61 - 1 or a prime below 2^31")

    @cached_property
    def _arithmetic(self) -> Arithmetic:
        return arithmetic_of(self.modulus)

    def require(self, **named: Tensor) -> None:
        """Raise CloisterError unless each named tensor holds elements: int64 in [0, modulus)."""
        for name, tensor in named.items():
            if not self.holds(tensor):
                values = f" with values from {tensor.min()} to {tensor.max()}" if tensor.numel() else ""
                raise CloisterError(
                    f"{name} is a tensor of {tensor.dtype}{values}; "
                    f"allowed: torch.int64, 0 to {self.modulus - 1} (make elements of words with from_signed)"
                )

    def holds(self, tensor: Tensor) -> bool:
        """Return whether a tensor holds elements: int64 in [0, modulus)."""
        if tensor.dtype != torch.int64 or tensor.numel() == 0:
            return tensor.dtype == torch.int64
        least, most = torch.aminmax(tensor)
        return int(least) >= 0 and int(most) < self.modulus

    def add(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the sums of elements."""
        return self._lift(torch.add(first, second).sub_(self.modulus))

    def subtract(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the differences of elements."""
        return self._lift(torch.sub(first, second))

    def negate(self, elements: Tensor) -> Tensor:
        """Return the negatives of elements."""
        return self._lift(torch.neg(elements))

    def _lift(self, words: Tensor) -> Tensor:
        # words are in [-p, p): the shift is -1 for the negative ones, 0 for the others.
        return words.sub_(words >> 63, alpha=self.modulus)

    def multiply(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the products of elements, of the shape that both broadcast to."""
        shape = np.broadcast_shapes(first.shape, second.shape)
        left, right = first.expand(shape).reshape(-1), second.expand(shape).reshape(-1)
        output, space = torch.empty_like(left), _space(4, left)
        for here in _blocks(len(left)):
            out = output[here]
            self._arithmetic.multiply(left[here], right[here], out, space[:, : len(out)])
        return output.view(shape)

    def scale(self, elements: Tensor, factor: int) -> Tensor:
        """Return the products with one public integer: about half the work of `multiply` if |factor| < 2^30."""
        return self.apply([[factor]], [elements])[0]

    def power(self, elements: Tensor, exponent: int) -> Tensor:
        """Return the powers to one public exponent >= 0; anything to the power 0 is 1."""
        check.integer_at_least(0, exponent=exponent)
        result = torch.ones_like(elements)
        for bit in bin(exponent)[2:]:
            result = self.multiply(result, result)
            if bit == "1":
                result = self.multiply(result, elements)
        return result

    def inverse(self, elements: Tensor) -> Tensor:
        """Return the multiplicative inverses, by Fermat's little theorem; CloisterError if an element is zero."""
        if not bool(elements.all()):
            where = [int(index) for index in torch.nonzero(elements == 0)[0]]
            raise CloisterError(f"the element at index {where} is 0 and has no inverse; allowed: 1 to p - 1")
        return self.power(elements, self.modulus - 2)

    def from_signed(self, words: Tensor) -> Tensor:
        """Return the elements congruent to any int64 words: negative x becomes p - |x|."""
        if words.dtype != torch.int64:
            raise CloisterError(f"words are a tensor of {words.dtype}; allowed: torch.int64")
        return torch.remainder(words, self.modulus)

    def to_signed(self, elements: Tensor) -> Tensor:
        """Return the representatives in (-p/2, p/2]."""
        # The difference is negative, and its shift -1, exactly for an element above p // 2.
        return elements.add((self.modulus // 2 - elements) >> 63, alpha=self.modulus)

    def from_uniform_words(self, words: Tensor) -> tuple[Tensor, Tensor]:
        """Return (elements, accepted): the accepted ones are exactly uniform if the int64 words are.

        Where accepted is False the first tensor holds no element but a word >= p, to be drawn again.
        At least half of all words are accepted; all but 2^-61 of them for the modulus 2^61 - 1.
        """
        candidates = words & ((1 << (self.modulus - 1).bit_length()) - 1)
        return candidates, candidates < self.modulus

    def sum(self, elements: Tensor, dim: int) -> Tensor:
        """Return the sums along one dimension of at most 2^29 elements."""
        rows = elements.movedim(dim, 0)
        flat = rows.reshape(len(rows), rows.shape[1:].numel())
        output = flat.new_empty(flat.shape[1])
        for here in _blocks(len(output), max(64, _BLOCK // max(1, len(flat)))):
            block, out = flat[:, here], output[here]
            limbs = self._arithmetic.split(block, block.new_empty(2, *block.shape)).sum(dim=1)
            self._arithmetic.join(limbs, out, torch.empty_like(out), signed=False)
        return output.reshape(rows.shape[1:])

    def combine(self, coefficients: Tensor, rows: Tensor) -> Tensor:
        """Return sum_i coefficients[i] rows[..., i]: shapes (k,) and (..., k) give (...), for k <= 2^29."""
        if coefficients.shape != rows.shape[-1:]:
            raise CloisterError(
                f"{tuple(coefficients.shape)} coefficients do not fit rows of shape {tuple(rows.shape)}; "
                f"allowed: one coefficient for each place of the last dimension"
            )
        count, length = rows.shape[:-1].numel(), rows.shape[-1]
        flat, space, output = rows.reshape(count, length), _space(5, rows), rows.new_empty(count)
        for these in _blocks(count, max(1, _BLOCK // max(1, length))):
            out = output[these]
            limbs = out.new_zeros(2, len(out))
            for here in _blocks(length):
                block = flat[these, here]
                spare = space[:, : block.numel()].view(5, *block.shape)
                self._arithmetic.product(block, coefficients[here].expand_as(block), spare[0], spare[1:])
                parts = self._arithmetic.split(spare[0], spare[1:]).sum(dim=2)
                limbs[: len(parts)] += parts
            self._arithmetic.join(limbs, out, torch.empty_like(out), signed=False)
        return output.reshape(rows.shape[:-1])

    def apply(self, matrix: Sequence[Sequence[int]], rows: Sequence[Tensor] | Tensor) -> Tensor:
        """Return a public matrix (outputs, k) times rows (k, ...) of elements: (outputs, ...), for k >= 1.

        The entries are any Python integers; small ones (|entry| < 2^30 modulo p) cost half of large ones.
        """
        terms, flat = self._terms(matrix), [row.reshape(-1) for row in rows]
        output = flat[0].new_empty(len(terms), flat[0].numel())
        for here, limbs, spare in self._limbs(flat):
            for row, result in zip(terms, output, strict=True):
                self._weighted(row, limbs, result[here], spare)
        return output.reshape(len(terms), *rows[0].shape)

    def vanishes(self, matrix: Sequence[Sequence[int]], rows: Sequence[Tensor] | Tensor) -> Tensor:
        """Return, for each trailing coordinate, whether a public matrix (checks, k) maps rows (k, ...) to zero."""
        terms, flat = self._terms(matrix), [row.reshape(-1) for row in rows]
        output = torch.ones_like(flat[0], dtype=torch.bool)
        for here, limbs, spare in self._limbs(flat):
            for row in terms:
                self._weighted(row, limbs, spare[0], spare[1:])
                output[here] &= spare[0] == 0
        return output.reshape(rows[0].shape)

    def _terms(self, matrix: Sequence[Sequence[int]]) -> list[dict[int, int]]:
        """Return the non-zero entries of each row by column, as their representatives nearest to zero."""
        half = (self.modulus - 1) // 2
        return [{i: (entry + half) % self.modulus - half for i, entry in enumerate(row) if entry} for row in matrix]

    def _limbs(self, rows: Sequence[Tensor]) -> Iterator[tuple[slice, list[Tensor], Tensor]]:
        """Yield each block's place, the limbs of its rows, and four spare tensors of its length."""
        space, halves = _space(4, rows[0]), [_space(2, row) for row in rows]
        for here in _blocks(rows[0].numel()):
            length = len(rows[0][here])
            limbs = [
                self._arithmetic.split(row[here], half[:, :length]) for row, half in zip(rows, halves, strict=True)
            ]
            yield here, limbs, space[:, :length]

    def _weighted(self, terms: dict[int, int], limbs: list[Tensor], out: Tensor, spare: Tensor) -> None:
        self._arithmetic.weighted(list(terms.values()), [limbs[i] for i in terms], out, spare)


def _blocks(count: int, step: int = _BLOCK) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, count, step))


def _space(count: int, like: Tensor) -> Tensor:
    return like.new_empty(count, min(like.numel(), _BLOCK))


@cache
def _is_prime(number: int) -> bool:
    """Miller-Rabin; these bases leave no composite below 3.3 * 10^24 (Sorenson and Webster 2015)."""
    bases = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41)
    if number in bases or any(number % base == 0 for base in bases):
        return number in bases
    odd, twos = number - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_passes(number, pow(base, odd, number), twos) for base in bases)


def _passes(number: int, witness: int, twos: int) -> bool:
    return witness == 1 or any(pow(witness, 1 << i, number) == number - 1 for i in range(twos))
