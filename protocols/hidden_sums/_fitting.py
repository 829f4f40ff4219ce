"""Which parameters of hidden sums fit one another, what they stand for, and how many members and groups they need."""

import math
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from protocols import check
from protocols.check import CloisterError
from protocols.hidden_sums._combining import check_committees
from protocols.hidden_sums._groups import AdditiveGroups, GroupSharing
from protocols.hidden_sums._noise import JointNoise
from protocols.hidden_sums._range import INPUT_CHECKS, InputCheck
from protocols.hidden_sums._seating import Formation
from protocols.hidden_sums._shamir_groups import ShamirGroups
from protocols.hidden_sums.rules import OuterRule
from protocols.secure_robust._access import Access
from protocols.secure_sum._thresholds import in_size_of, threshold_of

__all__ = ["access_of", "check_groups", "check_parameters", "check_size", "group_sharing"]

_DEFAULT_THRESHOLD = "n/2"


class _Asked(Protocol):
    """The parameters, before anything is made of them."""

    @property
    def group_size(self) -> int: ...

    @property
    def tolerate(self) -> int: ...

    @property
    def delegates(self) -> int: ...

    @property
    def noise_std(self) -> float: ...

    @property
    def levels(self) -> tuple[int, ...]: ...

    @property
    def sharing(self) -> str: ...

    @property
    def committees(self) -> int: ...

    @property
    def input_check(self) -> InputCheck: ...


class _Fits(_Asked, Protocol):
    @property
    def rule(self) -> OuterRule: ...

    @property
    def in_groups(self) -> GroupSharing: ...

    @property
    def checks_inputs(self) -> bool: ...

    def formation(self, *, parties: int) -> Formation: ...

    def groups_of(self, *, parties: int) -> tuple[tuple[int, ...], ...]: ...

    def noise_on(self, groups: Sequence[Sequence[int]]) -> JointNoise | None: ...

    def limit(self, *, parties: int) -> int: ...


def check_parameters(asked: _Asked) -> None:
    """Raise CloisterError for a number that no size of group makes sense of, and for two that exclude each other."""
    check.integer_at_least(1, group_size=asked.group_size)
    check.integer_at_least(0, tolerate=asked.tolerate)
    check.integer_at_least(3, delegates=asked.delegates)
    check.non_negative(noise_std=asked.noise_std)
    for size in asked.levels:
        check.integer_at_least(2, levels=size)
    check_committees(asked.committees, asked.noise_std)
    _check_inputs(asked)


def _check_inputs(asked: _Asked) -> None:
    """Raise CloisterError for an unknown check of inputs, and for one under levels."""
    check.one_of(INPUT_CHECKS, input_check=asked.input_check)
    if asked.input_check != "none" and asked.levels:
        raise CloisterError(
            f"levels = {list(asked.levels)!r} add up sums within a group, and input_check = {asked.input_check!r} has "
            f"the delegates look at every member's words; allowed: no levels, in groups as large"
        )


def access_of(delegates: int, expression: str) -> Access:
    """Return who of so many delegates holds which part of a mask, with this threshold, an expression in g."""
    translated = in_size_of("g", delegate_threshold=expression)
    threshold = threshold_of(translated, delegates, "delegates", delegate_threshold=expression)
    return Access(parties=delegates, threshold=threshold)


def check_size(protocol: _Fits, *, parties: int) -> None:
    """Raise CloisterError where so many members are too few, or the groups that they form do not fit."""
    smallest = _smallest_group(protocol)
    if parties < protocol.delegates * smallest:
        raise CloisterError(
            f"groups of at least {smallest} members leave {parties // smallest} of {parties} members; allowed: at "
            f"least delegates = {protocol.delegates} groups, so {protocol.delegates * smallest} members or more"
        )
    for group in protocol.formation(parties=parties).lowest:
        protocol.in_groups.check(size=len(group))
    check_groups(protocol, groups=len(protocol.groups_of(parties=parties)))
    protocol.noise_on(protocol.groups_of(parties=parties))
    if protocol.checks_inputs:
        protocol.limit(parties=parties)


def check_groups(protocol: _Fits, *, groups: int) -> None:
    """Raise CloisterError where so many complete groups are too few for the delegates or the rule."""
    parties = max(groups, 1) * _smallest_group(protocol)
    protocol.formation(parties=parties).check(groups=groups)
    protocol.rule.check(groups=groups, tolerate=protocol.tolerate)


def _smallest_group(asked: _Asked) -> int:
    """Return how many members a group of the top level has at least."""
    return math.prod((asked.group_size, *asked.levels))


def group_sharing(sharing: str, threshold: str) -> GroupSharing:
    """Return how groups share, with t1 = `threshold`, an expression in n (none: n/2) where that is Shamir's.

    Raises: CloisterError for a sharing or a threshold that means nothing.
    """
    check.one_of(_SHARINGS, sharing=sharing)
    return _SHARINGS[sharing](threshold)


def _additive(threshold: str) -> GroupSharing:
    if threshold:
        raise CloisterError(
            f"threshold = {threshold!r} means nothing to additive sharing, which needs its whole group; "
            f"allowed: none, or sharing = 'shamir'"
        )
    return AdditiveGroups()


def _shamir(threshold: str) -> GroupSharing:
    return ShamirGroups(expression=in_size_of("n", threshold=threshold or _DEFAULT_THRESHOLD))


_SHARINGS: Mapping[str, Callable[[str], GroupSharing]] = MappingProxyType({"additive": _additive, "shamir": _shamir})
