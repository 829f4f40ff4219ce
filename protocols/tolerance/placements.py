"""How faults arise, and the placement that an adversary makes at will."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.tolerance.kinds import MarkedEvent
from protocols.tolerance.laws import Event, OneKind
from protocols.tolerance.parts import Groups, Mask
from protocols.tolerance.solve import Probability, bounds_on

__all__ = ["Chosen", "Setting"]


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
        why = "the kinds of those who are seated are not looked at"
        return found if one_kind else bounds_on(0.0, found.upper, because=why)


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
