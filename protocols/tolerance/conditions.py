"""What each protocol tolerates inside one cluster, as data: which occupancies break secrecy, correctness, delivery.

A cluster of c members holds b Byzantine, k crashed and p curious ones; a = b + p pool what they see.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
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
from protocols.tolerance.parts import Mask

__all__ = [
    "SCHEMES",
    "Conditions",
    "OnCheating",
    "Scheme",
    "committee_scheme",
    "conditions_of",
    "graph_contributors",
    "graph_scheme",
    "hierarchical_scheme",
    "masked_contributors",
    "masked_scheme",
    "parse_threshold",
    "part_of",
]

Counts = NDArray[np.int64]
OnCheating = Literal["undetected", "abort", "identified", "corrected"]
"""What a Byzantine member's wrong message leads to: a wrong sum, no sum, no sum and a name, the right sum."""
Private = Callable[[Counts, int, int, bool], Mask]
"""(a, c, t, revealed) -> bad."""
Sharing = Callable[[Counts, Counts, int, int], Mask]
"""(b, k, c, t) -> bad."""


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """One protocol in one mode. `threshold` is what it uses when none is asked for; None: it has no threshold."""

    private: Private
    wrong: Sharing
    stopped: Sharing
    threshold: str | None
    smallest_threshold: int = 0
    on_cheating: OnCheating = "undetected"
    source: str


def _follows(c: int, t: int) -> int:  # noqa: ARG001
    return t - 1


def _shows_two_lists(c: int, t: int) -> int:
    # A lying server shows two lists of survivors; 2 t > c + a keeps it from t answers to both.
    return 2 * t - c - 1


_SERVERS: Mapping[str, tuple[Callable[[int, int], int], str]] = MappingProxyType(
    {
        "semi_honest": (_follows, "honest but curious server"),
        "malicious_server": (_shows_two_lists, "active server"),
    }
)
"""Mode of masked sums -> (how many members may collude with the server, given c and t; its name in the paper)."""


def masked_contributors(mode: str, c: int, t: int, least_honest: int) -> int:
    """Return how many words must be in a masked sum: t, and `least_honest` more than there may be colluders."""
    colluding, _ = _SERVERS[mode]
    return max(t, min(colluding(c, t), c - 2) + least_honest)


@cache
def masked_scheme(*, mode: str, least_honest: int = 1) -> "Scheme":
    """Return what pairwise masks tolerate; equal parameters give the same scheme.

    A Byzantine member can stop the sum: honest members stop at key shares that they cannot open.
    """
    colluding, server = _SERVERS[mode]

    def private(a: Counts, c: int, t: int, revealed: bool) -> Mask:
        return shared(a, c, colluding(c, t), revealed)

    def stopped(b: Counts, k: Counts, c: int, t: int) -> Mask:
        return (b > 0) | (k > c - masked_contributors(mode, c, t, least_honest))

    return Scheme(
        private=private,
        wrong=any_byzantine,
        stopped=stopped,
        threshold="2c/3+1",
        smallest_threshold=1,
        source=f"Bonawitz et al. 2017, CCS, section 6, {server}",
    )


def graph_contributors(c: int, *, gamma: float, delta: float, least_honest: int) -> int:
    """Return how many words must be in a sum masked along a graph, for a part gamma of colluders and delta absent."""
    return max(c - part_of(delta, c), min(part_of(gamma, c), c - 2) + least_honest)


@cache
def graph_scheme(*, gamma: float = 0.2, delta: float = 0.2, least_honest: int = 1) -> "Scheme":
    """Return what masks along a random graph tolerate: parts gamma of curious and delta of absent members.

    It holds except with the probabilities for which the graph is made; equal parameters give the same scheme.
    """

    def private(a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG001
        return shared(a, c, part_of(gamma, c), revealed)

    def stopped(b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG001
        return (b > 0) | (k > c - graph_contributors(c, gamma=gamma, delta=delta, least_honest=least_honest))

    return Scheme(
        private=private,
        wrong=any_byzantine,
        stopped=stopped,
        threshold=None,
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

_EXPRESSION = re.compile(r"(?P<factor>\d{1,6})?\*?c(?:/(?P<divisor>[1-9]\d{0,5}))?(?P<shift>[+-]\d{1,9})?")


def parse_threshold(expression: str) -> Callable[[int], int]:
    """Return the threshold as a function of the cluster's size c.

    A number is itself; "c-1" is itself; with a divisor it is a strict bound: "c/2" is the largest integer below
    c / 2, so X members are too many when X > (c - 1) // 2; "2c/3+1" adds one to the largest integer below 2 c / 3.
    Raises: CloisterError for anything else; nothing is evaluated.
    """
    text = expression.replace(" ", "")
    if re.fullmatch(r"\d{1,9}", text):
        return lambda c: int(text)  # noqa: ARG005
    found = _EXPRESSION.fullmatch(text)
    if not found:
        raise CloisterError(
            f"threshold = {expression!r} is not understood; allowed: a number, or c/2, c/3, 2c/3, c-1, 2c/3+1, ..."
        )
    factor, shift = int(found["factor"] or 1), int(found["shift"] or 0)
    if found["divisor"] is None:
        return lambda c: factor * c + shift
    divisor = int(found["divisor"])
    return lambda c: (factor * c - 1) // divisor + shift


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What one protocol tolerates in a cluster of any size.

    `revealed`: the cluster's sum is opened to the aggregator (else it stays shared). `checked_inputs`: Byzantine
    members cannot move the cluster's mean arbitrarily, so that it is wrong only where its sharing breaks.
    `least_honest`: a sum is withheld unless it has the inputs of that many members beyond the threshold.

    Guarantees:
        Each predicate holds exactly at the bad occupancies of table 2.1 of the design notes.
    """

    protocol: str
    mode: str
    scheme: Scheme
    threshold: str | None
    revealed: bool = True
    checked_inputs: bool = False
    least_honest: int = 0

    @property
    def opens_inputs(self) -> bool:
        """Whether each input is sent as it is."""
        return self.scheme.private is opens_all

    def threshold_at(self, c: int) -> int:
        """Return the threshold of a cluster of c; CloisterError where no sharing has such a threshold."""
        if self.threshold is None:
            return 0
        t = parse_threshold(self.threshold)(c)
        least = self.scheme.smallest_threshold
        most = c - 1 + least
        if not least <= t <= most:
            raise CloisterError(
                f"threshold = {self.threshold!r} gives {t} for clusters of {c}; allowed: {least} to {most}"
            )
        return t

    def exposed(self, c: int, a: Counts) -> Mask:
        """Return where a = b + p colluding members of a cluster of c break secrecy, elementwise."""
        return self.scheme.private(a, c, self.threshold_at(c), self.revealed)

    def left_alone(self, c: int, a: Counts, k: Counts) -> Mask:
        """Return where k crashes can leave a sum with one input that the a colluding members do not know, elementwise.

        Such a sum needs the inputs of all colluding members and one more to be enough for it to open, and all other
        members but the crashed ones would be in it.
        """
        crashes = np.arange(c + 1)
        most = crashes[~self.lost(c, np.zeros_like(crashes), crashes)].max(initial=-1)
        return (c - a - k <= 1) & (a < c) & (a + 1 >= c - most) & self.revealed

    def lost(self, c: int, b: Counts, k: Counts) -> Mask:
        """Return where b Byzantine and k crashed members keep a cluster of c from delivering, elementwise."""
        t = self.threshold_at(c)
        return self.scheme.stopped(b, k, c, t) | (b + k > c - t - self.least_honest)

    def tainted(self, c: int, b: Counts, k: Counts) -> Mask:
        """Return where what it delivers is wrong: broken sharing, or a Byzantine input that is not checked."""
        wrong = self.scheme.wrong(b, k, c, self.threshold_at(c))
        return wrong if self.checked_inputs else wrong | (b + 0 * k > 0)

    def failed(self, c: int, b: Counts, k: Counts) -> Mask:
        """Return where the cluster counts against the outer rule: tainted or lost."""
        return self.tainted(c, b, k) | self.lost(c, b, k)


def conditions_of(
    protocol: str,
    *,
    mode: str | None = None,
    threshold: str | None = None,
    revealed: bool = True,
    checked_inputs: bool = False,
) -> Conditions:
    """Return the conditions of a protocol; mode and threshold default to the protocol's own.

    Raises: CloisterError for an unknown protocol, mode or threshold, and for a threshold where there is none.
    """
    check.one_of(SCHEMES, protocol=protocol)
    modes = SCHEMES[protocol]
    chosen = mode or next(iter(modes))
    check.one_of(modes, mode=chosen)
    scheme = modes[chosen]
    if threshold is not None:
        parse_threshold(threshold)
        if scheme.threshold is None:
            raise CloisterError(
                f"threshold = {threshold!r} means nothing to protocol {protocol!r}, which needs all its members; "
                f"allowed: none, or the protocols shamir and masked"
            )
    return Conditions(
        protocol=protocol,
        mode=chosen,
        scheme=scheme,
        threshold=threshold or scheme.threshold,
        revealed=revealed,
        checked_inputs=checked_inputs,
    )
