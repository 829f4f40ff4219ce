"""Outer rules on shared values: what combines group sums that nobody sees, one a file; its name is an aggregator's."""

from typing import Protocol

from torch import Tensor

from protocols.registry import Registry
from protocols.secure_robust._access import Access
from protocols.secure_robust._conversions import Draw
from protocols.secure_robust._engine import Engine, Shared
from protocols.types import Cost

__all__ = ["OuterRule", "outer_rules"]


class OuterRule(Protocol):
    """Combines int64 words (clusters, groups, coordinates) that are shared, modulo 2^64; the result stays shared.

    `tolerate` is the number of tainted groups to withstand. The words are groups' sums, or with all groups of one
    weight their means, up to a public factor.
    """

    @property
    def by_members(self) -> bool:
        """Whether each member counts once, so that the rule is given sums; else each group does: it is given means."""
        ...

    @property
    def in_bits(self) -> bool:
        """Whether the result is shared as planes of bits, and not as words."""
        ...

    @property
    def is_continuous(self) -> bool:
        """Whether a change of one group's word that does not wrap around moves the result by no more than itself."""
        ...

    def breakdown(self, groups: int, tolerate: int) -> int:
        """Return how many tainted groups it withstands (-1: too few groups for the rule)."""
        ...

    def check(self, *, groups: int, tolerate: int) -> None:
        """Raise CloisterError where the rule is not defined for so many groups."""
        ...

    def check_coordinates(self, *, coordinates: int) -> None:
        """Raise CloisterError where it cannot combine so many coordinates."""
        ...

    def kept(self, groups: int, tolerate: int) -> int:
        """Return how many groups' words the result is the sum of."""
        ...

    def combine(self, bits: Engine, draw: Draw, values: Shared, tolerate: int) -> Shared:
        """Return the result of words: (clusters, coordinates) words, or (clusters, 64, words) planes where `in_bits`.

        Random numbers that it deals for it are metered as offline.
        """
        ...

    def reference(self, values: Tensor, tolerate: int) -> Tensor:
        """Return the same words (clusters, coordinates), of words in the clear."""
        ...

    def cost(self, access: Access, shape: tuple[int, int, int], tolerate: int) -> tuple[Cost, Cost]:
        """Return what it sends offline and online, up to the shared result."""
        ...


outer_rules: Registry[OuterRule] = Registry("outer rule", ("protocols.hidden_sums.rules",), "cloister.outer_rules")
