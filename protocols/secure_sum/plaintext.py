"""The baseline without secrecy: members send their words in the clear to one of them, who adds them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.network import cost_of
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.secure_sum._publish import publish, publishing_cost, read_published
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.types import Cost, Traffic


@secure_sums.register(
    source="baseline",
    examples=({}, {"fraction_bits": 24}, {"bits": 32}),
    facts={
        "violates": {"I24": "Members say nothing of the model that they have trained on, and see nothing of others'."}
    },
)
@dataclass(frozen=True, kw_only=True)
class Plaintext:
    """Members send their words in the clear to the member of rank 0, who adds them.

    Threat model: none; rank 0 and everybody on the wire sees every update. One crash stops the cluster. Whoever hands
    different models to the members is not noticed.

    Guarantees:
        The board reads the exact sum of the words modulo 2^bits.
        The cost formula equals what the meter counts.
    """

    bits: int = 64
    fraction_bits: int = 16

    def __post_init__(self) -> None:
        _ = self.ring  # refuses what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(self.bits, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """What it tolerates in a cluster of any size."""
        return conditions_of("plaintext")

    def check_size(self, *, parties: int) -> None:
        """See SecureSum.check_size; any number of members will do."""
        check.integer_at_least(1, parties=parties)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See SecureSum.contribute."""
        if party.rank != 0:
            party.link.exchange({0: words}, {})
            return
        received = torch.empty(party.parties, *words.shape, dtype=torch.int64)
        received[0] = words
        party.link.exchange({}, {peer: received[peer] for peer in range(1, party.parties)})
        publish(party, self.ring.wrap(received.sum(dim=0)), vouching=False)

    def collect(self, board: Board) -> Opened:
        """See SecureSum.collect."""
        sums = read_published(board, vouching=False)
        return Opened(sums=sums, contributors=tuple(range(board.parties)))

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """(c - 1) messages of all words, in one round."""
        messages = parties - 1
        payload_bytes = 8 * messages * clusters * coordinates
        mpc = cost_of(messages=messages, payload_bytes=payload_bytes, rounds=min(messages, 1))
        upload = publishing_cost(parties=parties, clusters=clusters, coordinates=coordinates, vouching=False)
        return Traffic(offline=Cost.none(), mpc=mpc, upload=upload)
