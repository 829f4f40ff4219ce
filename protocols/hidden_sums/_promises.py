"""What hidden sums tolerate, wherever among the groups and the delegates the faulty members are."""

from collections.abc import Sequence, Set
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.hidden_sums._exposure import exposed_by, exposes_whoever_serves, left_alone
from protocols.hidden_sums._groups import AdditiveGroups, GroupSharing
from protocols.hidden_sums._resharing import Seats
from protocols.hidden_sums._seating import Formation
from protocols.hidden_sums.rules import OuterRule
from protocols.network import TooFewPartiesError
from protocols.secure_robust._access import Access
from protocols.secure_sum._verdict import Verdict
from protocols.tolerance._predicates import any_absent, any_crashed, never
from protocols.tolerance.conditions import Conditions, Scheme
from protocols.tolerance.parts import Mask

__all__ = [
    "Faulty",
    "deviating_conditions",
    "group_conditions",
    "hidden_conditions",
    "learned_in",
    "may_deceive",
    "may_expose",
    "outcome_of",
]

Counts = NDArray[np.int64]


class _Layout(Protocol):
    @property
    def committees(self) -> int: ...

    def formation(self, *, parties: int) -> Formation: ...

    def withstands(self, *, groups: int) -> int: ...

    def groups_of(self, *, parties: int) -> tuple[tuple[int, ...], ...]: ...

    def check_size(self, *, parties: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class _Exposes:
    """As many colluding members as the weaker threshold takes, or all but one: equal and hashed as the protocol is."""

    layout: _Layout

    def __call__(self, a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG002
        return (a >= min(self.layout.formation(parties=c).smallest_exposing, c - 1)) & (a < c)


@dataclass(frozen=True, kw_only=True)
class _TaintsTooMany:
    """More Byzantine inputs, each in a group of its own, than the rule withstands of the groups that are left."""

    layout: _Layout

    def __call__(self, b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG002
        groups = len(self.layout.groups_of(parties=c))
        most = np.array([max(self.layout.withstands(groups=groups - lost), 0) for lost in range(groups)] + [0])
        return b > most[np.minimum(k, groups)]


@dataclass(frozen=True, kw_only=True)
class _Fits:
    layout: _Layout

    def __call__(self, c: int, t: int) -> None:  # noqa: ARG002
        self.layout.check_size(parties=c)


def hidden_conditions(layout: _Layout) -> Conditions:
    """Return the conditions where Byzantine members choose their inputs and follow the protocol: the worst case."""
    scheme = Scheme(
        private=_Exposes(layout=layout),
        wrong=_TaintsTooMany(layout=layout),
        stopped=any_crashed,
        threshold=None,
        check_threshold=_Fits(layout=layout),
        source="protocols/hidden_sums: worst case over groups and delegates, inputs only",
    )
    return Conditions(protocol="hidden", mode="inputs", scheme=scheme, threshold=None, checked_inputs=True)


@dataclass(frozen=True, kw_only=True)
class _KnowsShares:
    """More colluding members of a group than its threshold, and not all of it: no sum has to open for that."""

    sharing: GroupSharing

    def __call__(self, a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG002
        return (a > self.sharing.threshold(c)) & (a < c)


def group_conditions(sharing: GroupSharing | None = None) -> Conditions:
    """Return what faulty members of one group do to that group: one bad input taints its sum, one crash loses it.

    `sharing` is additive unless another one is given.
    """
    scheme = Scheme(
        private=_KnowsShares(sharing=sharing or AdditiveGroups()),
        wrong=never,
        stopped=any_crashed,
        threshold=None,
        source="protocols/hidden_sums: the delegates' part is `Hidden.exposes`",
    )
    return Conditions(protocol="hidden", mode="group", scheme=scheme, threshold=None, revealed=False)


@dataclass(frozen=True, kw_only=True)
class Faulty:
    """Who of the members is faulty in one batch.

    `crashed` are gone before they have dealt or said that they are there; `late` crash when their groups have their
    words, and before re-sharing begins. Byzantine members choose their inputs, and pool what they see with the curious.
    `deviating` are those of them who depart from the protocol.
    """

    byzantine: frozenset[int]
    crashed: frozenset[int]
    curious: frozenset[int]
    late: frozenset[int]
    deviating: frozenset[int] = frozenset()


class _Played(Protocol):
    @property
    def access(self) -> Access: ...

    @property
    def rule(self) -> OuterRule: ...

    def formation(self, *, parties: int) -> Formation: ...

    def seats(
        self, *, parties: int, present: frozenset[int], use: int, dealt: frozenset[int] | None = None
    ) -> Seats: ...

    def withstands(self, *, groups: int) -> int: ...


def outcome_of(protocol: _Played, faults: Faulty, *, parties: int, use: int) -> Verdict:
    """Return what faults at these places do to batch number `use`.

    Private: the coalition learns no input of a member outside it. Exact, but for what an aggregate of a rule other than
    the mean tells itself, and for what deviating delegates open. Correct: no wrong result is taken over, whatever
    deviating members do, which may stop the batch.
    """
    formation = protocol.formation(parties=parties)
    dealt, colluding = frozenset(range(parties)) - faults.crashed, faults.byzantine | faults.curious
    exposed = formation.opened(colluding) & dealt
    present = dealt - faults.late if formation.sharing.spares else dealt
    try:
        seats = protocol.seats(parties=parties, present=present, dealt=dealt, use=use)
    except TooFewPartiesError:
        return Verdict(private=not exposed, correct=True, live=False)
    exposed |= learned_in(protocol, seats, colluding, choosing=faults.byzantine, one_by_one=formation.one_by_one)
    tainted = sum(not faults.byzantine.isdisjoint(members) for members in seats.sums)
    withstood = protocol.withstands(groups=len(seats.sums))
    lied = all(not faults.deviating.isdisjoint(each.delegates) for each in seats.committees)
    live = faults.late.isdisjoint(seats.holders) and not faults.deviating
    if formation.one_by_one:  # who does not pass the check costs its group
        live = live and len(seats.sums) - tainted >= formation.access.parties
    return Verdict(private=not exposed, correct=tainted <= withstood and not lied, live=live)


def learned_in(
    protocol: _Played, seats: Seats, colluding: Set[int], *, choosing: Set[int], one_by_one: bool
) -> frozenset[int]:
    """Return the members of whom these learn the input with these seats, where some of them are `choosing` theirs."""
    shows_total = protocol.rule.by_members
    if not one_by_one:
        return exposed_by(seats, colluding, shows_total=shows_total)
    known = exposed_by(seats.one_by_one, colluding, shows_total=shows_total)
    if shows_total:
        known |= left_alone(seats.sums, colluding, choosing=choosing, least=seats.access.parties)
    return known


@dataclass(frozen=True, kw_only=True)
class _Deceives:
    """Too many tainted groups, or Byzantine members who may serve in every committee."""

    layout: _Layout

    def __call__(self, b: Counts, k: Counts, c: int, t: int) -> Mask:
        lying = b >= self.layout.committees
        return lying | _TaintsTooMany(layout=self.layout)(b, k, c, t)


@dataclass(frozen=True, kw_only=True)
class _ExposesByDeviating:
    """One delegate that deviates may have a group's sum opened: so it takes all but one of a group, or t1 + 1 of it."""

    layout: _Layout

    def __call__(self, a: Counts, c: int, t: int, revealed: bool) -> Mask:
        formation = self.layout.formation(parties=c)
        most = 1 if formation.one_by_one else max(min(formation.top.sizes) - 1, 1)
        return ((a >= most) & (a < c)) | _Exposes(layout=self.layout)(a, c, t, revealed)


def deviating_conditions(layout: _Layout) -> Conditions:
    """Return the conditions where Byzantine members depart from the protocol: any of them may stop the batch.

    Who is curious and who is Byzantine is not told apart where secrecy is asked for: who colludes may deviate.
    """
    base = hidden_conditions(layout)
    scheme = replace(
        base.scheme,
        private=_ExposesByDeviating(layout=layout),
        wrong=_Deceives(layout=layout),
        stopped=any_absent,
        on_cheating="abort" if layout.committees > 1 else "undetected",
        source="protocols/hidden_sums: worst case over groups and delegates, of whom any may deviate",
    )
    return replace(base, mode="passive", scheme=scheme)


def may_expose(protocol: _Played, groups: Sequence[Sequence[int]], colluding: Set[int], deviating: Set[int]) -> bool:
    """See HiddenSums.exposes."""
    ranks = [process for group in groups for process in group]
    if not ranks:
        return False
    places = frozenset(place for place, process in enumerate(ranks) if process in colluding)
    enough = protocol.access.threshold if deviating.isdisjoint(ranks) else 0
    formation = protocol.formation(parties=len(ranks))
    return exposes_whoever_serves(formation, places, enough=enough, shows_total=protocol.rule.by_members)


def may_deceive(protocol: _Played, groups: Sequence[Sequence[int]], deviating: Set[int]) -> bool:
    """See HiddenSums.deceives."""
    ranks = [process for group in groups for process in group]
    places = frozenset(place for place, process in enumerate(ranks) if process in deviating)
    return bool(places) and protocol.formation(parties=len(ranks)).deceived_by(places)
