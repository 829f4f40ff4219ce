"""What of a prime field's arithmetic depends on the size of its modulus."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

__all__ = ["MERSENNE_61", "Arithmetic", "arithmetic_of"]

MERSENNE_61 = 2**61 - 1
_LOW = 2**31 - 1
_ROOM = 3 * 2**61 - 2**34
"""How far the limbs of a weighted sum may grow: joining them adds less than 2^61 + 2^34, and 2^63 overflows."""


class Arithmetic(Protocol):
    """What depends on the size of the modulus: elementwise, on int64, without overflow.

    Results go to `out` and temporary values to `spare`, because tensors made anew for every block would cost more
    than the arithmetic. Limbs are pieces of a word below 2^32, along a first axis; sums of them need no reduction.
    """

    def multiply(self, first: Tensor, second: Tensor, out: Tensor, spare: Tensor) -> None:
        """Write the products of elements; `spare` has four tensors of their shape."""
        ...

    def product(self, first: Tensor, second: Tensor, out: Tensor, spare: Tensor) -> None:
        """Write non-negative words congruent to the products of elements, good enough to be split."""
        ...

    def split(self, words: Tensor, out: Tensor) -> Tensor:
        """Return the limbs of non-negative words, in at most the first two tensors of `out`."""
        ...

    def join(self, limbs: Tensor, out: Tensor, spare: Tensor, *, signed: bool) -> None:
        """Write the elements that sums of limbs, each at most _ROOM, stand for; overwrites limbs and `spare`."""
        ...

    def weighted(self, weights: Sequence[int], rows: Sequence[Tensor], out: Tensor, spare: Tensor) -> None:
        """Write the elements sum_i weights[i] rows[i], of limbs of elements and weights in [-p/2, p/2]."""
        ...


@dataclass(frozen=True)
class _Narrow:
    """A prime below 2^31: an element is its only limb, and a product of two fits a word."""

    modulus: int

    def multiply(self, first: Tensor, second: Tensor, out: Tensor, spare: Tensor) -> None:  # noqa: ARG002
        torch.mul(first, second, out=out).remainder_(self.modulus)

    product = multiply

    def split(self, words: Tensor, out: Tensor) -> Tensor:  # noqa: ARG002
        return words.unsqueeze(0)

    def join(self, limbs: Tensor, out: Tensor, spare: Tensor, *, signed: bool) -> None:  # noqa: ARG002
        torch.remainder(limbs[0], self.modulus, out=out)

    def weighted(self, weights: Sequence[int], rows: Sequence[Tensor], out: Tensor, spare: Tensor) -> None:  # noqa: ARG002
        out.zero_()
        used = 0
        for weight, row in zip(weights, rows, strict=True):
            cost = abs(weight) * self.modulus
            if used + cost > _ROOM:
                out.remainder_(self.modulus)
                used = self.modulus
            out.add_(row[0], alpha=weight)
            used += cost
        out.remainder_(self.modulus)


class _Mersenne:
    """The prime 2^61 - 1, modulo which a shift by 61 bits is nothing; a word is low + high 2^31."""

    def multiply(self, first: Tensor, second: Tensor, out: Tensor, spare: Tensor) -> None:
        self.product(first, second, out, spare)
        self._reduce(out, out, spare[0])

    def product(self, first: Tensor, second: Tensor, out: Tensor, spare: Tensor) -> None:
        first_high, second_low, second_high, middle = spare
        torch.bitwise_and(first, _LOW, out=out)
        torch.bitwise_right_shift(first, 31, out=first_high)
        self.split(second, spare[1:])
        torch.mul(out, second_high, out=middle)
        out.mul_(second_low)
        middle.add_(second_low.mul_(first_high))
        # high 2^62 is 2 high; the largest total, of two factors p, is 2^63 - 2^32 - 2^31 + 3.
        out.add_(first_high.mul_(second_high), alpha=2)
        self._fold(middle, out, spare[0])

    def split(self, words: Tensor, out: Tensor) -> Tensor:
        torch.bitwise_and(words, _LOW, out=out[0])
        torch.bitwise_right_shift(words, 31, out=out[1])
        return out[:2]

    def join(self, limbs: Tensor, out: Tensor, spare: Tensor, *, signed: bool) -> None:
        low, high = limbs.unbind()
        self._fold(high, low, spare)
        if signed:
            torch.remainder(low, MERSENNE_61, out=out)
        else:
            self._reduce(low, out, spare)

    def weighted(self, weights: Sequence[int], rows: Sequence[Tensor], out: Tensor, spare: Tensor) -> None:
        total, spare = spare[:2].zero_(), spare[2]
        used, signed = 0, False
        for weight, row in zip(weights, rows, strict=True):
            # weight = near + far 2^31, both balanced around zero; far = 0 for a small weight, the fast case.
            near = (weight + 2**30) % 2**31 - 2**30
            far = (weight - near) >> 31
            cost = (abs(near) + abs(far)) << 31
            if used + cost > _ROOM:
                self.join(total, out, spare, signed=signed)
                self.split(out, total)
                used, signed = 2**31, False
            total.add_(row, alpha=near)
            if far:  # far 2^31 (low + high 2^31) = 2 far high + far low 2^31
                total[0].add_(row[1], alpha=2 * far)
                total[1].add_(row[0], alpha=far)
            used, signed = used + cost, signed or near < 0 or far < 0
        self.join(total, out, spare, signed=signed)

    def _fold(self, high: Tensor, low: Tensor, spare: Tensor) -> None:
        """Add high 2^31 to low: for high = a 2^30 + b, that is a + b 2^31."""
        low.add_(torch.bitwise_right_shift(high, 30, out=spare))
        low.add_(high.bitwise_and_(2**30 - 1), alpha=2**31)

    def _reduce(self, words: Tensor, out: Tensor, spare: Tensor) -> None:
        # floor(w / p) is w + floor(w / 2^61) + 1 shifted by 61 bits, for 0 <= w <= 2^63 - 5.
        quotient = torch.bitwise_right_shift(words, 61, out=spare)
        torch.sub(words, quotient.add_(words).add_(1).bitwise_right_shift_(61), alpha=MERSENNE_61, out=out)


def arithmetic_of(modulus: int) -> Arithmetic:
    """Return the arithmetic modulo 2^61 - 1 or a prime below 2^31."""
    return _Mersenne() if modulus == MERSENNE_61 else _Narrow(modulus)
