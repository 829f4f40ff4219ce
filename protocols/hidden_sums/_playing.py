"""One batch of hidden sums from end to end: what a member plays, the board reads, and the clear would give.

Groups' sums go to the delegates or, where inputs are checked, each member's own words do.
"""

from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from protocols.hidden_sums._combining import Combining, play, play_cost, read_result
from protocols.hidden_sums._groups import Attendance, GroupSharing
from protocols.hidden_sums._range import (
    checked_cost,
    checked_reference,
    collect_checked,
    decode_checked,
    play_checked,
)
from protocols.hidden_sums._resharing import Seats
from protocols.hidden_sums._seating import Formation
from protocols.network import TooFewPartiesError
from protocols.secure_sum import Board, Opened, Party
from protocols.types import Traffic

__all__ = ["collect", "contribute", "cost_of", "decode", "reference"]


class _Batch(Protocol):
    @property
    def in_groups(self) -> GroupSharing: ...

    @property
    def checks_inputs(self) -> bool: ...

    def formation(self, *, parties: int) -> Formation: ...

    def groups_of(self, *, parties: int) -> tuple[tuple[int, ...], ...]: ...

    def seats(
        self, *, parties: int, present: frozenset[int], use: int, dealt: frozenset[int] | None = None
    ) -> Seats: ...

    def combining(self, groups: Sequence[Sequence[int]]) -> Combining: ...


def contribute(protocol: _Batch, party: Party, words: Tensor) -> None:
    """See RobustStatistic.contribute."""
    formation = protocol.formation(parties=party.parties)
    entered = protocol.in_groups.enter(party, formation.lowest, words, apart=protocol.checks_inputs)
    there = entered.attendance
    seats = protocol.seats(parties=party.parties, present=there.present, dealt=there.dealt, use=party.use)
    if party.rank not in seats.holders:
        return
    combining, share = protocol.combining(seats.sums), formation.additive(party, seats, entered)
    if protocol.checks_inputs:
        each = protocol.in_groups.one_by_one(seats)
        play_checked(party, each, combining, each.rows(share, len(words)))
    else:
        play(party, seats, combining, share)


def collect(protocol: _Batch, board: Board) -> Opened:
    """See RobustStatistic.collect."""
    there = protocol.in_groups.gather(board, protocol.formation(parties=board.parties).lowest)
    try:
        seats = protocol.seats(parties=board.parties, present=there.present, dealt=there.dealt, use=board.use)
    except TooFewPartiesError:
        protocol.in_groups.announce(board, there, Attendance.of(()))
        raise
    protocol.in_groups.announce(board, there, there)
    if protocol.checks_inputs:
        return collect_checked(board, seats, protocol.combining(seats.sums))
    return Opened(sums=read_result(board, seats), contributors=seats.contributors)


def reference(protocol: _Batch, words: Tensor) -> Opened:
    """Return what opens, without noise, of words (clusters, members, coordinates) of members of complete groups."""
    parties = words.shape[1]
    combining = protocol.combining(protocol.groups_of(parties=parties))
    if protocol.checks_inputs:
        return checked_reference(combining, words)
    return Opened(sums=combining.reference(words), contributors=tuple(range(parties)))


def decode(protocol: _Batch, opened: Opened, *, parties: int) -> Tensor:
    """Return what the opened words of so many contributors mean, float64 (clusters, coordinates)."""
    combining = protocol.combining(protocol.groups_of(parties=parties))
    return decode_checked(combining, opened) if protocol.checks_inputs else combining.decode(opened.sums)


def cost_of(protocol: _Batch, *, parties: int, clusters: int, coordinates: int) -> Traffic:
    """Return what a batch sends in which everybody follows the protocol."""
    seats = protocol.seats(parties=parties, present=frozenset(range(parties)), use=1)
    sizes = [len(group) for group in protocol.formation(parties=parties).lowest]
    entering = protocol.in_groups.cost(sizes, clusters=clusters, coordinates=coordinates)
    combining = protocol.combining(seats.sums)
    if protocol.checks_inputs:
        each = protocol.in_groups.one_by_one(seats)
        return checked_cost(combining, each, entering, clusters=clusters, coordinates=coordinates)
    return play_cost(combining, seats, entering, clusters=clusters, coordinates=coordinates)
