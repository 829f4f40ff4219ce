"""From words to planes of bits and back, by random numbers that are shared in both forms before any input is seen.

Each of t + 1 dealers, the first members, shares random words in both forms; the sums are unknown to any t members,
because one of the dealers is not among them, and sums are all that is used: XORs and sums of dealers' numbers are
computed on shares. A dealer that departs from the protocol could deal two forms that differ; its *input* cannot, as an
input has one form only.

Source: Escudero, Ghosh, Keller, Rachuri and Scholl 2020, CRYPTO (edaBits: random numbers in both forms, summed over
dealers by a binary adder); Rotaru and Wood 2019, INDOCRYPT (daBits: the same for single bits).
"""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from protocols.secure_robust._access import Access
from protocols.secure_robust._circuits import add, add_layers, negated, total, total_layers
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.secure_robust._opening import dealing_cost, opening_cost, openings_cost
from protocols.secure_robust._planes import WORD_BITS, from_planes, to_planes, words_for
from protocols.types import Cost

__all__ = [
    "Dealt",
    "as_words",
    "as_words_cost",
    "deal_bits",
    "deal_bits_cost",
    "deal_numbers",
    "deal_numbers_cost",
    "masked",
    "masked_cost",
    "planes_of",
    "planes_of_cost",
]

Draw = Callable[[tuple[int, ...]], Tensor]
"""This party's own secret uniform words of a shape, clusters first."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Dealt:
    """Random numbers in both forms: words (clusters, items, lanes), planes (clusters, items, bits, words of lanes)."""

    words: Shared
    planes: Shared


def deal_numbers(bits: Engine, draw: Draw, shape: tuple[int, int, int]) -> Dealt:
    """Return uniform 64-bit numbers, (clusters, items, lanes) of them."""
    own, words = draw(shape), bits.over(WORDS)
    shares = words.share_inputs(own, bits.dealers)
    planes = bits.share_inputs(to_planes(own, WORD_BITS), bits.dealers)
    return Dealt(words=words.sum(shares, 1), planes=total(bits, planes))


def deal_numbers_cost(access: Access, shape: tuple[int, int, int]) -> Cost:
    """Return what dealing numbers sends."""
    clusters, items, lanes = shape
    packed = clusters * items * words_for(lanes)
    cost = dealing_cost(access, words=clusters * items * lanes)
    cost = cost.then(dealing_cost(access, words=packed * WORD_BITS))
    return cost.then(openings_cost(access, packed, total_layers(access.threshold + 1, WORD_BITS)))


def deal_bits(bits: Engine, draw: Draw, shape: tuple[int, int, int]) -> Dealt:
    """Return uniform bits, (clusters, items, lanes) of them."""
    own, words = draw(shape) & 1, bits.over(WORDS)
    shares = words.share_inputs(own, bits.dealers)
    planes = bits.share_inputs(to_planes(own, 1), bits.dealers)
    summed = shares.take(1, [0])
    for dealer in range(1, bits.dealers):
        other = shares.take(1, [dealer])
        both = words.products((summed, other))
        summed = words.subtract(words.add(summed, other), words.add(both, both))  # a XOR b = a + b - 2 a b
    return Dealt(words=summed.view(*shape), planes=bits.sum(planes, 1))


def deal_bits_cost(access: Access, shape: tuple[int, int, int]) -> Cost:
    """Return what dealing bits sends."""
    clusters, items, lanes = shape
    cost = dealing_cost(access, words=clusters * items * lanes)
    cost = cost.then(dealing_cost(access, words=clusters * items * words_for(lanes)))
    return cost.then(openings_cost(access, clusters * items * lanes, [1] * access.threshold))


def masked(bits: Engine, value: Shared, dealt: Dealt) -> Tensor:
    """Return value + number, which all parties learn: words (clusters, items, lanes)."""
    words = bits.over(WORDS)
    return words.reveal(words.add(value, dealt.words))


def masked_cost(access: Access, shape: tuple[int, int, int]) -> Cost:
    """Return what masking sends."""
    clusters, items, lanes = shape
    return opening_cost(parties=access.parties, words=clusters * items * lanes)


def planes_of(bits: Engine, value: Shared, dealt: Dealt) -> Shared:
    """Return the 64 planes of words (clusters, items, lanes)."""
    # value = opened - number = opened + 1 + NOT number
    opened = to_planes(masked(bits, value, dealt) + 1, WORD_BITS)
    return add(bits, bits.public(opened), negated(bits, dealt.planes))


def planes_of_cost(access: Access, shape: tuple[int, int, int]) -> Cost:
    """Return what taking words apart sends."""
    clusters, items, lanes = shape
    packed = clusters * items * words_for(lanes)
    return masked_cost(access, shape).then(openings_cost(access, packed, add_layers(WORD_BITS)))


def as_words(bits: Engine, value: Shared, dealt: Dealt, lanes: int) -> Shared:
    """Return bits (clusters, items, 1, words of lanes) as words 0 or 1, (clusters, items, lanes)."""
    words = bits.over(WORDS)
    opened = from_planes(bits.reveal(bits.add(value, dealt.planes)), lanes) & 1
    return words.add_public(words.scale(dealt.words, 1 - 2 * opened), opened)


def as_words_cost(access: Access, shape: tuple[int, int, int]) -> Cost:
    """Return what turning bits into words sends."""
    clusters, items, lanes = shape
    return opening_cost(parties=access.parties, words=clusters * items * words_for(lanes))
