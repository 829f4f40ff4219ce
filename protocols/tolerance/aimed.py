"""An adversary who sees the clusters and moves some of the faulty processes: the law of what it can break.

Where more faulty members are never better for a cluster, each cluster is broken by moves into it, which no other one
shares: F + 1 clusters cost the sum of the F + 1 smallest distances from what is bad. That sum is within a budget in
ways that exclude each other: so many clusters at each of the first distances, and at least so many at the last one.
Each way is one tail, and nothing is ever subtracted.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance.kdist import distribution
from protocols.tolerance.kinds import MarkedEvent
from protocols.tolerance.laws import Event, Uniform
from protocols.tolerance.parts import BadSet, Groups, Mask, NotExactError, Part, clusters_of
from protocols.tolerance.saddle import saddle_tail
from protocols.tolerance.solve import Probability, bounds_on, tail

__all__ = ["Aimed"]

Distances = NDArray[np.int64]
_FAR = 2**40
_MOST_TERMS = 600
_AGREE = 1e-9


@dataclass(frozen=True, kw_only=True)
class Aimed:
    """All faulty processes are placed uniformly; then an adversary who sees the clusters moves up to `moves` of them.

    A move makes one process honest and another one faulty in its way. What an event forbids must not be within reach
    either. Exact where one bad cluster is enough; where it takes several, exact if more faulty members are never
    better for a cluster and the first kind of fault can break so many clusters by itself, as long as the ways to do
    so are few enough; else bounds that say why.

    Guarantees:
        Equal to the adversary's best over every placement, or bounds around it.
    Source: design notes 2.4, adaptive adversaries. The notes replace f by f - g R, as if those who move were set
        apart before the draw; here they are chosen after it, as the placement `targeted` does, which is worse.
    """

    n: int
    faulty: int
    groups: Groups
    moves: int

    def probability(self, event: Event) -> Probability:
        """See Law."""
        kinds = (self.faulty,)
        return self.marked(MarkedEvent(kinds=kinds, bad=event.bad, most=event.most, forbidden=event.forbidden))

    def marked(self, event: MarkedEvent) -> Probability:
        """See Law; any of the faulty processes moves, whatever its kind."""
        if not self.moves or sum(event.kinds) + event.unseen in {0, self.n}:
            return self._placed.marked(event)
        found = self._judged(_with_unseen(event))
        if not event.unseen or found.engine != "bounds":
            return found
        # Without the room that those unseen take up, more is within reach; without a move, less.
        roomy, still = self._judged(event), self._placed.marked(event)
        lower = 0.0 if event.forbidden else still.lower
        return bounds_on(max(found.lower, lower), min(found.upper, roomy.upper), because=found.because)

    def _judged(self, event: MarkedEvent) -> Probability:
        try:
            barred = event.forbidden and self._within(event, event.forbidden)
            reached = self._placed.marked(replace(event, bad=self._within(event, event.bad), forbidden=barred))
        except NotExactError as error:  # too many occupancies of so large a cluster
            return bounds_on(0.0, 1.0, because=str(error))
        if event.most <= 0 or event.most >= clusters_of(self.groups) or reached.upper == 0.0:
            return reached
        return self._several(replace(event, forbidden=barred), reached)

    @property
    def _placed(self) -> Uniform:
        return Uniform(n=self.n, faulty=self.faulty, groups=self.groups)

    def _possible(self, event: MarkedEvent, size: int) -> Mask:
        """The occupancies that a cluster can have: of members that exist, with room elsewhere for the others."""
        axes = np.indices(event.bad(size).shape, sparse=True)
        held = np.asarray(sum(axes))
        mask = (held <= size) & (sum(event.kinds) - held <= self.n - size)
        for axis, count in zip(axes, event.kinds, strict=True):
            mask = mask & (axis <= count)
        return mask

    def _within(self, event: MarkedEvent, bad: BadSet) -> BadSet:
        """The occupancies from which moves in and out, each of one process, make a cluster bad."""
        return lambda size: _distances(bad(size) & self._possible(event, size)) <= self.moves

    def _several(self, event: MarkedEvent, reached: Probability) -> Probability:
        """More than one bad cluster is needed; what is forbidden already counts what is within reach."""
        possible = {size: self._possible(event, size) for size, _ in self.groups}
        bad = {size: event.bad(size) & room for size, room in possible.items()}
        wanted = event.most + 1
        if _cost(sorted((_fewest(bad[size]), count) for size, count in self.groups), wanted) > sum(event.kinds):
            return Probability.exact(0.0, "certain")
        if not all(_rising(bad[size], room) for size, room in possible.items()):
            return self._counted(event, reached, "a move from one cluster to another may break both")
        try:
            upper = self._bought(event, {size: _cheapest(mask) for size, mask in bad.items()})
            lower = self._placed.marked(event).lower
            for kind, count in enumerate(event.kinds):
                # The dearest first, so that there are enough for whichever clusters are the cheapest.
                alone = sorted(((_first_alone(bad[size], kind), many) for size, many in self.groups), reverse=True)
                if _cost(alone, wanted) <= count and upper > lower * (1 + _AGREE):
                    lower = max(lower, self._bought(event, {size: _steps(mask, kind) for size, mask in bad.items()}))
        except NotExactError as error:
            return self._counted(event, reached, str(error))
        if upper <= lower * (1 + _AGREE):
            return Probability.exact(upper, "budgets of moves")
        return bounds_on(lower, upper, because="no kind of fault can break so many clusters without the others")

    def _counted(self, event: MarkedEvent, reached: Probability, because: str) -> Probability:
        """Bounds: no move changes more than two clusters, and each that breaks must have been within reach."""
        fewer = self._placed.marked(replace(event, most=max(-1, event.most - 2 * self.moves)))
        return bounds_on(self._placed.marked(event).lower, min(fewer.upper, reached.upper), because=because)

    def _bought(self, event: MarkedEvent, prices: dict[int, Distances]) -> float:
        """P(the most + 1 smallest prices add up to `moves` at most, and nothing forbidden)."""
        seen = tuple(slice(None) if count else 0 for count in event.kinds)
        counts = [count for count in event.kinds if count]
        shops = [_shop(event, size, count, prices[size], seen) for size, count in self.groups]
        wanted = event.most + 1
        total = tail([shop.rest(0, shop.count) for shop in shops], self.n, counts, event.most).value
        if total > 1 - 1e-15:
            return 1.0
        stocks = [shop.count for shop in shops]
        ways = (way for first, needed in _ways(wanted, self.moves) for way in product(_splits(first, stocks), [needed]))
        some = list(islice(ways, _MOST_TERMS + 1))
        if len(some) > _MOST_TERMS:
            raise NotExactError(f"{self.moves} moves break {wanted} clusters in more than {_MOST_TERMS} ways")
        return min(1.0, total + math.fsum(self._way(shops, split, needed, counts) for split, needed in some))

    def _way(
        self, shops: Sequence["_Shop"], split: Sequence[Sequence[int]], needed: int, counts: Sequence[int]
    ) -> float:
        """P(the clusters at each of the first prices are as many as `split` says by shop, at least `needed` next)."""
        parts: list[Part] = []
        log_ways = 0.0
        for shop, first in zip(shops, split, strict=True):
            left = shop.count - sum(first)
            log_ways += math.lgamma(shop.count + 1) - sum(math.lgamma(many + 1) for many in (*first, left))
            parts += [shop.at(price, many) for price, many in enumerate(first) if many]
            if left:
                parts.append(shop.rest(len(first), left))
        try:
            return saddle_tail(parts, self.n, counts, needed - 1, log_ways=log_ways)
        except NotExactError:
            rows = distribution(parts, self.n, counts)[needed:]
            return math.exp(log_ways) * float(rows.sum()) if log_ways < 600 else _refuse(log_ways)


def _refuse(log_ways: float) -> float:
    raise NotExactError(f"e^{log_ways:.0f} ways to seat clusters are too many to add up")


@dataclass(frozen=True, kw_only=True)
class _Shop:
    """Clusters of one size: what each occupancy costs to make bad, and which ones are allowed at all."""

    size: int
    count: int
    price: Distances
    allowed: Mask

    def at(self, price: int, many: int) -> Part:
        """The part of `many` of them at exactly this price."""
        there = self.allowed & (self.price == price)
        return Part(size=self.size, count=many, safe=there, bad=np.zeros_like(there))

    def rest(self, price: int, many: int) -> Part:
        """The part of `many` of them at this price (bad) or dearer."""
        return Part(
            size=self.size,
            count=many,
            safe=self.allowed & (self.price > price),
            bad=self.allowed & (self.price == price),
        )


def _shop(event: MarkedEvent, size: int, count: int, price: Distances, seen: tuple[slice | int, ...]) -> _Shop:
    barred = np.zeros(price.shape, dtype=np.bool_) if event.forbidden is None else event.forbidden(size)
    return _Shop(size=size, count=count, price=np.asarray(price[seen]), allowed=np.asarray(~barred[seen]))


def _ways(wanted: int, budget: int) -> Iterator[tuple[tuple[int, ...], int]]:
    """(how many clusters cost 0, 1, .., d - 1; how many that cost d complete the wanted ones), d = 1, 2, .."""
    for last in range(1, budget + 1):
        for some in _purses(budget - last, last - 1, wanted - 1):
            left = budget - sum(price * many for price, many in enumerate(some, 1))
            for needed in range(1, min(left // last, wanted - sum(some)) + 1):
                yield (wanted - needed - sum(some), *some), needed


def _purses(budget: int, prices: int, most: int) -> Iterator[tuple[int, ...]]:
    """How many at each of the prices 1, 2, .., at most so many together, within the budget."""
    if not prices:
        yield ()
        return
    for many in range(min(budget // prices, most) + 1):
        for cheaper in _purses(budget - many * prices, prices - 1, most - many):
            yield (*cheaper, many)


def _splits(first: Sequence[int], counts: Sequence[int]) -> Iterator[list[list[int]]]:
    """The ways to share out numbers of clusters over the sizes (one or two of them)."""
    if len(counts) == 1:
        if sum(first) <= counts[0]:
            yield [list(first)]
        return
    for small in product(*(range(min(many, counts[0]) + 1) for many in first)):
        large = [many - own for many, own in zip(first, small, strict=True)]
        if sum(small) <= counts[0] and sum(large) <= counts[1]:
            yield [list(small), large]


def _with_unseen(event: MarkedEvent) -> MarkedEvent:
    """The event with an axis for those whose kind does not matter: they take up room."""
    if not event.unseen:
        return event

    def widened(bad: BadSet) -> BadSet:
        return lambda size: np.repeat(bad(size)[..., None], size + 1, axis=-1)

    return replace(
        event,
        kinds=(*event.kinds, event.unseen),
        bad=widened(event.bad),
        forbidden=event.forbidden and widened(event.forbidden),
        unseen=0,
    )


def _start(bad: Mask) -> Distances:
    return np.where(bad, 0, _FAR)


def _steps(bad: Mask, axis: int) -> Distances:
    """How many more members of one kind make an occupancy bad."""
    return _up(_start(bad), axis)


def _up(cost: Distances, axis: int) -> Distances:
    place: Distances = np.indices(cost.shape, sparse=True)[axis]
    nearest: Distances = np.minimum.accumulate(np.flip(cost + place, axis), axis=axis)
    return np.flip(nearest, axis) - place


def _cheapest(bad: Mask) -> Distances:
    """How many moves in make an occupancy bad, where moves out are free."""
    cost = _start(bad)
    for axis in range(bad.ndim):
        cost = np.minimum(_up(cost, axis), np.minimum.accumulate(cost, axis=axis))
    return cost


def _distances(bad: Mask) -> Distances:
    """How many moves in and out make an occupancy bad."""
    cost = _start(bad)
    for axis in range(bad.ndim):
        cost = np.minimum(_up(cost, axis), np.flip(_up(np.flip(cost, axis), axis), axis))
    return cost


def _rising(bad: Mask, possible: Mask) -> bool:
    """Whether one more faulty member of any kind is never better, where it is possible."""
    for axis in range(bad.ndim):
        fewer, more = (
            tuple(part if i == axis else slice(None) for i in range(bad.ndim))
            for part in (slice(None, -1), slice(1, None))
        )
        if np.any(bad[fewer] & possible[more] & ~bad[more]):
            return False
    return True


def _fewest(bad: Mask) -> int:
    """The fewest faulty members that make a cluster bad."""
    held = np.asarray(sum(np.indices(bad.shape, sparse=True)))
    return int(held[bad].min(initial=_FAR))


def _first_alone(bad: Mask, kind: int) -> int:
    """The fewest members of one kind that make a cluster bad by themselves."""
    alone = np.flatnonzero(bad[tuple(slice(None) if i == kind else 0 for i in range(bad.ndim))])
    return int(alone[0]) if len(alone) else _FAR


def _cost(prices: Sequence[tuple[int, int]], wanted: int) -> int:
    """What the first `wanted` clusters cost, in the order given: (price, how many)."""
    total = 0
    for price, count in prices:
        taken = min(wanted, count)
        total, wanted = total + taken * price, wanted - taken
    return total if wanted <= 0 else _FAR
