"""What robust statistics tolerate in a cluster, where Byzantine members choose inputs only and where they deviate."""

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols.secure_robust._access import Access, threshold_of
from protocols.tolerance._predicates import any_absent, any_byzantine, any_colluding, any_crashed, shared
from protocols.tolerance.conditions import Conditions, Scheme
from protocols.tolerance.parts import Mask
from protocols.tolerance.schemes import Private

__all__ = ["OpensSelected", "OpensSeveral", "deviating", "inputs_conditions"]

Counts = NDArray[np.int64]


class _Breaking(Protocol):
    def breakdown(self, parties: int) -> int: ...


@dataclass(frozen=True, kw_only=True)
class _BeyondBreakdown:
    """More Byzantine inputs than the statistic withstands: equal, hashed and pickled as the statistic is."""

    statistic: _Breaking

    def __call__(self, b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG002
        return b + 0 * k > max(self.statistic.breakdown(c), 0)


@dataclass(frozen=True, kw_only=True)
class OpensSelected:
    """What is opened is the sum of `selected` inputs or more: all but one of them may be the coalition's own."""

    selected: int

    def __call__(self, a: Counts, c: int, t: int, revealed: bool) -> Mask:
        return shared(a, c, t, revealed) | ((a + 1 >= self.selected) & (a < c) & revealed)


@dataclass(frozen=True, kw_only=True)
class OpensSeveral:
    """What is opened are `opened` sums that depend on all inputs: as many unknown inputs may follow from them."""

    opened: int

    def __call__(self, a: Counts, c: int, t: int, revealed: bool) -> Mask:
        return shared(a, c, t, revealed) | ((a + self.opened >= c) & (a < c) & revealed)


def check_access(c: int, t: int) -> None:
    """Raise CloisterError where a cluster of c members cannot share with threshold t."""
    Access(parties=c, threshold=t)


def inputs_conditions(name: str, threshold: str, statistic: _Breaking, *, private: Private = shared) -> Conditions:
    """Return the conditions of a statistic whose Byzantine members choose their inputs and follow the protocol.

    `private` says which coalitions learn single inputs from what is opened, or from shares.

    Guarantees:
        Equal statistics have equal conditions, which can be pickled.
        They have a threshold for exactly those clusters that can run the statistic with it.
    """
    scheme = Scheme(
        private=private,
        wrong=_BeyondBreakdown(statistic=statistic),
        stopped=any_crashed,
        threshold=threshold,
        smallest_threshold=1,
        threshold_of=threshold_of,
        check_threshold=check_access,
        source="protocols/secure_robust: Byzantine members choose their inputs and follow the protocol",
    )
    return Conditions(protocol=name, mode="inputs", scheme=scheme, threshold=threshold, checked_inputs=True)


def deviating(conditions: Conditions) -> Conditions:
    """Return the conditions of the same statistic where Byzantine members also depart from the protocol: none hold.

    One of them can change the result unseen, make it any one member's update, and stop the cluster. Who is curious
    and who is Byzantine is not told apart where secrecy is asked for, so anyone who colludes counts as deviating.
    """
    scheme = replace(
        conditions.scheme,
        private=any_colluding,
        wrong=any_byzantine,
        stopped=any_absent,
        source="protocols/secure_robust: nothing checks that members follow the protocol",
    )
    return replace(conditions, mode="passive", scheme=scheme, checked_inputs=False)
