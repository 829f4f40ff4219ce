"""The densest majority: the ball around a member that holds more than half of the members and is the smallest.

Of equal radii that around the member with the lower number is taken, of equal distances that to the lower number.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocols.secure_robust._access import Access
from protocols.secure_robust._checked import public_number
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._lanes import items_as_lanes, lanes_as_items
from protocols.secure_robust._neighbours import (
    DISTANCE_PLANES,
    Neighbours,
    among_first,
    distances_of,
    first_places,
    first_places_cost,
    others_of,
)
from protocols.secure_robust._opening import openings_cost
from protocols.secure_robust._planes import to_planes, words_for
from protocols.secure_robust._ranking import at_places, at_places_layers, places_of
from protocols.secure_robust._weiszfeld import SHARE_BITS, Cloud
from protocols.types import Cost

__all__ = ["densest", "densest_cost", "densest_in_the_clear"]

_SQUARE_PLANES = DISTANCE_PLANES - 1
"""Without the plane that says that a member is out of range."""


def densest(bits: Engine, near: Neighbours) -> tuple[Shared, Cloud]:
    """Return the mean of the densest majority as weights of the members, and what steps from it need to know.

    Weights (clusters, 1, 13, words) are in units of 2^-12, one lane a member; the anchor is the member in the middle.
    """
    distances = near.distances
    clusters, others, planes, words = distances.shape
    members = others + 1
    kept = _majority(members) - 1
    places = places_of(bits, distances)
    closest = among_first(bits, places, kept)
    last = at_places(bits, places, [kept - 1])
    radii = bits.products((last, distances.view(clusters, 1, others, planes, words)), fold=2)
    each = lanes_as_items(radii, members).parts[:, :, 0].transpose(2, 3).contiguous()
    smallest = first_places(bits, Shared(parts=each), 1)
    anchor = items_as_lanes(smallest, 1).view(clusters, 1, 1, words)
    in_ball = bits.add(_targets(bits.products((closest, anchor)), members), anchor)
    share, rest = _start_shares(members)
    digits = [public_number(number)[: SHARE_BITS + 1] for number in (share, share ^ rest)]
    shares = bits.add(bits.scale(in_ball, digits[0]), bits.scale(anchor, digits[1]))
    return shares, Cloud(squares=_matrix(distances, members), in_range=near.in_range, anchor=anchor)


def densest_cost(access: Access, *, clusters: int) -> Cost:
    """Return what it sends: nothing that grows with the number of coordinates."""
    members, others = access.parties, access.parties - 1
    lanes = clusters * words_for(members)
    cost = first_places_cost(access, numbers=others, planes=DISTANCE_PLANES, words=lanes)
    cost = cost.then(openings_cost(access, lanes, [*at_places_layers(others, 1), DISTANCE_PLANES]))
    cost = cost.then(first_places_cost(access, numbers=members, planes=DISTANCE_PLANES, words=clusters))
    return cost.then(openings_cost(access, lanes, [others]))


def densest_in_the_clear(words: Tensor) -> tuple[NDArray[Any], NDArray[Any], Tensor]:
    """Return the same weights (clusters, members) and squared distances (clusters, members, members), as Python
    integers, and whether a member is the anchor (clusters, members)."""
    clusters, members, _ = words.shape
    distances, kept = distances_of(words), _majority(members) - 1
    order = distances.argsort(dim=2, stable=True)
    radii = distances.gather(2, order[:, :, kept - 1 : kept])[:, :, 0]
    first = radii.argsort(dim=1, stable=True)[:, 0]
    anchor = torch.nn.functional.one_hot(first, members).bool()
    others = torch.tensor(others_of(members)).expand(clusters, -1, -1)
    near = others.gather(2, order[:, :, :kept])[torch.arange(clusters), first]
    share, rest = _start_shares(members)
    shares = torch.zeros(clusters, members, dtype=torch.int64).scatter(1, near, share).masked_fill(anchor, rest)
    squares = torch.zeros(clusters, members, members, dtype=torch.int64)
    squares.scatter_(2, others, distances & ((1 << _SQUARE_PLANES) - 1))
    return shares.numpy().astype(object), np.asarray(squares.numpy().astype(object)), anchor


def _majority(members: int) -> int:
    return members // 2 + 1


def _start_shares(members: int) -> tuple[int, int]:
    """Return the weights of all others in the ball, and of the member in the middle: what is left of 2^12."""
    others = _majority(members) - 1
    share = (1 << SHARE_BITS) // (others + 1)
    return share, (1 << SHARE_BITS) - others * share


def _targets(ball: Shared, members: int) -> Shared:
    """Return who is somebody's neighbour, (clusters, 1, 1, words), of (clusters, others, 1, words), one lane a member.

    At most one member has neighbours, so that sums modulo 2 count them.
    """
    bits = lanes_as_items(ball, members).parts[:, :, :, 0, :, 0]
    whose = torch.tensor(others_of(members))
    place = torch.tensor([[j - (j > m) for m in others] for j, others in enumerate(others_of(members))])
    named = bits[:, :, place, whose].sum(dim=3) & 1
    return Shared(parts=to_planes(named, 1)[:, :, None])


def _matrix(distances: Shared, members: int) -> Shared:
    """Return the distances of all pairs without their top plane: (clusters, members, planes, words), one lane each."""
    items = lanes_as_items(distances.take(2, range(_SQUARE_PLANES)), members).parts[..., 0].transpose(2, 3)
    place = torch.tensor([[max(i - (i > j), 0) % (members - 1) for j in range(members)] for i in range(members)])
    pairs = items[:, :, :, place, torch.arange(members)] * (1 - torch.eye(members, dtype=torch.int64))
    return Shared(parts=to_planes(pairs.transpose(2, 3).contiguous(), 1)[..., 0, :])
