"""The reference engine: exact rationals, by counting placements in Python integers.

A polynomial with counts as coefficients becomes one large integer (Kronecker's substitution: each variable is
a power of two large enough that coefficients never touch), so that a product is one multiplication of integers.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from itertools import product

from protocols.tolerance.parts import Mask, NotExactError, Part, check_counts

__all__ = ["exact_any_bad", "exact_distribution", "exact_tail"]

_MOST_BITS = 2**28


def exact_any_bad(parts: Sequence[Part], n: int, faulty: int) -> Fraction:
    """Return P(some cluster is bad) when `faulty` of n processes are drawn uniformly: 1 - [z^f] prod g_j / C(n, f).

    Meant for n up to a few thousand. Raises: CloisterError where the parts do not hold n processes.
    """
    check_counts(parts, n, (faulty,))
    bits = n + 1
    keep = (1 << (bits * (faulty + 1))) - 1  # degrees beyond f never come back
    total = 1
    for part in parts:
        base = sum(math.comb(part.size, x) << (bits * x) for x in range(part.size + 1) if part.safe[x])
        total = total * _power(base, part.count, keep) & keep
    return 1 - Fraction(total >> (bits * faulty), math.comb(n, faulty))


def _power(base: int, exponent: int, keep: int) -> int:
    result = 1
    while exponent:
        if exponent & 1:
            result = result * base & keep
        base = base * base & keep
        exponent >>= 1
    return result


def exact_distribution(parts: Sequence[Part], n: int, counts: Sequence[int]) -> list[Fraction]:
    """Return P(K = k and nothing forbidden) for k = 0..m: K counts the bad clusters; counts[i] faulty of kind i.

    Raises: NotExactError where the integers would not fit in memory (n of some hundreds, fewer with more kinds).

    Guarantees:
        With nothing forbidden, the probabilities add up to exactly 1.
    """
    check_counts(parts, n, counts)
    m = sum(part.count for part in parts)
    bits = n * math.ceil(math.log2(len(counts) + 1)) + 2
    strides = [bits * (n + 1) ** i for i in range(len(counts) + 1)]
    if strides[-1] * (m + 1) > _MOST_BITS:
        raise NotExactError(f"n = {n} with {len(counts)} kinds of fault is too large for exact integers")
    total = 1
    for part in parts:
        safe, bad = (_packed(mask, part.size, strides) for mask in (part.safe, part.bad))
        total *= (safe + (bad << strides[-1])) ** part.count
    start = sum(count * stride for count, stride in zip(counts, strides, strict=False))
    whole = _multinomial(n, counts)
    one = (1 << bits) - 1
    return [Fraction(total >> (start + k * strides[-1]) & one, whole) for k in range(m + 1)]


def _packed(mask: Mask, size: int, strides: Sequence[int]) -> int:
    total = 0
    for x in product(range(size + 1), repeat=mask.ndim):
        if sum(x) <= size and mask[x]:
            total += _multinomial(size, x) << sum(i * stride for i, stride in zip(x, strides, strict=False))
    return total


def _multinomial(n: int, counts: Sequence[int]) -> int:
    ways, left = 1, n
    for count in counts:
        ways *= math.comb(left, count)
        left -= count
    return ways


def exact_tail(parts: Sequence[Part], n: int, counts: Sequence[int], most: int) -> Fraction:
    """Return P(K > most and nothing forbidden), a rational."""
    return sum(exact_distribution(parts, n, counts)[most + 1 :], Fraction(0))
