"""The sum of all members' words."""

from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.hidden_sums.rules import outer_rules
from protocols.secure_robust._access import Access
from protocols.secure_robust._conversions import Draw
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.types import Cost


@outer_rules.register(source="McMahan et al. 2017, AISTATS, Algorithm 1")
@dataclass(frozen=True, kw_only=True)
class Mean:
    """The mean over the members of all groups; one tainted group moves it anywhere.

    Guarantees:
        The result is the sum of all groups' words, modulo 2^64.
    """

    @property
    def by_members(self) -> bool:
        """See OuterRule."""
        return True

    @property
    def in_bits(self) -> bool:
        """See OuterRule."""
        return False

    @property
    def is_continuous(self) -> bool:
        """See OuterRule."""
        return True

    def breakdown(self, groups: int, tolerate: int) -> int:  # noqa: ARG002
        """None."""
        return 0

    def check(self, *, groups: int, tolerate: int) -> None:  # noqa: ARG002
        """Any number of groups will do."""
        check.integer_at_least(1, groups=groups)

    def check_coordinates(self, *, coordinates: int) -> None:
        """Any number."""
        check.integer_at_least(1, coordinates=coordinates)

    def kept(self, groups: int, tolerate: int) -> int:  # noqa: ARG002
        """All."""
        return groups

    def combine(self, bits: Engine, draw: Draw, values: Shared, tolerate: int) -> Shared:  # noqa: ARG002
        """See OuterRule; sums need no message."""
        return bits.over(WORDS).sum(values, 1)

    def reference(self, values: Tensor, tolerate: int) -> Tensor:  # noqa: ARG002
        """See OuterRule."""
        return values.sum(dim=1)

    def cost(self, access: Access, shape: tuple[int, int, int], tolerate: int) -> tuple[Cost, Cost]:  # noqa: ARG002
        """Nothing."""
        return Cost.none(), Cost.none()
