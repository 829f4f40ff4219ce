"""Every member's own words to the delegates, and not its group's sum: by whom, and in which rows."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.hidden_sums._resharing import Seats, resharing_cost
from protocols.secure_robust._engine import Shared
from protocols.types import Cost

__all__ = ["OneByOne"]


@dataclass(frozen=True, kw_only=True)
class OneByOne:
    """The groups of `seats` re-share the words of each of their members, `width` rows of a cluster one after the other.

    Rows of a group with fewer members are zero at the end: all groups re-share as many.
    """

    seats: Seats
    width: int = 1

    def rows(self, share: Tensor, clusters: int) -> Tensor:
        """Return a holder's share (clusters x its group's members, coordinates) as (clusters x width, coordinates)."""
        coordinates = share.shape[1]
        own = share.view(clusters, -1, coordinates)
        nothing = torch.zeros(clusters, self.width - own.shape[1], coordinates, dtype=torch.int64)
        return torch.cat([own, nothing], dim=1).view(clusters * self.width, coordinates)

    def by_member(self, values: Shared) -> Shared:
        """Return what a delegate holds of the rows (clusters x width, groups, coordinates) by cluster and member."""
        rows, groups, coordinates = values.shape
        order = [
            place * groups + number for number, members in enumerate(self.seats.sums) for place in range(len(members))
        ]
        return values.view(rows // self.width, self.width * groups, coordinates).take(1, order)

    def cost(self, *, clusters: int, coordinates: int) -> tuple[Cost, Cost]:
        """Return what re-sharing them sends offline and online."""
        return resharing_cost(self.seats, clusters=clusters * self.width, coordinates=coordinates)
