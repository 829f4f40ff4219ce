"""Some of the parties as a cluster of their own: a link that numbers them 0, 1, .. in the order that is given."""

from collections.abc import Mapping, Sequence

from torch import Tensor

from protocols.network import BOARD, Link, Meter, NetworkError

__all__ = ["SubLink"]


class SubLink:
    """One party's link to those of its peers that are in `ranks`, and to the board.

    Guarantees:
        The party with the k-th of the ranks is number k; the board stays BOARD.
        What is sent is metered, delayed, changed and lost exactly as on the link itself.
    """

    def __init__(self, link: Link, ranks: Sequence[int]) -> None:
        self._link = link
        self._ranks = {**dict(enumerate(ranks)), BOARD: BOARD}
        self._numbers = {rank: number for number, rank in self._ranks.items()}

    @property
    def rank(self) -> int:
        """This party's number among the ranks, or BOARD."""
        return self._numbers[self._link.rank]

    @property
    def meter(self) -> Meter:
        """See Link."""
        return self._link.meter

    def exchange(self, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]) -> None:
        """See Link.exchange; errors call peers by their ranks."""
        self._link.exchange(self._ranked(outgoing), self._ranked(incoming))

    def try_exchange(
        self, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]
    ) -> Mapping[int, NetworkError]:
        """See Link.try_exchange; errors call peers by their ranks."""
        lost = self._link.try_exchange(self._ranked(outgoing), self._ranked(incoming))
        return {self._numbers[rank]: error for rank, error in lost.items()}

    def skip(self, exchanges: int) -> None:
        """See Link.skip."""
        self._link.skip(exchanges)

    def begin(self) -> None:
        """See Link.begin."""
        self._link.begin()

    def pause(self, seconds: float) -> None:
        """See Link.pause."""
        self._link.pause(seconds)

    def _ranked(self, messages: Mapping[int, Tensor]) -> dict[int, Tensor]:
        return {self._ranks[number]: tensor for number, tensor in messages.items()}
