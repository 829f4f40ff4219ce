"""The coordinate-wise median of the groups."""

from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.aggregators import majority_breakdown
from protocols.hidden_sums.rules import outer_rules
from protocols.hidden_sums.rules._ordered import combined_middle, combined_middle_cost, middle_in_the_clear
from protocols.secure_robust._access import Access
from protocols.secure_robust._conversions import Draw
from protocols.secure_robust._engine import Engine, Shared
from protocols.types import Cost


@outer_rules.register(source="Yin et al. 2018, ICML, Definition 1")
@dataclass(frozen=True, kw_only=True)
class Median:
    """The median of the groups' means in every coordinate; of an even number, the sum of the middle two.

    Guarantees:
        The result equals the reference, bit for bit, for any 64-bit words.
        While fewer than half of the groups are tainted, each coordinate lies between untainted groups' words, if these
        are below 2^63 / kept.
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

    def breakdown(self, groups: int, tolerate: int) -> int:  # noqa: ARG002
        """Fewer than half."""
        return majority_breakdown(groups)

    def check(self, *, groups: int, tolerate: int) -> None:  # noqa: ARG002
        """Any number of groups will do."""
        check.integer_at_least(1, groups=groups)

    def check_coordinates(self, *, coordinates: int) -> None:
        """Any number."""
        check.integer_at_least(1, coordinates=coordinates)

    def kept(self, groups: int, tolerate: int) -> int:  # noqa: ARG002
        """One, or two of an even number."""
        return groups - 2 * majority_breakdown(groups)

    def combine(self, bits: Engine, draw: Draw, values: Shared, tolerate: int) -> Shared:
        """See OuterRule."""
        return combined_middle(bits, draw, values, self.breakdown(values.shape[1], tolerate))

    def reference(self, values: Tensor, tolerate: int) -> Tensor:
        """See OuterRule."""
        return middle_in_the_clear(values, self.breakdown(values.shape[1], tolerate))

    def cost(self, access: Access, shape: tuple[int, int, int], tolerate: int) -> tuple[Cost, Cost]:
        """A dealt number and an adder a word, then about 3 bits ANDs a pair of groups and coordinate."""
        return combined_middle_cost(access, shape, self.breakdown(shape[1], tolerate))
