"""Protocols that add the updates of a cluster's members, one a file."""

from dataclasses import dataclass, field
from typing import Protocol

from torch import Tensor

from protocols.keyring import Keyring
from protocols.model_digest import NO_MODEL, bound_digest
from protocols.network import Link
from protocols.registry import Registry
from protocols.ring import FixedPoint
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic

__all__ = ["Board", "Opened", "Party", "SecureSum", "secure_sums"]


@dataclass(frozen=True, kw_only=True)
class Party:
    """One member's seat in a batch: its links, its keys, and the number of the batch, which labels its randomness.

    `model`: the digest of the global model that its words were made from; see protocols.model_digest.
    """

    link: Link
    parties: int
    use: int
    keys: Keyring = field(repr=False)
    model: bytes = NO_MODEL

    @property
    def rank(self) -> int:
        """This party's place in its cluster, 0..parties-1."""
        return self.link.rank

    @property
    def peers(self) -> list[int]:
        """The other members."""
        return [peer for peer in range(self.parties) if peer != self.rank]

    @property
    def bound_model(self) -> bytes:
        """What it says of its model in this batch."""
        return bound_digest(self.model, use=self.use, parties=self.parties)


@dataclass(frozen=True, kw_only=True)
class Board:
    """The board's seat in a batch: where clusters publish, and the server of protocols that have one.

    The board shows everybody the same (a bulletin board), learns what is opened, and holds no input. `model`: the
    digest of the global model that it announces for the round.
    """

    link: Link
    parties: int
    use: int
    clusters: int
    coordinates: int
    model: bytes = NO_MODEL

    @property
    def bound_model(self) -> bytes:
        """What members say of that model in this batch."""
        return bound_digest(self.model, use=self.use, parties=self.parties)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The sums (clusters, coordinates), int64 words, that the board read; whose words are in them; who cheated.

    `contributors` are the members whose words were added, in every cluster of the batch; `suspects` are members
    that the protocol proved to have cheated and whose cheating it has corrected. `kept` (clusters, members) says of
    which contributors the words count in each cluster, where a robust statistic opens that; None: of all.
    """

    sums: Tensor
    contributors: tuple[int, ...]
    suspects: frozenset[int] = frozenset()
    kept: Tensor | None = None


class SecureSum(Protocol):
    """Adds the words of a cluster's members; many clusters of one size run as one batch.

    Party j holds member j of every cluster in the batch: a row for each cluster. What a cluster's members
    send for their cluster is the same, word for word, as if their cluster ran alone.
    """

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point numbers whose words it adds."""
        ...

    @property
    def conditions(self) -> Conditions:
        """What it tolerates in a cluster of any size."""
        ...

    def check_size(self, *, parties: int) -> None:
        """Raise CloisterError where a cluster of `parties` members cannot run it; nothing has been sent yet."""
        ...

    def contribute(self, party: Party, words: Tensor) -> None:
        """Play one member, whose int64 words have shape (clusters, coordinates). Raises NetworkError."""
        ...

    def collect(self, board: Board) -> Opened:
        """Play the board: read or compute what is opened. Raises NetworkError when nothing can be opened."""
        ...

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """Return the closed form of what one batch sends when all members follow the protocol."""
        ...


secure_sums: Registry[SecureSum] = Registry("protocol", ("protocols.secure_sum",), "cloister.protocols")
