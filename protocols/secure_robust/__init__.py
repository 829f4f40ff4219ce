"""Robust statistics of a cluster's updates, computed on shared values, one a file.

Only the statistic is opened; `norm_check` opens who passes, too. What a statistic itself tells of single members is
said in its docstring.

Threat model of all of them: every member follows the protocol but may choose any input (a Byzantine *update*); up to
t members, t < c / 2, pool what they see and learn nothing but what the statistic's docstring says is opened. A member
that departs from the protocol can change the result, and make it any one member's update, unseen: where members may
do so, nothing is private or correct (`conditions_under`). One crash stops the cluster.

How large t is: by default, threshold = "most", the largest below c / 2 for which the parts of a mask are not more
than 500: c/2 up to 11 members, 4 of 12, 3 of 13 to 15, 2 of 16 to 32. So larger clusters run, against fewer
colluding members, which their conditions and verdicts say in numbers; a threshold that is asked for is refused
rather than lowered.

Who provides the correlated randomness: the members, and nobody whom they have to trust. There is no dealer of
products, no first party and no committee beside them. Products of shared values need correlated randomness, because
a committee of dealers whose random numbers add up hides each number as long as one dealer is honest, but the
*product* of two such sums has terms that no single dealer knows. Here the members are the committee: any t members
lack a part of each mask (`_access`), whose keys they agree on among themselves (`_pads`), and products of parts
need no message. Statistics on whole updates also use random numbers in words and in bits (`_conversions`), which
the first t + 1 members deal; of these sums are all that is used, and one of the dealers is honest. That is the
price of an honest majority, and what it buys: oblivious transfer, or encryption that can be computed on, would be
needed for each product with t >= c / 2, where two sets of c - t members may share nobody, and is not offered.

Memory: all statistics run in waves of coordinates (`_waves`), 32 MiB a live layer, however many coordinates there
are. Those of whole updates also keep a party's parts of all members' inputs, O(parts x members x d) words, as they
look at them twice. Waves change no word; each repeats the rounds of what it does.
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
        """Return what the opened words stand for, float64: estimates of the members' mean, or a step by their signs."""
        ...

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """Return the closed form of what one batch sends when all members follow the protocol."""
        ...


robust_statistics: Registry[RobustStatistic] = Registry(
    "robust statistic", ("protocols.secure_robust",), "cloister.robust_statistics"
)
