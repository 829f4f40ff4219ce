"""The sum of the middle values of every coordinate, of words that are shared: taken apart into bits, then ordered."""

from collections.abc import Iterator

from torch import Tensor

from protocols.ring import FixedPoint
from protocols.secure_robust._access import Access
from protocols.secure_robust._conversions import Draw, deal_numbers, deal_numbers_cost, planes_of, planes_of_cost
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._middle import middle_sums, shared_middle, shared_middle_layers
from protocols.secure_robust._opening import openings_cost
from protocols.secure_robust._planes import WORD_BITS, words_for
from protocols.secure_robust._ranking import places_of_comparisons
from protocols.secure_robust._waves import waves
from protocols.types import Cost

__all__ = ["combined_middle", "combined_middle_cost", "middle_in_the_clear"]

_WORDS = FixedPoint(fraction_bits=0)


def combined_middle(bits: Engine, draw: Draw, values: Shared, trim: int) -> Shared:
    """Return the planes of the sums of words without `trim` at each end of every coordinate, in waves of coordinates.

    A random number is dealt for each word.
    """
    clusters, groups, coordinates = values.shape
    planes: list[Shared] = []
    for start, stop in _waves(bits.access, clusters, groups, coordinates):
        with bits.offline():
            dealt = deal_numbers(bits, draw, (clusters, groups, stop - start))
        planes.append(shared_middle(bits, planes_of(bits, values.narrow(2, start, stop), dealt), trim=trim))
    return bits.join(planes, 2)  # all waves but the last fill whole words of lanes


def middle_in_the_clear(values: Tensor, trim: int) -> Tensor:
    """Return the same words in the clear."""
    return middle_sums(_WORDS, values, trim)


def combined_middle_cost(access: Access, shape: tuple[int, int, int], trim: int) -> tuple[Cost, Cost]:
    """Return what it sends offline and online."""
    clusters, groups, coordinates = shape
    layers, pairs = tuple(shared_middle_layers(groups, WORD_BITS, trim)), places_of_comparisons(groups)
    offline, online = Cost.none(), Cost.none()
    for start, stop in _waves(access, clusters, groups, coordinates):
        wave = (clusters, groups, stop - start)
        offline = offline.then(deal_numbers_cost(access, wave))
        online = online.then(planes_of_cost(access, wave))
        online = online.then(openings_cost(access, clusters * words_for(stop - start), layers, comparisons=pairs))
    return offline, online


def _waves(access: Access, clusters: int, groups: int, coordinates: int) -> Iterator[tuple[int, int]]:
    """Yield the waves: all pairs of groups are compared at once, and each of t + 1 dealers deals for each group."""
    live = WORD_BITS * max(groups * (groups - 1) // 2, groups * (access.threshold + 1))
    return waves(access, clusters=clusters, coordinates=coordinates, live=live)
