"""Squared lengths of members' updates as numbers in planes, beside whether their coordinates are in range."""

from dataclasses import dataclass

from protocols.secure_robust._access import Access
from protocols.secure_robust._checked import Range
from protocols.secure_robust._conversions import Draw, deal_numbers, deal_numbers_cost, planes_of, planes_of_cost
from protocols.secure_robust._engine import Engine, Shared
from protocols.secure_robust._scan import live_words, scan, scan_cost
from protocols.types import Cost

__all__ = ["Lengths", "lengths_cost", "squared_lengths"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Lengths:
    """One lane a member: whether it is in range (clusters, 1, 1, words), its squared length (clusters, 1, 64, words).

    The squared length is that of the words; it means nothing where the member is out of range.
    """

    in_range: Shared
    squares: Shared


def squared_lengths(bits: Engine, values: Shared, draw: Draw, limits: Range) -> Lengths:
    """Return the squared lengths of words (clusters, members, coordinates): one opening a wave for all their squares.

    What is dealt for it, see `_scan`, is metered as offline.
    """
    clusters, members, _ = values.shape
    inside, squares = scan(bits, values, draw, limits, _squares, live=live_words(members))
    with bits.offline():
        hiding = deal_numbers(bits, draw, (clusters, 1, members))
    return Lengths(in_range=inside, squares=planes_of(bits, squares.view(clusters, 1, members), hiding))


def _squares(words: Engine, wave: Shared) -> Shared:
    return words.products((wave, wave), fold=2)


def lengths_cost(access: Access, *, clusters: int, limits: Range) -> tuple[Cost, Cost]:
    """Return what squared lengths send offline and online."""
    parties = access.parties
    members = (clusters, 1, parties)
    offline, online = scan_cost(access, clusters=clusters, limits=limits, sums=parties, live=live_words(parties))
    return offline.then(deal_numbers_cost(access, members)), online.then(planes_of_cost(access, members))
