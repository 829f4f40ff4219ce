"""Robust statistics of a cluster's updates, computed on shared values, one a file.

Only the statistic is opened; `norm_check` opens who passes, too. What a statistic itself tells of single members is
said in its docstring.

Threat model of all of them: every member follows the protocol but may choose any input (a Byzantine *update*); up to
t members, t < c / 2, pool what they see and learn nothing but what the statistic's docstring says is opened. A member
that departs from the protocol can change the result, and make it any one member's update, unseen: where members may
do so, nothing is private or correct (`conditions_under`). One crash stops the cluster.

Why an honest majority, and no dealer: products of shared values need correlated randomness. A committee of dealers
whose random numbers add up hides each number as long as one dealer is honest, but the *product* of two such sums has
terms that no single dealer knows, so such a committee would itself have to compute securely. Here the members are
the committee: any t members lack a part of each mask (`_access`), and products of parts need no message. The offline
phase is an agreement on keys; for `clip`, `krum`, `nnm` and `norm_check` also random numbers that the first t + 1
members deal, each in words and in bits. With t >= c / 2 products would need oblivious transfer, or encryption that can
be computed on, in an offline phase for each of them.

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

    Party j holds member j of every cluster in the batch: a row for each cluster. What is opened of a cluster does not
    depend on the others; how many coordinates are sent at a time depends on how many clusters there are.
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

    def check_coordinates(self, *, coordinates: int) -> None:
        """Raise CloisterError where it cannot run on words of so many coordinates; nothing has been sent yet."""
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
