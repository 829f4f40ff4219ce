"""CrypTen's arithmetic sharing as it comes: the system under test, not to be relied on."""

from dataclasses import dataclass

from torch import Tensor

from protocols.network import HEADER_BYTES
from protocols.ring import FixedPoint
from protocols.secure_sum import Party, secure_sums
from protocols.types import Cost


@secure_sums.register(
    source="Knott et al. 2021, CrypTen, NeurIPS, Section 3.1 (version 0.4.1)", examples=({}, {"fraction_bits": 24})
)
@dataclass(frozen=True, kw_only=True)
class AdditiveStock:
    """A new CrypTen world for each batch: each member shares its words in turn, the sum of the shares is opened.

    Threat model: broken, and kept to show it. Shares of zero come from one key per pair of ring neighbours, so
    for c >= 4 the two neighbours of a member together learn its update; keys are sent in the clear and have 32
    bits of entropy, from a generator that is not cryptographic. Encoding and decoding are ours, not CrypTen's.

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

        return crypten_engine.stock_sum(party.link, party.parties, words)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Cost:
        """A seed to the next party and one from rank 0 to all, then the opening of `additive`; four rounds."""
        if parties == 1:
            return Cost(payload_bytes=0, wire_bytes=0, messages=0, rounds=0)
        messages = parties + (parties - 1) + 2 * parties * (parties - 1)
        payload_bytes = 8 * (parties + (parties - 1)) + 8 * 2 * (parties - 1) * clusters * coordinates
        return Cost(
            payload_bytes=payload_bytes,
            wire_bytes=payload_bytes + HEADER_BYTES * messages,
            messages=messages,
            rounds=4,
        )
