"""Strata that put one member into each cluster: what spreading by trust, or by anything else, makes of the law."""

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from protocols.check import CloisterError
from protocols.tolerance.binomial import Floats
from protocols.tolerance.kinds import MarkedEvent, apart
from protocols.tolerance.laws import Event, poisson_binomial
from protocols.tolerance.parts import Mask
from protocols.tolerance.sieve import sieved
from protocols.tolerance.solve import Probability, bounds_on
from protocols.tolerance.union import bracket

__all__ = ["Strata"]

_MOST_STATES = 60_000
_FEW_FAULTY = 24
_MOST_PRODUCTS = 20_000_000
_MOST_SPLITS = 50_000  # well below a second
_MEET = 1e-9
_MANY = "rows and columns of a 0/1 table with given sums are counted in too many ways"


@dataclass(frozen=True, kw_only=True)
class Strata:
    """Every stratum puts one of its members into each of the m clusters, in random order: spread by trust.

    strata[s][k] is the probability that k members of stratum s are faulty. All strata have m members but the last,
    which has `last` (0: none is smaller). Exact by the histogram of the clusters while that takes at most 60,000
    states (clusters are exchangeable), or by inclusion and exclusion where few clusters are bad at once; else the
    negative-association sandwich, or bounds.

    Guarantees:
        Equal to trying every order in every stratum, or bounds around it.
    Source: Joag-Dev and Proschan 1983: a random permutation is negatively associated, and so are sums of several.
    """

    clusters: int
    strata: tuple[tuple[float, ...], ...]
    last: int = 0

    def __post_init__(self) -> None:
        widths = [len(law) - 1 for law in self.strata]
        expected = [self.clusters] * len(widths)
        if self.last and expected:
            expected[-1] = self.last
        if not widths or widths != expected:
            raise CloisterError(
                f"strata of {widths} members do not fit m = {self.clusters} clusters; allowed: {expected}"
            )

    @property
    def _sizes(self) -> tuple[tuple[int, int], ...]:
        """(size, how many clusters): those with a member of the smaller stratum first."""
        whole = len(self.strata) - (1 if self.last else 0)
        return ((whole + 1, self.last), (whole, self.clusters - self.last)) if self.last else ((whole, self.clusters),)

    def probability(self, event: Event) -> Probability:
        """See Law."""
        masks = [event.masks(size) for size, _ in self._sizes]
        states = self._states()
        if states is not None:
            value = math.fsum(weight for state, weight in states.items() if _counts(state, masks, event.most))
            return Probability.exact(min(1.0, value), "histogram")
        return self._sieved(
            [(safe.astype(np.float64), bad.astype(np.float64)) for safe, bad in masks],
            event,
            self._sandwich(event, masks),
        )

    def _sieved(
        self, soft: Sequence[tuple[Floats, Floats]], event: Event | MarkedEvent, found: Probability
    ) -> Probability:
        """What inclusion and exclusion says beyond that, which ends where some clusters more are hardly ever bad."""
        if found.engine != "bounds" or event.most < 0 or (event.forbidden is not None and event.most > 0):
            return found

        def series(bad: Sequence[Floats]) -> tuple[float, float]:
            return sieved(self.strata, self.clusters, self.last, bad, event.most)

        if event.forbidden is None:
            lower, upper = series([bad for _, bad in soft])
        else:  # some cluster is bad or forbidden, but none is forbidden
            (low, high), (barred_low, barred_high) = (
                series(each) for each in ([1.0 - safe for safe, _ in soft], [1.0 - safe - bad for safe, bad in soft])
            )
            lower, upper = max(0.0, low - barred_high), max(0.0, high - barred_low)
        lower, upper = max(lower, found.lower), min(upper, found.upper)
        if upper - lower <= _MEET * upper:
            return Probability.exact(upper, "inclusion and exclusion")
        return bounds_on(lower, upper, because=_MANY)

    def marked(self, event: MarkedEvent) -> Probability:
        """See Law: one histogram after the other, or the union bound."""
        if event.most < 0 and event.forbidden is None:
            return Probability.exact(1.0, "certain")
        soft = [event.given(size) for size, _ in self._sizes]
        states = self._states()
        if states is not None and len(states) * self.clusters * (event.most + 2) <= _MOST_PRODUCTS:
            held = [np.concatenate([np.repeat(np.arange(len(row)), row) for row in state]) for state in states]
            group = np.repeat(np.arange(len(self._sizes)), [count for _, count in self._sizes])
            columns = zip(group.tolist(), np.array(held).T, strict=True)
            found = apart(((soft[i][0][x], soft[i][1][x]) for i, x in columns), event.most)
            return Probability.exact(min(1.0, float(found @ np.array(list(states.values())))), "histogram")
        laws = [np.array(self._marginal(with_last=place == 0 and self.last > 0)) for place in range(len(soft))]
        shares = [float(law @ bad) for law, (_, bad) in zip(laws, soft, strict=True)]
        bounds = bracket(shares, [count for _, count in self._sizes], event.most, associated=False)
        found = bounds_on(0.0 if event.forbidden else bounds.lower, bounds.upper, because=_MANY)
        return self._sieved(soft, event, found)

    def _sandwich(self, event: Event, masks: Sequence[tuple[Mask, Mask]]) -> Probability:
        laws = [self._marginal(with_last=place == 0 and self.last > 0) for place in range(len(masks))]
        counts = [count for _, count in self._sizes]
        shares = [float(np.array(law)[bad].sum()) for law, (_, bad) in zip(laws, masks, strict=True)]
        many, share = np.array(counts, dtype=np.float64), np.minimum(np.array(shares), 1.0)
        rising = all(not bad.any() or bool(bad[int(np.argmax(bad)) :].all()) for _, bad in masks)
        if event.most < 0 and event.forbidden is None:
            return Probability.exact(1.0, "certain")
        bounds = bracket(share, counts, event.most, associated=rising)
        if event.most > 0 or event.forbidden is not None or not rising:
            return bounds_on(0.0 if event.forbidden else bounds.lower, bounds.upper, because=_MANY)
        with np.errstate(divide="ignore"):
            apart = float(-np.expm1(np.sum(many * np.log1p(-share))))
        return bounds_on(max(apart, bounds.lower), bounds.upper, because=_MANY)

    def _marginal(self, *, with_last: bool) -> tuple[float, ...]:
        """The law of one cluster: one member of each stratum, faulty with the mean share of its stratum."""
        used = self.strata if with_last or not self.last else self.strata[:-1]
        means = [sum(k * weight for k, weight in enumerate(law)) / (len(law) - 1) for law in used]
        return poisson_binomial([min(1.0, mean) for mean in means])

    def _states(self) -> dict[tuple[tuple[int, ...], ...], float] | None:
        """Histograms (clusters with 0, 1, .. faulty members, for each size) -> probability; None if too many."""
        depth = len(self.strata) + 1
        most_faulty = sum(max(k for k, chance in enumerate(law) if chance) for law in self.strata)
        if most_faulty > _FEW_FAULTY and math.comb(self.clusters + depth - 1, depth - 1) > 20 * _MOST_STATES:
            return None  # there is no hope to finish
        start = tuple((count, *[0] * (depth - 1)) for _, count in self._sizes)
        states: dict[tuple[tuple[int, ...], ...], float] = {start: 1.0}
        order = [
            (law, len(law) - 1 == self.last and place == len(self.strata) - 1 and self.last > 0)
            for place, law in enumerate(self.strata)
        ]
        work = 0
        for law, only_larger in order:
            following: defaultdict[tuple[tuple[int, ...], ...], float] = defaultdict(float)
            for state, weight in states.items():
                for k, chance in enumerate(law):
                    if not chance:
                        continue
                    work += _splits(state, k, only_larger=only_larger)
                    if work > _MOST_SPLITS or len(following) > _MOST_STATES:
                        return None
                    for moved, share in _moves(state, k, only_larger=only_larger):
                        following[moved] += weight * chance * share
            states = following
        return states


def _splits(state: tuple[tuple[int, ...], ...], k: int, *, only_larger: bool) -> int:
    """How many ways _moves has to look at."""
    reached = state[:1] if only_larger else state
    return math.prod(min(many, k) + 1 for row in reached for many in row)


def _moves(
    state: tuple[tuple[int, ...], ...], k: int, *, only_larger: bool
) -> list[tuple[tuple[tuple[int, ...], ...], float]]:
    """Where k faulty members go, one to a cluster: the histograms after it, with their probabilities."""
    reached = 1 if only_larger else len(state)
    cells = [(i, x, many) for i in range(reached) for x, many in enumerate(state[i]) if many]
    whole = math.comb(sum(many for _, _, many in cells), k)
    found: list[tuple[tuple[tuple[int, ...], ...], float]] = []
    for taken in product(*(range(min(many, k) + 1) for _, _, many in cells)):
        if sum(taken) != k:
            continue
        rows = [list(row) for row in state]
        ways = 1
        for (i, x, many), t in zip(cells, taken, strict=True):
            ways *= math.comb(many, t)
            rows[i][x] -= t
            if t:
                rows[i][x + 1] += t
        found.append((tuple(tuple(row) for row in rows), ways / whole))
    return found


def _counts(state: Sequence[Sequence[int]], masks: Sequence[tuple[Mask, Mask]], most: int) -> bool:
    bad = 0
    for row, (safe, wrong) in zip(state, masks, strict=True):
        for x, many in enumerate(row):
            if not many:
                continue
            if wrong[x]:
                bad += many
            elif not safe[x]:
                return False
    return bad > most
