"""What hidden sums tolerate, wherever among the groups and the delegates the faulty members are."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance._predicates import any_crashed, never
from protocols.tolerance.conditions import Conditions, Scheme
from protocols.tolerance.parts import Mask

__all__ = ["group_conditions", "hidden_conditions"]

Counts = NDArray[np.int64]


class _Layout(Protocol):
    def smallest_exposing(self, *, parties: int) -> int: ...

    def withstands(self, *, groups: int) -> int: ...

    def groups_of(self, *, parties: int) -> tuple[tuple[int, ...], ...]: ...

    def check_size(self, *, parties: int) -> None: ...


@dataclass(frozen=True, kw_only=True)
class _Exposes:
    """As many colluding members as the weaker threshold takes, or all but one: equal and hashed as the protocol is."""

    layout: _Layout

    def __call__(self, a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG002
        return (a >= min(self.layout.smallest_exposing(parties=c), c - 1)) & (a < c)


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


def _stays_shared(a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG001
    """No sum opens, and shares of it are for the delegates to keep."""
    return (a > c) & revealed


def group_conditions() -> Conditions:
    """Return what faulty members of one group do to that group: one bad input taints its sum, one crash loses it."""
    scheme = Scheme(
        private=_stays_shared,
        wrong=never,
        stopped=any_crashed,
        threshold=None,
        source="protocols/hidden_sums: the delegates' part is `Hidden.exposes`",
    )
    return Conditions(protocol="hidden", mode="group", scheme=scheme, threshold=None, revealed=False)
