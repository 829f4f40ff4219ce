"""What a pool of parties can run: plug-ins of both kinds of cluster protocols, secure sums and robust statistics."""

from typing import Protocol

from torch import Tensor

from protocols.check import CloisterError
from protocols.registry import Spec
from protocols.secure_robust import robust_statistics
from protocols.secure_sum import Board, Opened, Party, secure_sums

__all__ = ["Playable", "playable"]


class Playable(Protocol):
    """One seat's part of a cluster protocol; see SecureSum and RobustStatistic for what the words mean."""

    def check_size(self, *, parties: int) -> None:
        """Raise CloisterError where a cluster of `parties` members cannot run it; nothing has been sent yet."""
        ...

    def contribute(self, party: Party, words: Tensor) -> None:
        """Play one member, whose int64 words have shape (clusters, coordinates). Raises NetworkError."""
        ...

    def collect(self, board: Board) -> Opened:
        """Play the board: read or compute what is opened. Raises NetworkError when nothing can be opened."""
        ...


def playable(spec: Spec) -> Playable:
    """Return the plug-in that the spec describes, of the kind that knows its name.

    Raises: CloisterError for a name that neither or both kinds have.
    """
    if spec.name not in robust_statistics.entries():
        return secure_sums.make(spec)
    if spec.name in secure_sums.entries():
        raise CloisterError(f"{spec.name!r} is a protocol and a robust statistic; rename the third-party one")
    return robust_statistics.make(spec)
