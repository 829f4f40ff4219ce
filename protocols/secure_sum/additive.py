"""Additive secret sharing on CrypTen, with pairwise zero shares and an exact opening."""

from dataclasses import dataclass

from torch import Tensor

from protocols.network import HEADER_BYTES
from protocols.ring import FixedPoint
from protocols.secure_sum import Party, secure_sums
from protocols.types import Cost


@secure_sums.register(
    source="Knott et al. 2021, CrypTen, NeurIPS, Section 3.1; zero shares of all pairs as in Bonawitz et al. 2017, CCS",
    examples=({}, {"fraction_bits": 24}),
)
@dataclass(frozen=True, kw_only=True)
class Additive:
    """Each member adds its words to its own share of zero; CrypTen opens the sum of these shares.

    Threat model: members follow the protocol and may pool what they see (semi-honest). A coalition of up to
    c - 2 of the c members learns nothing beyond the opened sum; c - 1 learn the last member's update from the
    sum itself. Nothing here is authenticated: one member who sends other words changes the sum, unseen. One
    crash stops the cluster. Keys are agreed once a pool and not metered with the sum.

    Guarantees:
        Every member returns the exact sum of the words modulo 2^64.
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
        # Only party processes need CrypTen, whose import takes seconds.
        from protocols import crypten_engine

        clusters, coordinates = words.shape
        zero = party.zero_shares.draw(use=party.use, parties=party.parties, clusters=clusters, coordinates=coordinates)
        return crypten_engine.reveal(party.link, party.parties, zero.add_(words), fraction_bits=self.fraction_bits)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Cost:
        """2 (c - 1) words a coordinate: reduce-scatter, then all-gather, two dependent rounds."""
        messages = 2 * parties * (parties - 1)
        payload_bytes = 8 * 2 * (parties - 1) * clusters * coordinates
        return Cost(
            payload_bytes=payload_bytes,
            wire_bytes=payload_bytes + HEADER_BYTES * messages,
            messages=messages,
            rounds=min(parties - 1, 1) * 2,
        )
