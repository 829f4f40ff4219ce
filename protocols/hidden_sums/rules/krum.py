"""The group whose nearest neighbours are nearest."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.hidden_sums.rules import outer_rules
from protocols.secure_robust._access import Access
from protocols.secure_robust._conversions import Draw
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.secure_robust._neighbours import range_for
from protocols.secure_robust._opening import opening_cost
from protocols.secure_robust._selecting import selected, selected_cost, selected_in_the_clear
from protocols.types import Cost


@outer_rules.register(source="Blanchard, El Mhamdi, Guerraoui and Stainer 2017, NeurIPS (Krum)")
@dataclass(frozen=True, kw_only=True)
class Krum:
    """The words of the group with the smallest score: of m groups, the sum of its m - tolerate - 2 smallest distances.

    Distances are squared and exact: every coordinate is shown to be so small that no square wraps around, and a group
    that has a larger one is beyond all others. Of equal scores that of the group with the lower number is smaller.
    Which group is selected stays hidden; its mean is what opens.

    Guarantees:
        The result equals the reference, bit for bit, for any 64-bit words.
        While at most `tolerate` groups are out of range, none of these is selected.
    """

    @property
    def by_members(self) -> bool:
        """See OuterRule."""
        return False

    @property
    def in_bits(self) -> bool:
        """See OuterRule."""
        return False

    @property
    def is_continuous(self) -> bool:
        """See OuterRule."""
        return False

    def breakdown(self, groups: int, tolerate: int) -> int:
        """As many as it is told, of 2 tolerate + 3 groups."""
        return tolerate if groups >= 2 * tolerate + 3 else -1

    def check(self, *, groups: int, tolerate: int) -> None:
        """See OuterRule; 2 tolerate + 3 groups or more."""
        if self.breakdown(groups, tolerate) < 0:
            raise CloisterError(
                f"tolerate = {tolerate} does not fit {groups} groups; allowed: at most {(groups - 3) // 2}, so "
                f"{2 * tolerate + 3} groups or more"
            )

    def check_coordinates(self, *, coordinates: int) -> None:
        """As many as leave a range."""
        range_for(coordinates)

    def kept(self, groups: int, tolerate: int) -> int:  # noqa: ARG002
        """One."""
        return 1

    def combine(self, bits: Engine, draw: Draw, values: Shared, tolerate: int) -> Shared:
        """See OuterRule."""
        clusters, groups, _ = values.shape
        chosen = selected(bits, draw, values, nearest=groups - tolerate - 2, count=1)
        return bits.over(WORDS).products((chosen.view(clusters, groups, 1), values), fold=1)

    def reference(self, values: Tensor, tolerate: int) -> Tensor:
        """See OuterRule."""
        clusters, groups, _ = values.shape
        chosen = selected_in_the_clear(values, nearest=groups - tolerate - 2, count=1)
        return values[torch.arange(clusters), chosen[:, 0]]

    def cost(self, access: Access, shape: tuple[int, int, int], tolerate: int) -> tuple[Cost, Cost]:
        """A range check of each coordinate, one opening for all distances, one for each coordinate of the result."""
        clusters, groups, coordinates = shape
        nearest = groups - tolerate - 2
        offline, online = selected_cost(
            access, clusters=clusters, coordinates=coordinates, nearest=nearest, members=groups
        )
        return offline, online.then(opening_cost(parties=access.parties, words=clusters * coordinates))
