"""The protocol `hidden` with given delegates: what its verdict says of one draw, whoever is drawn in truth."""

from dataclasses import dataclass, replace
from functools import cache

from protocols.hidden_sums._resharing import Seats
from protocols.hidden_sums._seating import Formation
from protocols.hidden_sums.hidden import Hidden
from protocols.hidden_sums.rules import OuterRule
from protocols.secure_robust._access import Access


@cache
def _drawn(protocol: Hidden, n: int, present: frozenset[int], dealt: frozenset[int] | None, use: int) -> Seats:
    return protocol.seats(parties=n, present=present, use=use, dealt=dealt)


@cache
def _formation_of(protocol: Hidden, n: int) -> Formation:
    return protocol.formation(parties=n)


@dataclass(frozen=True, kw_only=True)
class Seated:
    """The protocol with these delegates, a second committee and another access where they are given."""

    protocol: Hidden
    delegates: tuple[int, ...]
    second: tuple[int, ...] | None = None
    opens: Access | None = None

    @property
    def access(self) -> Access:
        return self.protocol.access

    @property
    def rule(self) -> OuterRule:
        return self.protocol.rule

    def formation(self, *, parties: int) -> Formation:
        return _formation_of(self.protocol, parties)

    def seats(self, *, parties: int, present: frozenset[int], use: int, dealt: frozenset[int] | None = None) -> Seats:
        found = _drawn(self.protocol, parties, present, dealt, use)
        second = found.second if self.second is None else self.second
        return replace(found, delegates=self.delegates, second=second, access=self.opens or found.access)

    def withstands(self, *, groups: int) -> int:
        return self.protocol.withstands(groups=groups)
