"""A third party's protocol whose sums are right: one mask for all coordinates, and lost members that still count."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.network import BOARD, HEADER_BYTES, TooFewPartiesError
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.types import Cost, Traffic


@secure_sums.register(source="nobody")
@dataclass(frozen=True, kw_only=True)
class BrokenProtocol:
    """Each member posts its words plus its share of zero; the board adds what has come."""

    bits: int = 64
    fraction_bits: int = 16

    @property
    def ring(self) -> FixedPoint:
        return FixedPoint.of_bits(self.bits, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        return conditions_of("additive")

    def check_size(self, *, parties: int) -> None:
        check.integer_at_least(1, parties=parties)

    def contribute(self, party: Party, words: Tensor) -> None:
        # Bug 1: one word of randomness hides all coordinates of a cluster.
        mask = party.keys.zero_shares.draw(use=party.use, parties=party.parties, clusters=len(words), coordinates=1)
        party.link.exchange({BOARD: self.ring.wrap(words + mask)}, {})

    def collect(self, board: Board) -> Opened:
        posted = {
            rank: torch.zeros(board.clusters, board.coordinates, dtype=torch.int64) for rank in range(board.parties)
        }
        lost = board.link.try_exchange({}, posted)
        if len(lost) == board.parties:
            raise TooFewPartiesError("nobody is left")
        there = [words for rank, words in posted.items() if rank not in lost]
        # Bug 2: the masks of the lost members are still in the sum, and they are said to have contributed.
        return Opened(sums=self.ring.wrap(torch.stack(there).sum(dim=0)), contributors=tuple(range(board.parties)))

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        row = 8 * clusters * coordinates
        upload = Cost(
            payload_bytes=parties * row, wire_bytes=parties * (row + HEADER_BYTES), messages=parties, rounds=1
        )
        return Traffic(offline=Cost.none(), mpc=Cost.none(), upload=upload)
