"""Robust statistics of a cluster's updates, computed on shared values, one a file: only the statistic is opened.

Threat model of all of them: every member follows the protocol but may choose any input (a Byzantine *update*); up to
t members, t < c / 2, pool what they see and learn nothing but what the statistic's docstring says is opened. A member
that departs from the protocol can change the result, unseen. One crash stops the cluster.

Why an honest majority, and no dealer: products of shared values need correlated randomness. A committee of dealers
whose random numbers add up hides each number as long as one dealer is honest, but the *product* of two such sums has
terms that no single dealer knows, so such a committee would itself have to compute securely. Here the members are
the committee: any t members lack a part of each mask (`_access`), products of parts need no message, and the offline
phase is an agreement on keys. With t >= c / 2 all this would need public-key work for every product.

Memory: statistics of single coordinates run in waves of them and need 32 MiB a live layer, however many there are;
those of whole updates keep a party's parts of all members' words and of as many planes, O(parts x members x d) words.
"""

from typing import Protocol

from torch import Tensor

from protocols.registry import Registry
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic

__all__ = ["RobustStatistic", "robust_statistics"]


class RobustStatistic(Protocol):
    """Opens a robust statistic of the words of a cluster's members; many clusters of one size run as one batch.

    Party j holds member j of every cluster in the batch: a row for each cluster. What a cluster's members send for
    their cluster does not depend on the others.
    """

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point numbers whose words it takes."""
        ...

    @property
    def conditions(self) -> Conditions:
        """What it tolerates in a cluster of any size, Byzantine inputs among it."""
        ...

    def breakdown(self, parties: int) -> int:
        """Return how many members with any input whatever it withstands (-1: too few members for the statistic)."""
        ...

    def check_size(self, *, parties: int) -> None:
        """Raise CloisterError where a cluster of `parties` members cannot run it; nothing has been sent yet."""
        ...

    def contribute(self, party: Party, words: Tensor) -> None:
        """Play one member, whose int64 words have shape (clusters, coordinates). Raises NetworkError."""
        ...

    def collect(self, board: Board) -> Opened:
        """Play the board: read what is opened. Raises NetworkError when nothing can be opened."""
        ...

    def reference(self, words: Tensor) -> Opened:
        """Return what is opened of words (clusters, members, coordinates), computed in the clear."""
        ...

    def decode(self, opened: Opened, *, parties: int) -> Tensor:
        """Return the estimates of the members' mean that the opened words stand for, float64."""
        ...

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """Return the closed form of what one batch sends when all members follow the protocol."""
        ...


robust_statistics: Registry[RobustStatistic] = Registry(
    "robust statistic", ("protocols.secure_robust",), "cloister.robust_statistics"
)
