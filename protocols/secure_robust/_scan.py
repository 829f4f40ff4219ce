"""Looking at all coordinates of whole updates, in waves: is each in range, and what do their squares add up to.

Every wave deals its random numbers just before it uses them, metered as offline: whoever has the memory for all of them
may deal them before there is any input, as nothing in them depends on one.
"""

from collections.abc import Callable, Sequence

from protocols.secure_robust._access import Access
from protocols.secure_robust._checked import Range, in_range, in_range_cost
from protocols.secure_robust._circuits import all_set, all_set_layers
from protocols.secure_robust._conversions import Draw, deal_numbers, deal_numbers_cost
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.secure_robust._lanes import items_as_lanes
from protocols.secure_robust._opening import opening_cost, openings_cost
from protocols.secure_robust._planes import WORD_BITS
from protocols.secure_robust._waves import waves
from protocols.types import Cost

__all__ = ["live_words", "scan", "scan_cost", "scan_ranges", "scan_ranges_cost"]

SumOfSquares = Callable[[Engine, Shared], Shared]
"""From an engine of words and a wave of words (clusters, members, coordinates) to sums over it (clusters, sums)."""


def scan(
    bits: Engine, values: Shared, draw: Draw, limits: Range, squared: SumOfSquares, *, live: int
) -> tuple[Shared, Shared]:
    """Return whether each member is in range, one lane a member (clusters, 1, 1, words), and the sums of all waves.

    `values` are words (clusters, members, coordinates); the sums are words (clusters, sums).
    """
    clusters, _, coordinates = values.shape
    words = bits.over(WORDS)
    flags: list[Shared] = []
    sums: list[Shared] = []
    for start, stop in waves(bits.access, clusters=clusters, coordinates=coordinates, live=live):
        wave = values.narrow(2, start, stop)
        flags.append(_wave_in_range(bits, wave, draw, limits.bits))
        sums.append(squared(words, wave))
    stacked = words.join([each.view(clusters, 1, each.shape[1]) for each in sums], 1)
    return _in_all_waves(bits, flags), words.sum(stacked, 1)


def scan_ranges(bits: Engine, values: Shared, draw: Draw, limit: int) -> Shared:
    """Return whether all of each member's coordinates are in -2^limit .. 2^limit - 1, as `scan` does."""
    clusters, members, coordinates = values.shape
    flags: list[Shared] = []
    for start, stop in waves(bits.access, clusters=clusters, coordinates=coordinates, live=live_words(members)):
        flags.append(_wave_in_range(bits, values.narrow(2, start, stop), draw, limit))
    return _in_all_waves(bits, flags)


def live_words(members: int) -> int:
    """Return how many words are live for each 64 coordinates: every member's, or as many planes of its bits."""
    return WORD_BITS * members


def _wave_in_range(bits: Engine, wave: Shared, draw: Draw, limit: int) -> Shared:
    with bits.offline():
        dealt = deal_numbers(bits, draw, (wave.shape[0], wave.shape[1], wave.shape[2]))
    return in_range(bits, wave, dealt, limit)


def _in_all_waves(bits: Engine, flags: Sequence[Shared]) -> Shared:
    """Return of flags (clusters, members, 1, 1), one a wave, whether all are set, one lane a member."""
    clusters, members = flags[0].shape[:2]
    everywhere = all_set(bits, bits.join(flags, 2)).view(clusters, members, 1)
    packed = items_as_lanes(everywhere, 1)
    return packed.view(clusters, 1, 1, packed.shape[1])


def scan_cost(
    access: Access, *, clusters: int, limits: Range, sums: int, live: int, members: int | None = None
) -> tuple[Cost, Cost]:
    """Return what a scan sends offline and online; by default every party is a member."""
    members = access.parties if members is None else members
    offline, online, count = Cost.none(), Cost.none(), 0
    for start, stop in waves(access, clusters=clusters, coordinates=limits.coordinates, live=live):
        shape = (clusters, members, stop - start)
        offline = offline.then(deal_numbers_cost(access, shape))
        online = online.then(in_range_cost(access, shape, limits.bits))
        online = online.then(opening_cost(parties=access.parties, words=clusters * sums))
        count += 1
    return offline, online.then(openings_cost(access, clusters * members, all_set_layers(count)))


def scan_ranges_cost(access: Access, shape: tuple[int, int, int], limit: int) -> tuple[Cost, Cost]:
    """Return what `scan_ranges` of words (clusters, members, coordinates) sends offline and online."""
    clusters, members, coordinates = shape
    offline, online, count = Cost.none(), Cost.none(), 0
    for start, stop in waves(access, clusters=clusters, coordinates=coordinates, live=live_words(members)):
        wave = (clusters, members, stop - start)
        offline = offline.then(deal_numbers_cost(access, wave))
        online = online.then(in_range_cost(access, wave, limit))
        count += 1
    return offline, online.then(openings_cost(access, clusters * members, all_set_layers(count)))
