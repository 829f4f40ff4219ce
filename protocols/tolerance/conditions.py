"""What each protocol tolerates inside one cluster: which occupancies break secrecy, correctness, delivery.

A cluster of c members holds b Byzantine, k crashed and p curious ones; a = b + p pool what they see.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance._predicates import opens_all
from protocols.tolerance.expressions import parse_threshold
from protocols.tolerance.parts import Mask
from protocols.tolerance.schemes import SCHEMES, Scheme

__all__ = ["Conditions", "check_least_passing", "conditions_of"]

Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What one protocol tolerates in a cluster of any size.

    `revealed`: the cluster's sum is opened to the aggregator (else it stays shared). `checked_inputs`: Byzantine
    members cannot move the cluster's mean arbitrarily, so that it is wrong only where its sharing breaks.
    `least_honest`: a sum is withheld unless it has the inputs of that many members beyond those who may collude.
    `least_passing`: inputs are checked one by one, and nothing opens unless so many pass, which Byzantine ones need
    not.

    Guarantees:
        Each predicate holds exactly at the bad occupancies of table 2.1 of the design notes; secrecy also breaks
        where crashes leave one input alone in a sum.
    """

    protocol: str
    mode: str
    scheme: Scheme
    threshold: str | None
    revealed: bool = True
    checked_inputs: bool = False
    least_honest: int = 0
    least_passing: int = 0

    @property
    def opens_inputs(self) -> bool:
        """Whether each input is sent as it is."""
        return self.scheme.private is opens_all

    def threshold_at(self, c: int) -> int:
        """Return the threshold of a cluster of c; CloisterError where no sharing has such a threshold."""
        check_least_passing(self.least_passing, c)
        if self.threshold is None:
            return 0
        t = self.scheme.threshold_of(self.threshold)(c)
        if self.scheme.check_threshold is not None:
            self.scheme.check_threshold(c, t)
        least = self.scheme.smallest_threshold
        most = c - 1 + least
        if not least <= t <= most:
            raise CloisterError(
                f"threshold = {self.threshold!r} gives {t} for clusters of {c}; allowed: {least} to {most}"
            )
        return t

    def exposed(self, c: int, a: Counts, k: Counts) -> Mask:
        """Return where a = b + p colluding and k crashed members of a cluster of c can break secrecy, elementwise.

        Besides what colluding members can open, k crashes can leave a sum with one input that they do not know.
        """
        opened = self.scheme.private(a, c, self.threshold_at(c), self.revealed)
        if not np.any(k):  # then that sum is one that all but one know, which no scheme calls private
            return opened | (k > 0)
        return opened | self._left_alone(c, a, k)

    def _left_alone(self, c: int, a: Counts, k: Counts) -> Mask:
        """Such a sum has the inputs of all colluding members and one more, which must be enough for it to open; all
        other members but the crashed ones would be in it."""
        crashes = np.arange(c + 1)
        most = crashes[~self.lost(c, np.zeros_like(crashes), crashes)].max(initial=-1)
        return (c - a - k <= 1) & (a < c) & (a + 1 >= c - most) & self.revealed

    def most_exposed(self, c: int, a: Counts, crashed: int) -> Mask:
        """Return where a colluding members break secrecy at worst, with up to `crashed` of the others crashed."""
        return self.exposed(c, a, np.minimum(c - a, crashed))

    def lost(self, c: int, b: Counts, k: Counts) -> Mask:
        """Return where b Byzantine and k crashed members keep a cluster of c from delivering, elementwise."""
        t = self.threshold_at(c)
        few = b + k > c - self.scheme.colluding(c, t) - self.least_honest
        return self.scheme.stopped(b, k, c, t) | few | (b + 0 * k > c - self.least_passing)

    def tainted(self, c: int, b: Counts, k: Counts) -> Mask:
        """Return where what it delivers is wrong: broken sharing, or a Byzantine input that is not checked."""
        wrong = self.scheme.wrong(b, k, c, self.threshold_at(c))
        return wrong if self.checked_inputs else wrong | (b + 0 * k > 0)

    def failed(self, c: int, b: Counts, k: Counts) -> Mask:
        """Return where the cluster counts against the outer rule: tainted or lost."""
        return self.tainted(c, b, k) | self.lost(c, b, k)


def check_least_passing(least: int, members: int) -> None:
    """Raise CloisterError where more members would have to pass a check of their inputs than there are."""
    if least > members:
        raise CloisterError(
            f"least_passing = {least} of {members} members opens nothing; allowed: 1 to {members}, or larger clusters"
        )


def conditions_of(
    protocol: str,
    *,
    mode: str | None = None,
    threshold: str | None = None,
    revealed: bool = True,
    checked_inputs: bool = False,
) -> Conditions:
    """Return the conditions of a protocol's sharing, which opens what it can; mode and threshold default to its own.

    A registered protocol withholds more (`least_honest`): see its own `conditions`, or playable.conditions_named.

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
