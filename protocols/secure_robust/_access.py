"""Who holds which part of a mask: one part for each set of c - t parties, so that no t parties hold all.

Two such sets always share a party while 2 t < c, so every product of two parts can be computed by somebody who
holds both: products of masks need no message. That is what an honest majority buys.

The party with the lowest number that holds both parts of a product computes it. So what party p needs of its parts
are only sums of those that it cannot tell apart: of all sets that have the same members below p.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from math import comb

from protocols.check import CloisterError
from protocols.tolerance.expressions import parse_threshold

__all__ = ["MOST", "Access", "threshold_of"]

MOST = "most"
"""The threshold of who asks for none: the largest that a cluster of its size can run."""
_MOST_SETS = 500


def threshold_of(expression: str) -> Callable[[int], int]:
    """Return the threshold as a function of the cluster's size c, of "most" or of what `parse_threshold` understands.

    "most" is the largest threshold below c / 2 whose masks need no more than 500 parts: c/2 up to 11 members, 4 of 12,
    3 of 13 to 15, 2 of 16 to 32. A threshold that is asked for by name is never lowered, but refused.
    """
    return _most if expression.strip() == MOST else parse_threshold(expression)


def _most(c: int) -> int:
    fitting = (t for t in range((c - 1) // 2, 0, -1) if comb(c, t) <= _MOST_SETS)
    return next(fitting, 1)  # where none fits, Access refuses 1 as well


@dataclass(frozen=True, kw_only=True)
class Access:
    """The sets of `parties` - `threshold` parties, by number, and what each party keeps and computes of their parts.

    A party keeps, at place 0, the public part, and at place 1 + g the sum of the parts of its group g of sets.

    Guarantees:
        No `threshold` parties hold all parts, and any one more do.
        Each part, and each ordered pair of parts, has exactly one owner, who holds it.

    Source: Ito, Saito and Nishizeki 1987, GLOBECOM (replicated sharing); Cramer, Damgård and Ishai 2005, TCC
    (parts from keys, local products).
    """

    parties: int
    threshold: int

    def __post_init__(self) -> None:
        if not 1 <= self.threshold <= (self.parties - 1) // 2:
            raise CloisterError(
                f"threshold = {self.threshold} of {self.parties} parties is not allowed; allowed: 1 or more, and "
                f"fewer than half of the parties (so 3 parties or more)"
            )
        if comb(self.parties, self.threshold) > _MOST_SETS:
            raise CloisterError(
                f"threshold = {self.threshold} of {self.parties} parties needs a part of every mask for each of "
                f"{comb(self.parties, self.threshold)} sets; allowed: {_MOST_SETS} sets; "
                + (f"lower the threshold to {_most(self.parties)}" if self.threshold > 1 else "form smaller clusters")
            )

    @cached_property
    def sets(self) -> tuple[tuple[int, ...], ...]:
        """The sets, in lexicographic order."""
        return tuple(combinations(range(self.parties), self.parties - self.threshold))

    def held(self, rank: int) -> tuple[int, ...]:
        """Return the numbers of the sets that this party is in."""
        return tuple(number for number, members in enumerate(self.sets) if rank in members)

    def groups(self, rank: int) -> tuple[tuple[int, ...], ...]:
        """Return the sets of each group that this party keeps a sum of: those of any use to it, by their numbers."""
        return tuple(sets for _, sets in self._groups(rank))

    def owns(self, rank: int) -> tuple[int, ...]:
        """Return the places, among what this party keeps, of its additive share: parts whose sets it is first in."""
        public = (0,) if rank == 0 else ()
        return public + tuple(1 + g for g, (below, _) in enumerate(self._groups(rank)) if not below)

    def products(self, rank: int) -> tuple[tuple[int, tuple[int, ...]], ...]:
        """Return (place, places): this party multiplies what it keeps at the one with the sum of the others."""
        first, groups = self.owns(rank), self._groups(rank)
        rows = [(0, first)] if first else []
        for g, (below, _) in enumerate(groups):
            partners = tuple(1 + h for h, (others, _) in enumerate(groups) if not below & others)
            rows.append((1 + g, partners if below else (0, *partners)))
        return tuple(rows)

    def _groups(self, rank: int) -> list[tuple[frozenset[int], tuple[int, ...]]]:
        """Return (members below this party, sets with just these), where some set has none of these below it."""
        found: dict[frozenset[int], list[int]] = {}
        for number in self.held(rank):
            found.setdefault(frozenset(member for member in self.sets[number] if member < rank), []).append(number)
        return [(below, tuple(sets)) for below, sets in found.items() if any(not below & other for other in found)]
