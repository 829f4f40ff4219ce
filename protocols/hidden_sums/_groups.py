"""How the members of a group come to hold the sum of their words: all of them together, or any t + 1 of them.

Either way who holds it has additive shares of it, which `_resharing` hands up, and the board has said who is there.

`AdditiveGroups`: each member says that it is there, and then adds a share of zero to its words, from keys that each
pair of its group has. All members hold the sum together; one that is gone takes its group's sum with it. For a
threshold see `_shamir_groups`.

Source: Bonawitz et al. 2017, CCS (shares of zero of pairs).
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from protocols.hidden_sums._one_by_one import OneByOne
from protocols.hidden_sums._presence import call_the_roll, presence_cost, say_who_is_there, who_is_there
from protocols.hidden_sums._resharing import Seats
from protocols.secure_sum import Board, Party
from protocols.types import Cost, Traffic

__all__ = ["AdditiveGroups", "Attendance", "Entered", "GroupSharing", "Groups"]

Groups = Sequence[Sequence[int]]


@dataclass(frozen=True, kw_only=True)
class Attendance:
    """Who is there to hold shares, and whose words their whole group has, or can have: by rank."""

    present: frozenset[int]
    dealt: frozenset[int]

    @classmethod
    def of(cls, ranks: Collection[int]) -> "Attendance":
        """Return that of members who all are there from the start to the end."""
        return cls(present=frozenset(ranks), dealt=frozenset(ranks))


@dataclass(frozen=True, kw_only=True, eq=False)
class Entered:
    """What a member has once its group has entered: who is there, and what it has of its group's sum.

    Where words stay `apart` it is what it has of each member's words.
    """

    attendance: Attendance
    held: Tensor = field(repr=False)
    apart: bool = False


class GroupSharing(Protocol):
    """How groups share: n-of-n, or with a threshold."""

    def threshold(self, size: int) -> int:
        """Return how many members of a group of that size learn nothing of the others' words; all but one at most."""
        ...

    @property
    def spares(self) -> bool:
        """Whether the group goes on if members crash once they have dealt, and before the board says who is there."""
        ...

    def check(self, *, size: int) -> None:
        """Raise CloisterError for a group that cannot share."""
        ...

    def enter(self, party: Party, groups: Groups, words: Tensor, *, apart: bool = False) -> Entered:
        """Play one member until the board has said who is there; do members' words stay apart?"""
        ...

    def additive(self, party: Party, group: Sequence[int], holders: Sequence[int], entered: Entered) -> Tensor:
        """Return a holder's additive share (clusters, coordinates) of the sum of its group.

        Where words stay apart it is of what its group re-shares by `one_by_one`: (clusters x members, coordinates).
        """
        ...

    def one_by_one(self, seats: Seats) -> OneByOne:
        """Return who re-shares members' words that stay apart, and how many each."""
        ...

    def gather(self, board: Board, groups: Groups) -> Attendance:
        """Hear from all members."""
        ...

    def announce(self, board: Board, heard: Attendance, said: Attendance) -> None:
        """Tell those who are there what is `said` of all."""
        ...

    def cost(self, sizes: Sequence[int], *, clusters: int, coordinates: int) -> Traffic:
        """Return what it sends for groups of these sizes."""
        ...


@dataclass(frozen=True, kw_only=True)
class AdditiveGroups:
    """Each group shares n-of-n."""

    def threshold(self, size: int) -> int:
        """All but one."""
        return size - 1

    @property
    def spares(self) -> bool:
        """No: all are needed."""
        return False

    def check(self, *, size: int) -> None:
        """Any size will do."""

    def enter(self, party: Party, groups: Groups, words: Tensor, *, apart: bool = False) -> Entered:  # noqa: ARG002
        """See GroupSharing.enter."""
        return Entered(attendance=Attendance.of(who_is_there(party)), held=words, apart=apart)

    def additive(self, party: Party, group: Sequence[int], holders: Sequence[int], entered: Entered) -> Tensor:  # noqa: ARG002
        """See GroupSharing.additive; its own words are all that it re-shares one by one."""
        if entered.apart:
            return entered.held
        clusters, coordinates = entered.held.shape
        return party.keys.zero_shares.draw_among(
            group, use=party.use, clusters=clusters, coordinates=coordinates, onto=entered.held, model=party.model
        )

    def one_by_one(self, seats: Seats) -> OneByOne:
        """Each member is a group of its own."""
        return OneByOne(seats=seats.one_by_one)

    def gather(self, board: Board, groups: Groups) -> Attendance:  # noqa: ARG002
        """See GroupSharing.gather."""
        return Attendance.of(call_the_roll(board))

    def announce(self, board: Board, heard: Attendance, said: Attendance) -> None:  # noqa: ARG002
        """See GroupSharing.announce; those with another model are told as well, that they are not there."""
        say_who_is_there(board, range(board.parties), said=said.present)

    def cost(self, sizes: Sequence[int], *, clusters: int, coordinates: int) -> Traffic:  # noqa: ARG002
        """A digest from each member, and a byte a member to each."""
        return Traffic(offline=Cost.none(), mpc=Cost.none(), upload=presence_cost(sum(sizes)))
