"""How faults arise, and the placements that an adversary makes: at will, or by aiming some after the draw."""

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.tolerance.kinds import MarkedEvent
from protocols.tolerance.laws import Event, OneKind, Uniform
from protocols.tolerance.parts import BadSet, Groups, Mask, clusters_of, is_rising
from protocols.tolerance.solve import Probability, bounds_on

__all__ = ["Aimed", "Chosen", "Setting"]


@dataclass(frozen=True, kw_only=True)
class Setting:
    """How faults arise: `faulty` of n processes, of all kinds together, in these clusters.

    `domains`: how many failure domains the processes are in, consecutive numbers together, sizes that differ by at
    most one. `moves`: how many faulty processes are aimed after clusters are drawn. `groups`: the least parts of a
    group, level by level (hierarchical).

    Raises: CloisterError for numbers that do not fit.
    """

    n: int
    faulty: int
    groups: Groups
    domains: int = 1
    moves: int = 0
    levels: tuple[int, ...] = (3,)

    def __post_init__(self) -> None:
        check.integer_at_least(1, domains=self.domains)
        check.integer_at_least(0, moves=self.moves)
        if self.domains > self.n:
            raise CloisterError(f"domains = {self.domains} is more than n = {self.n} processes; allowed: 1 to {self.n}")

    @property
    def sizes(self) -> list[int]:
        """The size of each cluster, ascending."""
        return [size for size, count in self.groups for _ in range(count)]

    @property
    def domain(self) -> NDArray[np.int64]:
        """The failure domain of each process, int64 (n,)."""
        return np.arange(self.n) * self.domains // self.n

    @property
    def failing(self) -> int:
        """How many domains fail: as many as make up the faulty share, rounded."""
        return round(self.faulty / self.n * self.domains)

    @property
    def risks(self) -> NDArray[np.float64]:
        """Each process's own probability of being faulty, float64 (n,): from 0 to twice the mean f / n, shuffled.

        With more than half faulty, from twice the mean less 1 up to 1.
        """
        share = self.faulty / self.n
        reach = min(share, 1 - share)
        even = share + reach * (2 * (np.arange(self.n) + 0.5) / self.n - 1)
        return even[public_stream(0, "tolerance", "risks").permutation(self.n)]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """An adversary who seats its processes at will, of whom there are f with probability totals[f].

    An event happens where f suffices to arrange it; a second one, "forbidden", had been arranged before where f
    sufficed for that.

    Guarantees:
        Equal to the best of all placements of up to f faulty processes, for bad sets that grow and for holes.
    """

    groups: Groups
    totals: tuple[float, ...]

    def probability(self, event: Event) -> Probability:
        """See Law."""
        first = _cheapest(self.groups, event.bad, event.most + 1)
        until = _cheapest(self.groups, event.forbidden, 1) if event.forbidden else len(self.totals)
        return Probability.exact(min(1.0, math.fsum(self.totals[first:until])), "worst case")

    def marked(self, event: MarkedEvent) -> Probability:
        """See Law: bounds from every faulty process having the most useful kind; sides.at_will has the exact answer."""
        found = self.probability(Event(bad=_any_kind(event), most=event.most))
        one_kind = np.count_nonzero(event.kinds) <= 1 and event.forbidden is None and not event.unseen
        return found if one_kind else bounds_on(0.0, found.upper)


def _any_kind(event: MarkedEvent) -> OneKind:
    """Numbers of faulty members that some mixture of kinds makes bad."""

    def bad(size: int) -> Mask:
        _, mask = event.masks(size)
        held = np.asarray(sum(np.indices(mask.shape)))
        found = np.bincount(held[mask & (held <= size)], minlength=size + 1) > 0
        return np.logical_or.accumulate(found) if event.unseen else found

    return bad


def _cheapest(groups: Groups, bad: OneKind, needed: int) -> int:
    """The fewest faulty processes that make `needed` clusters bad; beyond every number where nothing does."""
    prices = [(int(np.argmax(mask)), count) for mask, count in ((bad(s), n) for s, n in groups) if mask.any()]
    total, left = 0, max(needed, 0)
    for price, count in sorted(prices):
        taken = min(left, count)
        total, left = total + price * taken, left - taken
    return total if left == 0 else 2**62


@dataclass(frozen=True, kw_only=True)
class Aimed:
    """All faulty processes are placed uniformly; then an adversary who sees the clusters moves up to `moves` of them.

    Exact where one bad cluster is enough, and where any faulty member makes one bad; else bounds: what breaks must
    have been within reach of the moves, and no move changes more than two clusters.

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
        if event.forbidden is not None:
            exposed = self.probability(Event(bad=event.forbidden, most=0))
            found = self.probability(Event(bad=event.bad, most=event.most))
            return bounds_on(0.0, min(found.upper, 1 - exposed.lower))
        if event.most < 0 or event.most >= clusters_of(self.groups):
            return Probability.exact(float(event.most < 0), "certain")
        reached = self._placed.probability(Event(bad=self._within(event.bad), most=event.most))
        return reached if event.most == 0 or self.moves == 0 else self._several(event, reached)

    @property
    def _placed(self) -> Uniform:
        return Uniform(n=self.n, faulty=self.faulty, groups=self.groups)

    def _several(self, event: Event, reached: Probability) -> Probability:
        masks = [event.bad(size) for size, _ in self.groups]
        # A move out of a cluster breaks it only where more faulty members may be better.
        worth = 1 if all(map(is_rising, masks)) else 2
        fewer = Event(bad=event.bad, most=max(-1, event.most - worth * self.moves))
        if all(not mask[0] and mask[1:].all() for mask in masks):
            # Every move out of a cluster with two or more, into a clean one, makes one more of them bad.
            enough = self.faulty > event.most
            return self._placed.probability(fewer) if enough else Probability.exact(0.0, "certain")
        counted = self._placed.probability(fewer)
        return bounds_on(self._placed.probability(event).lower, min(counted.upper, reached.upper))

    def _within(self, bad: OneKind) -> OneKind:
        """Numbers of faulty members from which moves make a cluster bad: so many of the others in, or some out."""

        def reachable(size: int) -> Mask:
            held = np.arange(size + 1)
            others = np.maximum(self.faulty - held, 0)
            room = np.maximum(self.n - size - others, 0)
            counts = np.concatenate([[0], np.cumsum(bad(size))])
            most = np.minimum(size, held + np.minimum(self.moves, others))
            least = np.maximum(0, held - np.minimum(self.moves, room))
            return counts[most + 1] > counts[least]

        return reachable

    def marked(self, event: MarkedEvent) -> Probability:
        """See Law: bounds, with any of the faulty processes moved, whatever its kind."""
        law = self._placed
        still = law.marked(event)
        if self.moves == 0:
            return still
        reached = law.marked(replace(event, bad=_reached(event, self.moves), forbidden=None))
        counted = law.marked(replace(event, most=max(-1, event.most - 2 * self.moves), forbidden=None))
        return bounds_on(0.0 if event.forbidden else still.lower, min(reached.upper, counted.upper))


def _reached(event: MarkedEvent, moves: int) -> BadSet:
    """Occupancies from which moves in and out, each up to so many and of any kind, make a cluster bad."""

    def reachable(size: int) -> Mask:
        _, mask = event.masks(size)
        for step in (1, -1):
            for _ in range(min(moves, size)):
                mask = _grown(mask, step)
        return mask

    return reachable


def _grown(mask: Mask, step: int) -> Mask:
    """The mask and what is one step away from it, along any axis."""
    grown = mask.copy()
    for axis in range(mask.ndim):
        moved = np.roll(mask, step, axis=axis)
        edge = [slice(None)] * mask.ndim
        edge[axis] = slice(0, 1) if step > 0 else slice(-1, None)
        moved[tuple(edge)] = False
        grown |= moved
    return grown
