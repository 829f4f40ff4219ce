"""Every protocol in every mode as data: which occupancies of a cluster break secrecy, correctness, delivery.

A cluster of c members holds b Byzantine, k crashed and p curious ones; a = b + p pool what they see.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance._predicates import (
    any_absent,
    any_byzantine,
    detected_or_few,
    never,
    not_corrected,
    opens_all,
    opens_the_last,
    shared,
    too_few_shares,
    uncorrected,
    undetected,
)
from protocols.tolerance._seats import Committees, Hierarchies
from protocols.tolerance.expressions import parse_threshold
from protocols.tolerance.parts import Mask

__all__ = [
    "SCHEMES",
    "OnCheating",
    "Scheme",
    "committee_scheme",
    "graph_contributors",
    "graph_scheme",
    "hierarchical_scheme",
    "masked_contributors",
    "masked_scheme",
    "part_of",
]

Counts = NDArray[np.int64]
OnCheating = Literal["undetected", "abort", "identified", "corrected"]
"""What a Byzantine member's wrong message leads to: a wrong sum, no sum, no sum and a name, the right sum."""
Private = Callable[[Counts, int, int, bool], Mask]
"""(a, c, t, revealed) -> bad."""
Sharing = Callable[[Counts, Counts, int, int], Mask]
"""(b, k, c, t) -> bad."""
Colluding = Callable[[int, int], int]
"""(c, t) -> members."""


def _threshold(c: int, t: int) -> int:  # noqa: ARG001
    return t


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """One protocol in one mode. `threshold` is what it uses when none is asked for; None: it has no threshold.

    `threshold_of` turns what is asked for into a function of the cluster's size. `check_threshold` raises CloisterError
    where a cluster of c cannot have threshold t, beyond the usual bounds. `colluding`: how many members may pool what
    they see; a sum that must have inputs of so many honest ones needs that many more than this.
    """

    private: Private
    wrong: Sharing
    stopped: Sharing
    threshold: str | None
    smallest_threshold: int = 0
    threshold_of: Callable[[str], Callable[[int], int]] = parse_threshold
    check_threshold: Callable[[int, int], None] | None = None
    colluding: Colluding = _threshold
    on_cheating: OnCheating = "undetected"
    source: str


def _follows(c: int, t: int) -> int:  # noqa: ARG001
    return t - 1


def _shows_two_lists(c: int, t: int) -> int:
    # A lying server shows two lists of survivors; 2 t > c + a keeps it from t answers to both.
    return 2 * t - c - 1


_SERVERS: Mapping[str, tuple[Colluding, str]] = MappingProxyType(
    {
        "semi_honest": (_follows, "honest but curious server"),
        "malicious_server": (_shows_two_lists, "active server"),
    }
)
"""Mode of masked sums -> (how many members may collude with the server, given c and t; its name in the paper)."""


def masked_contributors(mode: str, c: int, t: int, least_honest: int) -> int:
    """Return how many words must be in a masked sum: t, and `least_honest` more than there may be colluders."""
    return max(t, masked_scheme(mode=mode).colluding(c, t) + least_honest)


@cache
def masked_scheme(*, mode: str) -> "Scheme":
    """Return what pairwise masks tolerate; equal parameters give the same scheme.

    A Byzantine member can stop the sum: honest members stop at key shares that they cannot open.
    """
    with_server, server = _SERVERS[mode]

    def private(a: Counts, c: int, t: int, revealed: bool) -> Mask:
        return shared(a, c, with_server(c, t), revealed)

    def stopped(b: Counts, k: Counts, c: int, t: int) -> Mask:
        return (b > 0) | (k > c - t)

    def colluding(c: int, t: int) -> int:
        return min(with_server(c, t), c - 2)

    return Scheme(
        private=private,
        wrong=any_byzantine,
        stopped=stopped,
        threshold="2c/3+1",
        smallest_threshold=1,
        colluding=colluding,
        source=f"Bonawitz et al. 2017, CCS, section 6, {server}",
    )


def graph_contributors(c: int, *, gamma: float, delta: float, least_honest: int) -> int:
    """Return how many words must be in a sum masked along a graph, for a part gamma of colluders and delta absent."""
    return max(c - part_of(delta, c), graph_scheme(gamma=gamma, delta=delta).colluding(c, 0) + least_honest)


@cache
def graph_scheme(*, gamma: float = 0.2, delta: float = 0.2) -> "Scheme":
    """Return what masks along a random graph tolerate: parts gamma of curious and delta of absent members.

    It holds except with the probabilities for which the graph is made; equal parameters give the same scheme.
    """

    def private(a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG001
        return shared(a, c, part_of(gamma, c), revealed)

    def stopped(b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG001
        return (b > 0) | (k > part_of(delta, c))

    def colluding(c: int, t: int) -> int:  # noqa: ARG001
        return min(part_of(gamma, c), c - 2)

    return Scheme(
        private=private,
        wrong=any_byzantine,
        stopped=stopped,
        threshold=None,
        colluding=colluding,
        source="Bell, Bonawitz, Gascón, Lepoint, Raykova 2020, CCS, Section 3",
    )


def part_of(fraction: float, c: int) -> int:
    """Return the largest integer that is at most this fraction of c, where 0.29 means 29 / 100 exactly."""
    return int(Fraction(str(fraction)) * c)


_ON_SERVERS: Mapping[str, tuple[Sharing, Sharing, OnCheating]] = MappingProxyType(
    {
        "detect": (undetected, detected_or_few, "abort"),
        "passive": (any_byzantine, detected_or_few, "undetected"),
        "correct": (uncorrected, not_corrected, "corrected"),
    }
)
"""Mode of a committee -> (wrong, stopped, on cheating), with the servers as the cluster."""


@cache
def committee_scheme(*, mode: str, servers: int = 3, threshold: int = 1, least_honest: int = 2) -> Scheme:
    """Return what sums by `servers` of the members tolerate: the worst case, with the faulty among the servers.

    `passive` stops at a Byzantine server, who may say that it lacks every input. Equal parameters give the same
    scheme.
    """
    wrong, stopped, on_cheating = _ON_SERVERS[mode]
    rules = Committees(
        servers=servers,
        threshold=threshold,
        least=threshold + least_honest,
        wrong_on_servers=wrong,
        stopped_on_servers=stopped,
    )
    return Scheme(
        private=rules.private,
        wrong=rules.wrong,
        stopped=rules.stopped,
        threshold=None,
        on_cheating=on_cheating,
        source="Shamir 1979; Ben-Or, Goldwasser and Wigderson 1988, STOC; worst case over who serves",
    )


def _threshold_at_size(expression: str, size: int) -> int:
    return parse_threshold(expression)(size)


@cache
def hierarchical_scheme(
    *, group_size: int = 3, inner: str = "c/2", outer: str = "2c/3", least_honest: int = 2
) -> Scheme:
    """Return what group sums that stay shared among delegates tolerate: the worst case over groups and delegates.

    `inner` and `outer` are thresholds, with c for the size of a group and the number of groups. Equal parameters
    give the same scheme.
    """
    rules = Hierarchies(
        group_size=group_size,
        inner=partial(_threshold_at_size, inner),
        outer=partial(_threshold_at_size, outer),
        least_honest=least_honest,
    )
    return Scheme(
        private=rules.private,
        wrong=rules.wrong,
        stopped=rules.stopped,
        threshold=None,
        source="Ben-Or, Goldwasser and Wigderson 1988, STOC (re-sharing); worst case over groups and delegates",
    )


SCHEMES: Mapping[str, Mapping[str, Scheme]] = MappingProxyType(
    {
        "plaintext": {
            "passive": Scheme(
                private=opens_all,
                wrong=any_byzantine,
                stopped=any_absent,
                threshold=None,
                source="protocols/secure_sum/plaintext.py",
            )
        },
        "additive": {
            "passive": Scheme(
                private=opens_the_last,
                wrong=any_byzantine,
                stopped=any_absent,
                threshold=None,
                source="Knott et al. 2021, CrypTen, NeurIPS: n-of-n additive shares",
            )
        },
        "authenticated": {
            "abort": Scheme(
                private=opens_the_last,
                wrong=never,
                stopped=any_absent,
                threshold=None,
                on_cheating="identified",
                source="Damgård, Pastro, Smart, Zakarias 2012, CRYPTO (SPDZ)",
            )
        },
        "shamir": {
            "correct": Scheme(
                private=shared,
                wrong=uncorrected,
                stopped=not_corrected,
                threshold="c/3",
                on_cheating="corrected",
                source="McEliece and Sarwate 1981: Shamir's shares as a Reed-Solomon code",
            ),
            "detect": Scheme(
                private=shared,
                wrong=undetected,
                stopped=detected_or_few,
                threshold="c/2",
                on_cheating="abort",
                source="Reed-Solomon distance c - k - t",
            ),
            "passive": Scheme(
                private=shared, wrong=any_byzantine, stopped=too_few_shares, threshold="c/2", source="Shamir 1979"
            ),
            "vss": Scheme(
                private=shared,
                wrong=undetected,
                stopped=too_few_shares,
                threshold="c/2",
                on_cheating="corrected",
                source="Rabin and Ben-Or 1989, STOC",
            ),
        },
        "masked": {mode: masked_scheme(mode=mode) for mode in _SERVERS},
        "masked_graph": {"semi_honest": graph_scheme()},
        "committee": {mode: committee_scheme(mode=mode) for mode in _ON_SERVERS},
        "hierarchical": {"passive": hierarchical_scheme()},
    }
)
"""Protocol -> mode -> what it tolerates; the first mode is the default."""
