"""Which clusters send delegates: all choices of as many complete clusters are alike, so who serves is fixed first."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from protocols.tolerance.delegates import Delegates
from protocols.tolerance.parts import Groups, clusters_of

__all__ = ["Plan", "committees_of", "plans_of"]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many clusters of each size (`by_size`) have each role, and of all (`needed`); the others do not serve.

    `draws`: how many choices of clusters are such. `lost`: with how many lost clusters it may be; who serves is not.
    """

    by_size: tuple[tuple[int, ...], ...]
    needed: tuple[int, ...]
    draws: int
    lost: range

    def chance(self, m: int, lost: int) -> float:
        """Return how likely a draw is such, where so many of m clusters are lost."""
        return self.draws / _ways(m - lost, self.needed)

    def idle(self, groups: Groups) -> list[int]:
        """Return how many clusters of each size do not serve."""
        return [many - sum(roles) for (_, many), roles in zip(groups, self.by_size, strict=True)]


def plans_of(groups: Groups, needed: tuple[int, ...], lost: range) -> Iterator[Plan]:
    """Yield which sizes so many clusters of each role may have: there are two sizes at most."""
    sizes = [many for _, many in groups]
    for first in product(*(range(many + 1) for many in needed)):
        rest = tuple(many - each for many, each in zip(needed, first, strict=True))
        by_size = (first, rest)[: len(sizes)]
        fits = all(sum(roles) <= many for roles, many in zip(by_size, sizes, strict=True))
        if fits and (len(sizes) > 1 or not any(rest)):
            draws = math.prod(_ways(many, roles) for many, roles in zip(sizes, by_size, strict=True))
            yield Plan(by_size=by_size, needed=needed, draws=draws, lost=lost)


def committees_of(groups: Groups, delegates: Delegates, most_lost: int) -> Iterator[tuple[int, range]]:
    """Yield how many clusters serve twice, for two committees, and with how many lost clusters that is so.

    As long as enough are complete none does; then every complete one serves. Nobody serves where too many are lost.
    """
    m = clusters_of(groups)
    apart, most = m - delegates.serving, min(most_lost, delegates.spare(groups))
    if apart >= 0:
        yield 0, range(min(apart, most) + 1)
    for lost in range(max(apart + 1, 0), most + 1):
        yield lost - apart, range(lost, lost + 1)


def _ways(m: int, chosen: Sequence[int]) -> int:
    """In how many ways so many of m clusters can be chosen for each of some roles."""
    ways = 1
    for many in chosen:
        ways *= math.comb(m, many)
        m -= many
    return ways
