"""The baseline without secrecy: members send their words in the clear to one of them, who adds them."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.network import HEADER_BYTES
from protocols.ring import FixedPoint
from protocols.secure_sum import Party, secure_sums
from protocols.types import Cost


@secure_sums.register(source="baseline", examples=({}, {"fraction_bits": 24}))
@dataclass(frozen=True, kw_only=True)
class Plaintext:
    """Members send their words in the clear to the member of rank 0, who adds them.

    Threat model: none; rank 0 and everybody on the wire sees every update. One crash stops the cluster.

    Guarantees:
        Rank 0 returns the exact sum of the words modulo 2^64; the others return None.
        The cost formula equals what the meter counts.
    """

    fraction_bits: int = 16

    def __post_init__(self) -> None:
        FixedPoint(fraction_bits=self.fraction_bits)  # refuses what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint(fraction_bits=self.fraction_bits)

    def open_sum(self, party: Party, words: Tensor) -> Tensor | None:
        """See SecureSum.open_sum."""
        if party.rank != 0:
            party.link.exchange({0: words}, {})
            return None
        received = torch.empty(party.parties, *words.shape, dtype=torch.int64)
        received[0] = words
        party.link.exchange({}, {peer: received[peer] for peer in range(1, party.parties)})
        return received.sum(dim=0)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Cost:
        """(c - 1) messages of all words, in one round."""
        messages = parties - 1
        payload_bytes = 8 * messages * clusters * coordinates
        return Cost(
            payload_bytes=payload_bytes,
            wire_bytes=payload_bytes + HEADER_BYTES * messages,
            messages=messages,
            rounds=min(messages, 1),
        )
