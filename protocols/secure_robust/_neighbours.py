"""Who is nearest to whom: squared distances of all pairs from one opening, then comparisons, nothing of which opens.

A member with a coordinate out of range is far from everybody: its distances get a bit above all that squares can
reach, whatever they wrapped around to. Of equal distances that to the member with the lower number counts as nearer.
"""

from dataclasses import dataclass
from itertools import combinations

import torch
from torch import Tensor

from protocols.secure_robust._access import Access
from protocols.secure_robust._checked import Range, in_range_in_the_clear
from protocols.secure_robust._circuits import greater_than_public, greater_than_public_layers, negated
from protocols.secure_robust._conversions import Draw, deal_numbers, deal_numbers_cost, planes_of, planes_of_cost
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._lanes import items_as_lanes, lanes_as_items
from protocols.secure_robust._opening import opening_cost, openings_cost
from protocols.secure_robust._planes import WORD_BITS, words_for
from protocols.secure_robust._ranking import places_of, places_of_comparisons, places_of_layers
from protocols.secure_robust._scan import scan, scan_cost
from protocols.types import Cost

__all__ = [
    "DISTANCE_PLANES",
    "Neighbours",
    "among_first",
    "distances_of",
    "first_places",
    "first_places_cost",
    "neighbours",
    "neighbours_cost",
    "others_of",
    "range_for",
]

DISTANCE_PLANES = 63
"""62 bits of a squared distance, and above them one for members that are out of range."""
_BEYOND = 1 << (DISTANCE_PLANES - 1)


def range_for(coordinates: int) -> Range:
    """Return the range whose differences have squares that add up below 2^62: a difference has one bit more."""
    return Range.widest(coordinates, spare=2)


@dataclass(frozen=True, kw_only=True, eq=False)
class Neighbours:
    """One lane a member: whether it is in range (clusters, 1, 1, words), and its squared distance to each other member
    (clusters, others, planes, words), of which the top plane says that one of both is not."""

    in_range: Shared
    distances: Shared


def neighbours(bits: Engine, values: Shared, draw: Draw) -> Neighbours:
    """Return the squared distances of words (clusters, members, coordinates).

    What is dealt for it, see `_scan`, is metered as offline.
    """
    clusters, members, coordinates = values.shape
    pairs = list(combinations(range(members), 2))
    low, high = [i for i, _ in pairs], [j for _, j in pairs]

    def squared(words: Engine, wave: Shared) -> Shared:
        apart = words.subtract(wave.take(1, low), wave.take(1, high))
        return words.products((apart, apart), fold=2)

    inside, squares = scan(bits, values, draw, range_for(coordinates), squared, live=_live_words(members))
    with bits.offline():
        hiding = deal_numbers(bits, draw, (clusters, 1, len(pairs)))
    planes = planes_of(bits, squares.view(clusters, 1, len(pairs)), hiding).take(2, range(DISTANCE_PLANES - 1))
    each = lanes_as_items(inside, members)
    both = bits.products((items_as_lanes(each.take(3, low), 3), items_as_lanes(each.take(3, high), 3)))
    distances = lanes_as_items(bits.join([planes, negated(bits, both)], 2), len(pairs))
    # From one lane a pair to one lane a member, for each of the others in turn.
    columns = zip(*others_of(members), strict=True)
    laid_out = ((i, j) for column in columns for i, j in enumerate(column))
    order = [pairs.index((min(i, j), max(i, j))) for i, j in laid_out]
    spread = distances.view(clusters, DISTANCE_PLANES, len(pairs), 1).take(2, order)
    laid = items_as_lanes(spread.view(clusters, DISTANCE_PLANES, members - 1, members, 1), 3)
    return Neighbours(in_range=inside, distances=Shared(parts=laid.parts.transpose(2, 3).contiguous()))


def others_of(members: int) -> list[list[int]]:
    """Return for each member the others in the order of its distances: by their numbers."""
    return [[other for other in range(members) if other != member] for member in range(members)]


def _live_words(members: int) -> int:
    """Return how many words are live for each 64 coordinates: the differences of all pairs, or all members' planes."""
    return WORD_BITS * max(members, members * (members - 1) // 2)


def neighbours_cost(
    access: Access, *, clusters: int, coordinates: int, members: int | None = None
) -> tuple[Cost, Cost]:
    """Return what distances send offline and online; by default every party is a member."""
    members = access.parties if members is None else members
    limits = range_for(coordinates)
    pairs = members * (members - 1) // 2
    shape = (clusters, 1, pairs)
    live = _live_words(members)
    offline, online = scan_cost(access, clusters=clusters, limits=limits, sums=pairs, live=live, members=members)
    online = online.then(planes_of_cost(access, shape))
    online = online.then(opening_cost(parties=access.parties, words=clusters * words_for(pairs)))
    return offline.then(deal_numbers_cost(access, shape)), online


def first_places(bits: Engine, numbers: Shared, kept: int) -> Shared:
    """Return which numbers (clusters, n, planes, words) are among the `kept` smallest: (clusters, n, 1, words)."""
    return among_first(bits, places_of(bits, numbers), kept)


def among_first(bits: Engine, places: Shared, kept: int) -> Shared:
    """Return which places (clusters, n, planes, words) are below `kept`: (clusters, n, 1, words)."""
    last = torch.tensor([[-(kept - 1 >> plane & 1)] for plane in range(places.shape[2])])
    return negated(bits, greater_than_public(bits, places, last))


def first_places_cost(access: Access, *, numbers: int, planes: int, words: int) -> Cost:
    """Return what it costs for so many words of lanes."""
    pairs = places_of_comparisons(numbers)
    cost = openings_cost(access, words, places_of_layers(numbers, planes), comparisons=pairs)
    layers = greater_than_public_layers((numbers - 1).bit_length())
    return cost.then(openings_cost(access, words * numbers, layers, comparisons=1))


def distances_of(words: Tensor) -> Tensor:
    """Return the same distances in the clear: (clusters, members, others) of words (clusters, members, coordinates)."""
    clusters, members, coordinates = words.shape
    inside = in_range_in_the_clear(words, range_for(coordinates).bits)
    squares = [(words - words[:, member, None]).square().sum(dim=2) & (_BEYOND - 1) for member in range(members)]
    beyond = ~(inside[:, :, None] & inside[:, None, :])
    distances = torch.stack(squares, dim=1) + beyond * _BEYOND
    return distances.gather(2, torch.tensor(others_of(members)).expand(clusters, members, members - 1))
