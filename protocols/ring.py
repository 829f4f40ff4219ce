"""Fixed-point numbers as words of the integers modulo M: a ring of 2^k words, or a prime field."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError

__all__ = ["FixedPoint", "NotEncodableError"]

_WORDS = 2**64


class NotEncodableError(CloisterError):
    """A value that cannot enter a sum: not finite, or so large that the sum could wrap around."""


@dataclass(frozen=True, kw_only=True)
class FixedPoint:
    """Numbers x as words round(x * 2^fraction_bits) modulo `modulus`, held as signed int64 around zero.

    Guarantees:
        decode(encode(x)) differs from x by at most half a unit in the last place, 2^-(fraction_bits + 1).
        Rounding is to nearest, ties to even, so it has no bias towards zero.
        A sum of `terms` words that encode(..., terms=terms) accepted never wraps around.
        NaN, infinities and values beyond bound(terms) are refused before anything is encoded.
    """

    modulus: int = _WORDS
    fraction_bits: int = 16

    def __post_init__(self) -> None:
        check.integer_at_least(2, modulus=self.modulus)
        check.integer_at_least(0, fraction_bits=self.fraction_bits)
        if self.modulus > _WORDS or self.fraction_bits > max(self.modulus.bit_length() - 3, 0):
            raise CloisterError(
                f"modulus = {self.modulus}, fraction_bits = {self.fraction_bits} do not fit; "
                f"allowed: modulus <= 2^64 and 2^(fraction_bits + 2) <= modulus"
            )

    @classmethod
    def of_bits(cls, bits: int, *, fraction_bits: int) -> "FixedPoint":
        """Return the fixed-point numbers in the ring of 2^bits words, bits 1 to 64."""
        check.integer_at_least(1, bits=bits)
        if bits > 64 or fraction_bits > max(bits - 2, 0):
            raise CloisterError(
                f"bits = {bits}, fraction_bits = {fraction_bits} do not fit; "
                f"allowed: bits <= 64 and fraction_bits <= bits - 2"
            )
        return cls(modulus=2**bits, fraction_bits=fraction_bits)

    @property
    def unit(self) -> float:
        """The value of one unit in the last place."""
        return 2.0**-self.fraction_bits

    def largest_word(self, terms: int) -> int:
        """Return the largest absolute word of which `terms` can be added without wrapping around."""
        check.integer_at_least(1, terms=terms)
        return (self.modulus - 1) // 2 // terms

    def bound(self, terms: int) -> float:
        """Return a bound B such that every |x| <= B is encodable in a sum of `terms` words."""
        limit = self.largest_word(terms)
        exact = float(limit)
        # Above 2^53 the conversion may round up, past the limit; step back to a float below it.
        return (math.nextafter(exact, 0.0) if int(exact) > limit else exact) * self.unit

    def encode(self, values: Tensor, *, terms: int) -> Tensor:
        """Return the int64 words of float values of any shape; NotEncodableError names the first bad row."""
        scaled = values.to(torch.float64) * 2.0**self.fraction_bits
        fits = scaled.abs() <= self.bound(terms) / self.unit  # False for NaN as well
        if not bool(fits.all()):
            self._refuse(values, fits, terms)
        return torch.round(scaled).to(torch.int64)

    def saturate(self, values: Tensor, *, terms: int) -> Tensor:
        """Return the nearest encodable values: what a Byzantine process can send at most (NaN becomes 0)."""
        bound = self.bound(terms)
        return torch.nan_to_num(values.to(torch.float64), nan=0.0, posinf=bound, neginf=-bound).clamp(-bound, bound)

    def decode(self, words: Tensor) -> Tensor:
        """Return the float64 values of signed words; exact while |word| < 2^53."""
        return words.to(torch.float64) * self.unit

    def wrap(self, words: Tensor) -> Tensor:
        """Return the representatives of int64 words modulo M around zero: from -M // 2, or -(M - 1) / 2 for odd M."""
        if self.modulus == _WORDS:
            return words  # int64 arithmetic already is arithmetic modulo 2^64
        if self.modulus & (self.modulus - 1) == 0:
            half = self.modulus // 2  # masks instead of remainders: 2^63 is no int64
            return ((words + half) & (self.modulus - 1)) - half
        reduced = torch.remainder(words, self.modulus)
        return torch.where(reduced > (self.modulus - 1) // 2, reduced - self.modulus, reduced)

    def _refuse(self, values: Tensor, fits: Tensor, terms: int) -> None:
        where = [int(index) for index in torch.nonzero(~fits)[0]]
        raise NotEncodableError(
            f"value {values[tuple(where)].item()!r} at index {where} cannot be encoded; "
            f"allowed: finite numbers with |x| <= {self.bound(terms):.6g} ({terms} terms, modulus {self.modulus}, "
            f"{self.fraction_bits} bits of fraction)"
        )
