"""Failure domains that fail as a whole, under clusters that are fixed by public facts."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.binomial import Floats
from protocols.tolerance.kinds import MarkedEvent, apart
from protocols.tolerance.laws import Event, OneKind, Uniform
from protocols.tolerance.parts import Mask
from protocols.tolerance.solve import Probability, bounds_on
from protocols.tolerance.transfer import transferred
from protocols.tolerance.union import bracket

__all__ = ["Domains"]

_MOST_STATES = 60_000
_MOST_ENTRIES = 20_000_000
_MOST_MOVES = 5_000_000  # of tuples of Python, one entry at a time: seconds
# With clusters as edges and domains as vertices, choices that break none of them are the independent sets of a graph:
# #P-complete to count (Provan and Ball 1983). Where few clusters are open at once, a sweep counts them all the same.
_HARD = "choices of domains that share clusters are #P-hard to count, and these share too many at once"


@dataclass(frozen=True, kw_only=True)
class Domains:
    """`failing` of the failure domains fail, every choice equally likely, and take all their processes with them.

    members[d, j] counts the processes of domain d in cluster j: fixed clusters (locality, striping, round robin).
    Exact by counting the choices one by one (few domains), by a sweep over the domains (`transfer`: consecutive
    clusters, stripes that nest) or with domains that are spread alike together, each while it takes about a second;
    else bounds from each cluster's own law, which stays exact.

    Guarantees:
        Equal to trying every choice of domains, or bounds around it.
    """

    members: NDArray[np.int64]
    failing: int

    def __post_init__(self) -> None:
        check.integer_at_least(0, failing=self.failing)
        if self.failing > len(self.members):
            raise CloisterError(
                f"failing = {self.failing} is more than the {len(self.members)} domains; "
                f"allowed: 0 to {len(self.members)}"
            )

    def probability(self, event: Event) -> Probability:
        """See Law."""
        units = self._as_units(event)
        if units is not None:
            return units
        sizes = self.members.sum(axis=0).tolist()
        masks = [event.masks(size) for size in sizes]
        choices = math.comb(len(self.members), self.failing)
        if choices * self.failing * len(masks) <= _MOST_ENTRIES:
            return Probability.exact(float(Fraction(self._enumerated(masks, event.most), choices)), "counting domains")
        soft = [(safe.astype(np.float64), bad.astype(np.float64)) for safe, bad in masks]
        swept = transferred(self.members, self.failing, soft, event.most)
        if swept is not None:
            return Probability.exact(swept, "sweep over domains")
        states = self._states
        if states is not None:
            hits = sum(many for held, many in states.items() if _happens(held, masks, event.most))
            return Probability.exact(float(Fraction(hits, choices)), "counting domains")
        if event.most < 0 and event.forbidden is None:
            return Probability.exact(1.0, "certain")
        return self._bounded([float(self._share(j, bad)) for j, (_, bad) in enumerate(masks)], event)

    def _bounded(self, shares: Sequence[float], event: Event | MarkedEvent) -> Probability:
        bounds = bracket(shares, [1] * len(shares), event.most, associated=False)
        return bounds_on(0.0 if event.forbidden else bounds.lower, bounds.upper, because=_HARD)

    def _as_units(self, event: Event) -> Probability | None:
        """Where domains of one size lie whole in clusters, they are to clusters what processes are otherwise."""
        alone = (self.members > 0).sum(axis=1) == 1
        held = self.members[self.members > 0]
        if not (alone.all() and len(held) and (held == held[0]).all()):
            return None
        size = int(held[0])
        counts = (self.members > 0).sum(axis=0).tolist()
        groups = tuple(sorted((units, counts.count(units)) for units in set(counts)))

        def thinned(mask: OneKind) -> OneKind:
            return lambda units: mask(units * size)[::size]

        return Uniform(n=len(self.members), faulty=self.failing, groups=groups).probability(
            Event(
                bad=thinned(event.bad),
                most=event.most,
                forbidden=thinned(event.forbidden) if event.forbidden else None,
            )
        )

    def marked(self, event: MarkedEvent) -> Probability:
        """See Law: one choice of domains after the other, or one way in which they lie in clusters."""
        if event.most < 0 and event.forbidden is None:
            return Probability.exact(1.0, "certain")
        sizes = self.members.sum(axis=0).tolist()
        soft = {size: event.given(size) for size in set(sizes)}
        choices = math.comb(len(self.members), self.failing)
        if choices * max(1, self.failing) * len(sizes) * (event.most + 2) <= _MOST_ENTRIES:
            chosen = np.array(list(combinations(range(len(self.members)), self.failing)), dtype=np.int64)
            held, ways = self.members[chosen].sum(axis=1), np.ones(len(chosen))
        else:
            swept = transferred(self.members, self.failing, [soft[size] for size in sizes], event.most)
            if swept is not None:
                return Probability.exact(swept, "sweep over domains")
            states = self._states
            if states is None or len(states) * len(sizes) * (event.most + 2) > _MOST_ENTRIES:
                return self._marked_bounds(event, sizes, soft)
            held, ways = np.array(list(states)), np.array([float(many) for many in states.values()])
        found = apart(
            ((soft[size][0][column], soft[size][1][column]) for size, column in zip(sizes, held.T, strict=True)),
            event.most,
        )
        return Probability.exact(min(1.0, float(found @ (ways / ways.sum()))), "counting domains")

    def _marked_bounds(
        self, event: MarkedEvent, sizes: Sequence[int], soft: Mapping[int, tuple[Floats, Floats]]
    ) -> Probability:
        return self._bounded([self._mean(j, soft[size][1]) for j, size in enumerate(sizes)], event)

    def _enumerated(self, masks: Sequence[tuple[Mask, Mask]], most: int) -> int:
        """In how many choices of domains the event happens."""
        chosen = np.array(list(combinations(range(len(self.members)), self.failing)), dtype=np.int64)
        bad = np.zeros(len(chosen), dtype=np.int64)
        allowed = np.ones(len(chosen), dtype=np.bool_)
        for column, (safe, wrong) in zip(self.members.T, masks, strict=True):
            held = column[chosen].sum(axis=1)
            bad += wrong[held]
            allowed &= wrong[held] | safe[held]
        return int(np.count_nonzero(allowed & (bad > most)))

    @cached_property  # for all sides of one design
    def _states(self) -> dict[tuple[int, ...], int] | None:
        """Faulty members of every cluster -> how many choices of domains give them; None if there are too many."""
        rows, many = np.unique(self.members, axis=0, return_counts=True)
        states: dict[tuple[int, tuple[int, ...]], int] = {(0, (0,) * self.members.shape[1]): 1}
        left, work = len(self.members), 0
        for row, count in zip(rows.tolist(), many.tolist(), strict=True):
            left -= count
            work += len(states) * len(row) * (min(count, self.failing) + 1)
            if work > _MOST_MOVES:
                return None
            following: defaultdict[tuple[int, tuple[int, ...]], int] = defaultdict(int)
            for (used, held), ways in states.items():
                for k in range(max(0, self.failing - used - left), min(count, self.failing - used) + 1):
                    moved = tuple(x + k * y for x, y in zip(held, row, strict=True))
                    following[used + k, moved] += ways * math.comb(count, k)
            if len(following) > _MOST_STATES:
                return None
            states = following
        return {held: ways for (_, held), ways in states.items()}

    def _share(self, cluster: int, bad: Mask) -> Fraction:
        """P(one cluster is bad)."""
        return sum((share for x, share in self._law(cluster).items() if bad[x]), Fraction(0))

    def _mean(self, cluster: int, bad: Floats) -> float:
        """P(one cluster is bad), where x faulty members make it so with probability bad[x]."""
        return math.fsum(float(share) * float(bad[x]) for x, share in self._law(cluster).items())

    def _law(self, cluster: int) -> dict[int, Fraction]:
        """The law of a cluster's faulty members: the choices of domains by how many they take, in whole numbers."""
        held: list[int] = self.members[:, cluster].tolist()
        ways: dict[tuple[int, int], int] = {(0, 0): 1}
        for members in set(held):
            count = held.count(members)
            following: defaultdict[tuple[int, int], int] = defaultdict(int)
            for (used, x), many in ways.items():
                for k in range(min(count, self.failing - used) + 1):
                    following[used + k, x + k * members] += many * math.comb(count, k)
            ways = following
        choices = math.comb(len(held), self.failing)
        return {x: Fraction(many, choices) for (used, x), many in ways.items() if used == self.failing}


def _happens(held: Sequence[int], masks: Sequence[tuple[Mask, Mask]], most: int) -> bool:
    bad = 0
    for x, (safe, wrong) in zip(held, masks, strict=True):
        if wrong[x]:
            bad += 1
        elif not safe[x]:
            return False
    return bad > most
