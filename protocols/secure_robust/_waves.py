"""Waves of coordinates, which bound the memory of a party; how wide they are follows from public sizes alone."""

from collections.abc import Iterator

from protocols.secure_robust._access import Access
from protocols.secure_robust._planes import WORD_BITS

__all__ = ["waves"]

_WAVE_WORDS = 2**22
"""So many int64 words of a party's parts are live in one layer: 32 MiB."""


def waves(access: Access, *, clusters: int, coordinates: int, live: int) -> Iterator[tuple[int, int]]:
    """Yield the coordinates [start, stop) that are computed at a time: all at once where memory allows.

    `live` is how many words are live for each 64 coordinates of a cluster, in one part: a plane of bits is one such
    word, the coordinates' own words are 64.

    Guarantees:
        A layer of a wave holds at most 2^22 words of a party's parts, or the least that there is: 64 coordinates.
    """
    parts = 1 + max(len(access.groups(rank)) for rank in range(access.parties))
    width = WORD_BITS * max(1, _WAVE_WORDS // (parts * clusters * live))
    for start in range(0, coordinates, width):
        yield start, min(start + width, coordinates)
