"""Tables that everybody knows, read at a place that nobody does: comparisons with the bounds, and nothing after them.

A number that exceeds its first e bounds reads entry e. Bounds lie side by side as lanes, so that all comparisons run at
once; the entry's planes are the first entry's, XOR what changes at each exceeded bound, which is linear.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.secure_robust._circuits import greater_than_public, greater_than_public_layers
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._planes import to_planes, words_for

__all__ = ["Table", "planes_of_numbers", "read", "read_layers"]


@dataclass(frozen=True, kw_only=True)
class Table:
    """`entries[e]` belongs to numbers that exceed e of the ascending `bounds`; numbers have `planes` bits, of any size.

    `entries` is one longer than `bounds`, and entries are of `width` bits.
    """

    bounds: tuple[int, ...]
    entries: tuple[int, ...]
    planes: int
    width: int

    @property
    def words(self) -> int:
        """How many words the bounds take as lanes: numbers are given in all lanes of so many."""
        return words_for(len(self.bounds))


def read(bits: Engine, numbers: Shared, table: Table) -> Shared:
    """Return in lane 0 the entries (clusters, ..., width, 1) of numbers (clusters, ..., planes, words) in all lanes."""
    above = greater_than_public(bits, numbers, planes_of_numbers(table.bounds, table.planes))
    changes = [before ^ after for before, after in zip(table.entries, table.entries[1:], strict=False)]
    changed = _parity(bits.scale(above, planes_of_numbers(changes, table.width)))
    first = torch.tensor([[table.entries[0] >> plane & 1] for plane in range(table.width)])
    return bits.add_public(changed, first)


def read_layers(table: Table) -> Iterator[int]:
    """Yield how many planes of a number's words each layer opens."""
    return greater_than_public_layers(table.planes)


def planes_of_numbers(numbers: Sequence[int], planes: int) -> Tensor:
    """Return the planes (planes, words_for(numbers)) of numbers of any size, one lane a number."""
    bits = [[number >> plane & 1 for number in numbers] for plane in range(planes)]
    return to_planes(torch.tensor(bits, dtype=torch.int64), 1)[:, 0]


def _parity(value: Shared) -> Shared:
    """Return in lane 0 the XOR of all lanes of all words."""
    parts = _xor(value.parts.unbind(-1))
    for half in (32, 16, 8, 4, 2, 1):
        parts = parts ^ (parts >> half)
    return Shared(parts=(parts & 1)[..., None])


def _xor(tensors: Iterable[Tensor]) -> Tensor:
    first, *rest = tensors
    for each in rest:
        first = first ^ each
    return first
