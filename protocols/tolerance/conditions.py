"""What each protocol tolerates inside one cluster, as data: which occupancies break secrecy, correctness, delivery.

A cluster of c members holds b Byzantine, k crashed and p curious ones; a = b + p pool what they see.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.parts import Mask

__all__ = ["SCHEMES", "Conditions", "Scheme", "conditions_of", "parse_threshold"]

Counts = NDArray[np.int64]
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
    source: str


def _opens_all(a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG001
    return a < c


def _opens_the_last(a: Counts, c: int, t: int, revealed: bool) -> Mask:  # noqa: ARG001
    # All but one subtract their own inputs from the sum; with a = c nobody is left to be exposed.
    return (a == c - 1) & revealed


def _shared(a: Counts, c: int, t: int, revealed: bool) -> Mask:
    return a > (min(t, c - 2) if revealed else t)


def _masked(a: Counts, c: int, t: int, revealed: bool) -> Mask:
    return _shared(a, c, t - 1, revealed)


def _masked_two_lists(a: Counts, c: int, t: int, revealed: bool) -> Mask:
    # A lying server shows two lists of survivors; 2 t > c + a keeps it from t answers to both.
    return _shared(a, c, 2 * t - c - 1, revealed)


def _any_byzantine(b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG001
    return b + 0 * k > 0


def _never(b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG001
    return b + k < 0


def _any_absent(b: Counts, k: Counts, c: int, t: int) -> Mask:  # noqa: ARG001
    return b + k > 0


def _too_few_shares(b: Counts, k: Counts, c: int, t: int) -> Mask:
    return b + k > c - t - 1


def _too_few_survivors(b: Counts, k: Counts, c: int, t: int) -> Mask:
    return b + k > c - t


def _undetected(b: Counts, k: Counts, c: int, t: int) -> Mask:
    return (b > 0) & (b + k > c - t - 1)


def _detected_or_few(b: Counts, k: Counts, c: int, t: int) -> Mask:
    return (b > 0) | (k > c - t - 1)


def _uncorrected(b: Counts, k: Counts, c: int, t: int) -> Mask:
    return (b > 0) & (2 * b + k > c - t - 1)


def _not_corrected(b: Counts, k: Counts, c: int, t: int) -> Mask:
    return 2 * b + k > c - t - 1


SCHEMES: Mapping[str, Mapping[str, Scheme]] = MappingProxyType(
    {
        "plaintext": {
            "passive": Scheme(
                private=_opens_all,
                wrong=_any_byzantine,
                stopped=_any_absent,
                threshold=None,
                source="protocols/secure_sum/plaintext.py",
            )
        },
        "additive": {
            "passive": Scheme(
                private=_opens_the_last,
                wrong=_any_byzantine,
                stopped=_any_absent,
                threshold=None,
                source="Knott et al. 2021, CrypTen, NeurIPS: n-of-n additive shares",
            )
        },
        "authenticated": {
            "abort": Scheme(
                private=_opens_the_last,
                wrong=_never,
                stopped=_any_absent,
                threshold=None,
                source="Damgård, Pastro, Smart, Zakarias 2012, CRYPTO (SPDZ)",
            )
        },
        "shamir": {
            "correct": Scheme(
                private=_shared,
                wrong=_uncorrected,
                stopped=_not_corrected,
                threshold="c/3",
                source="McEliece and Sarwate 1981: Shamir's shares as a Reed-Solomon code",
            ),
            "detect": Scheme(
                private=_shared,
                wrong=_undetected,
                stopped=_detected_or_few,
                threshold="c/2",
                source="Reed-Solomon distance c - k - t",
            ),
            "passive": Scheme(
                private=_shared, wrong=_any_byzantine, stopped=_too_few_shares, threshold="c/2", source="Shamir 1979"
            ),
            "vss": Scheme(
                private=_shared,
                wrong=_undetected,
                stopped=_too_few_shares,
                threshold="c/2",
                source="Rabin and Ben-Or 1989, STOC",
            ),
        },
        "masked": {
            "semi_honest": Scheme(
                private=_masked,
                wrong=_any_byzantine,
                stopped=_too_few_survivors,
                threshold="2c/3",
                smallest_threshold=1,
                source="Bonawitz et al. 2017, CCS, section 6, honest but curious server",
            ),
            "malicious_server": Scheme(
                private=_masked_two_lists,
                wrong=_any_byzantine,
                stopped=_too_few_survivors,
                threshold="2c/3+1",
                smallest_threshold=1,
                source="Bonawitz et al. 2017, CCS, section 6, active server",
            ),
        },
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

    Guarantees:
        Each predicate holds exactly at the bad occupancies of table 2.1 of the design notes.
    """

    protocol: str
    mode: str
    scheme: Scheme
    threshold: str | None
    revealed: bool = True
    checked_inputs: bool = False

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

    def lost(self, c: int, b: Counts, k: Counts) -> Mask:
        """Return where b Byzantine and k crashed members keep a cluster of c from delivering, elementwise."""
        return self.scheme.stopped(b, k, c, self.threshold_at(c))

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
