"""Protocols that add the updates of a cluster's members, one a file."""

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from protocols.network import Link
from protocols.registry import Registry
from protocols.ring import FixedPoint
from protocols.types import Cost
from protocols.zero_sharing import ZeroShares

__all__ = ["Party", "SecureSum", "secure_sums"]


@dataclass(frozen=True, kw_only=True)
class Party:
    """What one party of a secure sum holds besides its words: its links and its pairwise zero shares."""

    link: Link
    parties: int
    use: int
    zero_shares: ZeroShares = field(repr=False)

    @property
    def rank(self) -> int:
        """This party's place in its cluster; rank 0 publishes the opened sum on the board."""
        return self.link.rank


class SecureSum(Protocol):
    """Adds the words of a cluster's members; many clusters of one size run as one batch.

    Party j holds member j of every cluster in the batch: a row for each cluster. What a cluster's members
    send for their cluster is the same, word for word, as if their cluster ran alone.
    """

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        ...

    def open_sum(self, party: Party, words: Tensor) -> Tensor | None:
        """Return the opened sums of shape (clusters, coordinates), int64, where this party learns them.

        `words` are this party's int64 words of the same shape. Raises NetworkError when a peer fails.
        """
        ...

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Cost:
        """Return the closed form of what the parties send each other for one batch."""
        ...


secure_sums: Registry[SecureSum] = Registry("protocol", ("protocols.secure_sum",), "cloister.protocols")
