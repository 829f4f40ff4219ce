"""Who is nearest to its nearest others: what Krum selects, as shared words 0 or 1, one a member."""

import torch
from torch import Tensor

from protocols.secure_robust._access import Access
from protocols.secure_robust._circuits import total, total_layers
from protocols.secure_robust._conversions import Draw, as_words, as_words_cost, deal_bits, deal_bits_cost
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._lanes import items_as_lanes, lanes_as_items
from protocols.secure_robust._neighbours import (
    DISTANCE_PLANES,
    distances_of,
    first_places,
    first_places_cost,
    neighbours,
    neighbours_cost,
)
from protocols.secure_robust._opening import openings_cost
from protocols.secure_robust._planes import words_for
from protocols.types import Cost

__all__ = ["selected", "selected_cost", "selected_in_the_clear"]

_LOW = 2**32 - 1


def selected(bits: Engine, draw: Draw, values: Shared, *, nearest: int, count: int) -> Shared:
    """Return 0 or 1 for each member (clusters, members): is its score among the `count` smallest?

    A score is the sum of a member's `nearest` smallest squared distances to others. `values` are words (clusters,
    members, coordinates). What is dealt for it is metered as offline.
    """
    clusters, members, _ = values.shape
    with bits.offline():
        coins = deal_bits(bits, draw, (clusters, 1, members))
    scores = _scores(bits, neighbours(bits, values, draw).distances, nearest)
    best = items_as_lanes(first_places(bits, scores, count), 1)
    return as_words(bits, best.view(clusters, 1, *best.shape[1:]), coins, members).view(clusters, members)


def selected_cost(
    access: Access, *, clusters: int, coordinates: int, nearest: int, members: int | None = None
) -> tuple[Cost, Cost]:
    """Return what it sends offline and online; by default every party is a member."""
    members = access.parties if members is None else members
    shape = (clusters, 1, members)
    offline, online = neighbours_cost(access, clusters=clusters, coordinates=coordinates, members=members)
    online = online.then(_scores_cost(access, clusters, members, nearest))
    planes = _score_planes(nearest)
    online = online.then(first_places_cost(access, numbers=members, planes=planes, words=clusters))
    return offline.then(deal_bits_cost(access, shape)), online.then(as_words_cost(access, shape))


def selected_in_the_clear(words: Tensor, *, nearest: int, count: int) -> Tensor:
    """Return the members (clusters, count) whose scores are smallest, of words (clusters, members, coordinates)."""
    smallest = distances_of(words).sort(dim=2).values[:, :, :nearest]
    # Scores may have more than 63 bits: compare their upper parts first.
    low = (smallest & _LOW).sum(dim=2)
    high = (smallest >> 32).sum(dim=2) + (low >> 32)
    by_low = (low & _LOW).argsort(dim=1, stable=True)
    return by_low.gather(1, high.gather(1, by_low).argsort(dim=1, stable=True))[:, :count]


def _score_planes(nearest: int) -> int:
    return DISTANCE_PLANES + (nearest - 1).bit_length()


def _scores(bits: Engine, distances: Shared, nearest: int) -> Shared:
    """Return the sums of each member's smallest distances, one item a member: (clusters, members, planes, 1)."""
    clusters, others, planes, words = distances.shape
    kept = bits.products((first_places(bits, distances, nearest), distances))
    room = torch.zeros(clusters, others, _score_planes(nearest) - planes, words, dtype=torch.int64)
    sums = lanes_as_items(total(bits, bits.join([kept, bits.public(room)], 2)), others + 1)
    return Shared(parts=sums.parts.transpose(2, 3).contiguous())


def _scores_cost(access: Access, clusters: int, members: int, nearest: int) -> Cost:
    others, words = members - 1, clusters * words_for(members)
    cost = first_places_cost(access, numbers=others, planes=DISTANCE_PLANES, words=words)
    layers = [others * DISTANCE_PLANES, *total_layers(others, _score_planes(nearest))]
    return cost.then(openings_cost(access, words, layers))
