"""The mean of the groups' middle values in every coordinate."""

from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.hidden_sums.rules import outer_rules
from protocols.hidden_sums.rules._ordered import combined_middle, combined_middle_cost, middle_in_the_clear
from protocols.secure_robust._access import Access
from protocols.secure_robust._conversions import Draw
from protocols.secure_robust._engine import Engine, Shared
from protocols.types import Cost


@outer_rules.register(source="Yin et al. 2018, ICML, Definition 2")
@dataclass(frozen=True, kw_only=True)
class TrimmedMean:
    """The mean of the groups' means in every coordinate, without the `tolerate` largest and the `tolerate` smallest.

    Guarantees:
        The result equals the reference, bit for bit, for any 64-bit words.
        While at most `tolerate` groups are tainted, each coordinate lies between untainted groups' words, if these are
        below 2^63 / kept.
    """

    @property
    def by_members(self) -> bool:
        """See OuterRule."""
        return False

    @property
    def in_bits(self) -> bool:
        """See OuterRule."""
        return True

    @property
    def is_continuous(self) -> bool:
        """See OuterRule."""
        return True

    def breakdown(self, groups: int, tolerate: int) -> int:
        """As many as are left out at each end, where something is left."""
        return tolerate if 2 * tolerate < groups else -1

    def check(self, *, groups: int, tolerate: int) -> None:
        """See OuterRule; more than 2 tolerate groups."""
        if self.breakdown(groups, tolerate) < 0:
            raise CloisterError(
                f"tolerate = {tolerate} at each end leaves nothing of {groups} groups; "
                f"allowed: 0 to {(groups - 1) // 2}"
            )

    def check_coordinates(self, *, coordinates: int) -> None:
        """Any number."""
        check.integer_at_least(1, coordinates=coordinates)

    def kept(self, groups: int, tolerate: int) -> int:
        """All but those at the ends."""
        return groups - 2 * tolerate

    def combine(self, bits: Engine, draw: Draw, values: Shared, tolerate: int) -> Shared:
        """See OuterRule."""
        return combined_middle(bits, draw, values, tolerate)

    def reference(self, values: Tensor, tolerate: int) -> Tensor:
        """See OuterRule."""
        return middle_in_the_clear(values, tolerate)

    def cost(self, access: Access, shape: tuple[int, int, int], tolerate: int) -> tuple[Cost, Cost]:
        """The comparisons of the median; then adders instead of one selection."""
        return combined_middle_cost(access, shape, tolerate)
