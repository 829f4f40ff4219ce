"""Moving single bits between items and lanes: rearranging bits is linear, so every party does it to its own parts."""

import torch

from protocols.secure_robust._access import Access
from protocols.secure_robust._circuits import all_set, all_set_layers
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._opening import openings_cost
from protocols.secure_robust._planes import WORD_BITS, to_planes, words_for
from protocols.types import Cost

__all__ = ["all_lanes", "all_lanes_cost", "in_all_lanes", "items_as_lanes", "lanes_as_items"]

_HALVES = (32, 16, 8, 4, 2, 1)


def items_as_lanes(value: Shared, axis: int) -> Shared:
    """Return the bits in lane 0 of the items along an axis, one lane an item: that axis goes, words_for(items) come."""
    bits = value.parts[..., 0].movedim(axis + 1, -1) & 1
    return Shared(parts=to_planes(bits, 1)[..., 0, :])


def lanes_as_items(value: Shared, lanes: int) -> Shared:
    """Return each lane of values (clusters, ..., words) as an item of its own, in lane 0: (clusters, ..., lanes, 1)."""
    shifts = torch.arange(WORD_BITS)
    bits = (value.parts[..., None] >> shifts) & 1
    return Shared(parts=bits.flatten(-2)[..., :lanes, None].contiguous())


def all_lanes(bits: Engine, value: Shared) -> Shared:
    """Return in lane 0 whether all lanes of all words are set: values (clusters, items, 1, words) -> (.., 1, 1)."""
    clusters, items, _, words = value.shape
    value = all_set(bits, value.view(clusters, items, words, 1))
    for half in _HALVES:
        value = bits.products((value, Shared(parts=value.parts >> half)))
    return value


def all_lanes_cost(access: Access, *, values: int, coordinates: int) -> Cost:
    """Return what it costs for so many values of so many lanes."""
    layers = [*all_set_layers(words_for(coordinates)), *[1] * len(_HALVES)]
    return openings_cost(access, values, layers)


def in_all_lanes(value: Shared, lanes: int, words: int) -> Shared:
    """Return each lane of values (clusters, 1, planes, ..) as an item, in all lanes: (clusters, lanes, planes, ..)."""
    bits = lanes_as_items(value, lanes).parts[:, :, 0, :, :, 0].transpose(2, 3)
    return Shared(parts=(-bits)[..., None].expand(*bits.shape, words).contiguous())
