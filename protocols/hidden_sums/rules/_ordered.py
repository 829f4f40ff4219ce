"""The sum of the middle values of every coordinate, of words that are shared: taken apart into bits, then ordered."""

from collections.abc import Callable
from functools import partial

from torch import Tensor

from protocols.ring import FixedPoint
from protocols.secure_robust._access import Access
from protocols.secure_robust._conversions import (
    Dealt,
    Draw,
    deal_numbers,
    deal_numbers_cost,
    planes_of,
    planes_of_cost,
)
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._middle import middle_sums, shared_middle, shared_middle_layers
from protocols.secure_robust._opening import openings_cost
from protocols.secure_robust._planes import WORD_BITS, words_for
from protocols.types import Cost

__all__ = ["middle_in_the_clear", "prepare_middle", "shared_middle_cost"]

_WORDS = FixedPoint(fraction_bits=0)


def prepare_middle(bits: Engine, draw: Draw, shape: tuple[int, int, int], trim: int) -> Callable[[Shared], Shared]:
    """Deal one random number a word; return what adds up the words without `trim` at each end of every coordinate."""
    return partial(_middle, bits, deal_numbers(bits, draw, shape), trim)


def _middle(bits: Engine, dealt: Dealt, trim: int, values: Shared) -> Shared:
    return shared_middle(bits, planes_of(bits, values, dealt), trim=trim)


def middle_in_the_clear(values: Tensor, trim: int) -> Tensor:
    """Return the same words in the clear."""
    return middle_sums(_WORDS, values, trim)


def shared_middle_cost(access: Access, shape: tuple[int, int, int], trim: int) -> tuple[Cost, Cost]:
    """Return what it sends offline and online."""
    clusters, groups, coordinates = shape
    layers = shared_middle_layers(groups, WORD_BITS, trim)
    comparing = openings_cost(access, clusters * words_for(coordinates), layers)
    return deal_numbers_cost(access, shape), planes_of_cost(access, shape).then(comparing)
