"""The law of who sits where: how many faulty processes each cluster holds, for every policy and fault placement.

A policy draws the clusters (`random`, `sticky`, `hierarchical`, `overlapping`), or public facts fix them. Clusters
drawn independently of the faults have the uniform law given how many are faulty, whatever made them so; so have all
clusters, fixed or not, if the faults are exchangeable. Everything else has a law of its own here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from protocols.check import CloisterError
from protocols.tolerance.binomial import Floats, log_binomial
from protocols.tolerance.kinds import MarkedEvent, apart, drawn
from protocols.tolerance.parts import Groups, Mask, NotExactError, parts_of
from protocols.tolerance.solve import Probability, bounds_on, tail
from protocols.tolerance.union import tail_bounds

__all__ = [
    "Event",
    "Independent",
    "Law",
    "Mixture",
    "OneKind",
    "Uniform",
    "iid",
    "poisson_binomial",
]

OneKind = Callable[[int], Mask]
"""Size of a cluster -> which numbers of faulty members are bad: a mask of length size + 1."""
_NEGLIGIBLE = 1e-13
_MOST_SHARES = 20_000


@dataclass(frozen=True, kw_only=True)
class Event:
    """More than `most` clusters are bad, and none is forbidden."""

    bad: OneKind
    most: int
    forbidden: OneKind | None = None

    def masks(self, size: int) -> tuple[Mask, Mask]:
        """Return (safe, bad) numbers of faulty members of a cluster; what is neither is forbidden."""
        wrong = self.bad(size)
        barred = self.forbidden(size) if self.forbidden else np.zeros_like(wrong)
        return ~wrong & ~barred, wrong & ~barred


class Law(Protocol):
    """A law of the numbers of faulty members of all clusters."""

    def probability(self, event: Event) -> Probability:
        """Return the probability of the event, or bounds on it (engine "bounds")."""
        ...

    def marked(self, event: MarkedEvent) -> Probability:
        """Return that of an event of several kinds of fault, all placed by this law (see `kinds`), or bounds on it."""
        ...


@dataclass(frozen=True, kw_only=True)
class Uniform:
    """`faulty` of the n processes, every choice of them equally likely; clusters fixed or drawn.

    Guarantees:
        Equal to counting every placement.
    """

    n: int
    faulty: int
    groups: Groups

    def probability(self, event: Event) -> Probability:
        """See Law."""
        if event.most < 0 and event.forbidden is None:
            return Probability.exact(1.0, "certain")
        parts = parts_of(self.groups, event.bad, event.forbidden)
        try:
            return tail(parts, self.n, (self.faulty,), max(event.most, -1))
        except NotExactError as error:
            bound = tail_bounds(parts_of(self.groups, event.bad), self.n, (self.faulty,), event.most)
            return bounds_on(0.0 if event.forbidden else bound.lower, bound.upper, because=str(error))

    def marked(self, event: MarkedEvent) -> Probability:
        """See Law; exactly so many processes of each kind."""
        if event.most < 0 and event.forbidden is None:
            return Probability.exact(1.0, "certain")
        try:
            return tail(parts_of(self.groups, event.bad, event.forbidden), self.n, event.kinds, max(event.most, -1))
        except NotExactError as error:
            bound = tail_bounds(parts_of(self.groups, event.bad), self.n, event.kinds, event.most)
            return bounds_on(0.0 if event.forbidden else bound.lower, bound.upper, because=str(error))


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Clusters drawn uniformly, the number of faulty processes random: totals[f] is the probability of f.

    So are faults that come by whole domains, or with a probability of their own each, under a policy that draws the
    clusters without looking: given how many they are, every placement is equally likely.

    Guarantees:
        Equal to the mean over the totals of the uniform law.
    """

    n: int
    groups: Groups
    totals: tuple[float, ...]

    def probability(self, event: Event) -> Probability:
        """See Law."""
        lower = upper = 0.0
        because = ""
        left = math.fsum(self.totals)
        # The likeliest first: what is left when it cannot change twelve digits any more is not computed.
        for f in sorted(range(len(self.totals)), key=lambda total: -self.totals[total]):
            if left <= _NEGLIGIBLE * lower or not self.totals[f]:
                break
            found = Uniform(n=self.n, faulty=f, groups=self.groups).probability(event)
            lower, upper = lower + self.totals[f] * found.lower, upper + self.totals[f] * found.upper
            because = because or found.because
            left -= self.totals[f]
        if because:
            return bounds_on(lower, upper + max(left, 0.0), because=because)
        return Probability.exact(min(1.0, lower), "mixture")

    def marked(self, event: MarkedEvent) -> Probability:
        """See Law."""
        return drawn(event, self.n, self.groups, self.totals)


@dataclass(frozen=True, kw_only=True)
class Independent:
    """Clusters that do not depend on each other: the law of each one's faulty members, and how many have that law.

    Guarantees:
        Equal to counting every placement, weighted by its probability.
    """

    clusters: tuple[tuple[tuple[float, ...], int], ...]

    def probability(self, event: Event) -> Probability:
        """See Law."""
        shares: list[tuple[float, float]] = []
        for law, count in self.clusters:
            safe, bad = event.masks(len(law) - 1)
            weights = np.array(law)
            shares += [(float(weights[safe].sum()), float(weights[bad].sum()))] * count
        if event.most <= 0 and event.forbidden is None:
            # 1 - prod(1 - h): the only subtraction, of logarithms.
            with np.errstate(divide="ignore"):
                bad_share = np.array([min(1.0, bad) for _, bad in shares])
                value = 1.0 if event.most < 0 else float(-np.expm1(np.log1p(-bad_share).sum()))
            return Probability.exact(value, "product")
        rows = np.zeros(len(shares) + 1)
        rows[0] = 1.0
        for safe, bad in shares:
            rows[1:], rows[0] = rows[1:] * safe + rows[:-1] * bad, rows[0] * safe
        return Probability.exact(min(1.0, float(rows[max(event.most + 1, 0) :].sum())), "product")

    def marked(self, event: MarkedEvent) -> Probability:
        """See Law."""
        shares: list[tuple[Floats, Floats]] = []
        for law, count in self.clusters:
            safe, bad = (np.array([np.array(law) @ side]) for side in event.given(len(law) - 1))
            shares += [(safe, bad)] * count
        return Probability.exact(float(apart(shares, event.most)[0]), "product")


def iid(groups: Groups, share: float) -> Independent:
    """Return the law of faults that are independent with one probability; CloisterError unless it is in 0..1."""
    if not 0 <= share <= 1:
        raise CloisterError(f"faulty = {share!r} is not allowed; allowed: a probability from 0 to 1")
    return Independent(
        clusters=tuple(
            (tuple(np.exp(log_binomial(np.arange(size + 1.0), np.asarray(float(size)), share)).tolist()), count)
            for size, count in groups
        )
    )


def poisson_binomial(shares: Sequence[float]) -> tuple[float, ...]:
    """Return the law of how many of independent events of these probabilities happen, by additions only.

    Raises: NotExactError for more than 20,000 of them, CloisterError for a probability outside 0..1.
    """
    if len(shares) > _MOST_SHARES:
        raise NotExactError(f"the sum of {len(shares)} faults of unlike probability; allowed: up to {_MOST_SHARES}")
    law = np.zeros(len(shares) + 1)
    law[0] = 1.0
    for share in shares:
        if not 0 <= share <= 1:
            raise CloisterError(f"a probability of {share!r} is not allowed; allowed: 0 to 1")
        law[1:], law[0] = law[1:] * (1 - share) + law[:-1] * share, law[0] * (1 - share)
    return tuple(law.tolist())
