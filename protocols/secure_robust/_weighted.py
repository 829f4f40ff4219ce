"""Opening a sum of weight x update, whole or in whole units only, in waves of coordinates."""

from collections.abc import Iterator

import torch
from torch import Tensor

from protocols.secure_robust._access import Access
from protocols.secure_robust._conversions import Draw, deal_numbers, deal_numbers_cost, planes_of, planes_of_cost
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.secure_robust._opening import opening_cost
from protocols.secure_robust._planes import WORD_BITS, from_planes, words_for
from protocols.secure_robust._waves import waves
from protocols.types import Cost

__all__ = ["open_sum", "open_sum_cost", "open_whole_units", "open_whole_units_cost"]


def open_sum(bits: Engine, weights: Shared, values: Shared) -> Tensor:
    """Return the sums (clusters, coordinates) of weight x update: words (clusters, members) and (.., coordinates)."""
    clusters, members, coordinates = values.shape
    words, each = bits.over(WORDS), weights.view(clusters, members, 1)
    opened: list[Tensor] = []
    for start, stop in _waves(bits.access, clusters, members, coordinates):
        opened.append(words.reveal_products((each, values.narrow(2, start, stop)), fold=1))
    return torch.cat(opened, dim=1)


def open_sum_cost(access: Access, *, clusters: int, coordinates: int) -> Cost:
    """Return what opening one word a coordinate sends, in the waves of `open_sum`."""
    cost = Cost.none()
    for start, stop in _waves(access, clusters, access.parties, coordinates):
        cost = cost.then(opening_cost(parties=access.parties, words=clusters * (stop - start)))
    return cost


def open_whole_units(bits: Engine, draw: Draw, weights: Shared, values: Shared, fraction: int) -> Tensor:
    """Return the sums of weight x update, weights being multiples of 2^-fraction, each rounded down to whole units.

    What is below a unit stays shared. What is dealt for it, see `_scan`, is metered as offline.
    """
    clusters, members, coordinates = values.shape
    words, each = bits.over(WORDS), weights.view(clusters, members, 1)
    opened: list[Tensor] = []
    for start, stop in _waves(bits.access, clusters, members, coordinates):
        shape = (clusters, 1, stop - start)
        with bits.offline():
            hiding = deal_numbers(bits, draw, shape)
        sums = words.products((each, values.narrow(2, start, stop)), fold=1)
        planes = planes_of(bits, sums.view(*shape), hiding)
        whole = bits.reveal(planes.take(2, range(fraction, WORD_BITS)))
        opened.append(from_planes(whole, stop - start).view(clusters, stop - start))
    return torch.cat(opened, dim=1)


def open_whole_units_cost(access: Access, *, clusters: int, coordinates: int, fraction: int) -> tuple[Cost, Cost]:
    """Return what `open_whole_units` sends offline and online."""
    offline, online = Cost.none(), Cost.none()
    for start, stop in _waves(access, clusters, access.parties, coordinates):
        shape = (clusters, 1, stop - start)
        offline = offline.then(deal_numbers_cost(access, shape))
        online = online.then(opening_cost(parties=access.parties, words=clusters * (stop - start)))
        online = online.then(planes_of_cost(access, shape))
        whole = clusters * words_for(stop - start) * (WORD_BITS - fraction)
        online = online.then(opening_cost(parties=access.parties, words=whole))
    return offline, online


def _waves(access: Access, clusters: int, members: int, coordinates: int) -> Iterator[tuple[int, int]]:
    """Yield the waves: the words of every member are live."""
    return waves(access, clusters=clusters, coordinates=coordinates, live=WORD_BITS * members)
