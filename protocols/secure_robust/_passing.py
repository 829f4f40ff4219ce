"""Members whose inputs are checked inside the MPC: who passes is opened, and the words of the others count as absent.

A range check shows that no sum of so many members' words can wrap around: any word is in or out of range, and of c
members' words in -2^limit .. 2^limit - 1 with c 2^limit <= 2^62 the sum is that of the integers, with as much room
again for noise. So a change of one member's word moves the sum by just that, whatever the other members entered.
"""

from torch import Tensor

from protocols.check import CloisterError
from protocols.secure_robust._access import Access
from protocols.secure_robust._conversions import Draw
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._opening import opening_cost
from protocols.secure_robust._planes import from_planes, words_for
from protocols.secure_robust._scan import scan_ranges, scan_ranges_cost
from protocols.types import Cost

__all__ = ["counted", "open_in_range", "open_in_range_cost", "opened_flags", "widest_limit"]

_ROOM = 62
"""Sums of checked words stay within +-2^62; the noise on them has as much."""


def widest_limit(terms: int) -> int:
    """Return the largest limit at which no sum of so many words in -2^limit .. 2^limit - 1 is beyond +-2^62."""
    limit = _ROOM - (terms - 1).bit_length()
    if limit < 1:
        raise CloisterError(f"sums of {terms} words may wrap around in 64 bits; allowed: fewer words, smaller weights")
    return limit


def open_in_range(bits: Engine, draw: Draw, values: Shared, limit: int) -> Tensor:
    """Return 0 or 1 for each member (clusters, members), which all parties learn: are all of its coordinates in range?

    `values` are words (clusters, members, coordinates). What is dealt for it, see `_scan`, is metered as offline.
    """
    return opened_flags(bits.reveal(scan_ranges(bits, values, draw, limit)), values.shape[1])


def opened_flags(opened: Tensor, members: int) -> Tensor:
    """Return opened bits (clusters, 1, 1, words), one lane a member, as 0 or 1 for each member (clusters, members)."""
    return from_planes(opened, members)[:, 0] & 1


def open_in_range_cost(access: Access, shape: tuple[int, int, int], limit: int) -> tuple[Cost, Cost]:
    """Return what it sends offline and online for words (clusters, members, coordinates)."""
    clusters, members, _ = shape
    offline, online = scan_ranges_cost(access, shape, limit)
    return offline, online.then(opening_cost(parties=access.parties, words=clusters * words_for(members)))


def counted(passing: Tensor, least: int) -> Tensor:
    """Return whose words count (clusters, members): who passes, and nobody in a cluster where fewer than `least` do."""
    return passing * (passing.sum(dim=1, keepdim=True) >= least)
