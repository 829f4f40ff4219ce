"""CrypTen's arithmetic sharing as it comes: the system under test, not to be relied on."""

from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.network import cost_of
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.secure_sum._publish import publish, publishing_cost, read_published
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.types import Cost, Traffic


@secure_sums.register(
    source="Knott et al. 2021, CrypTen, NeurIPS, Section 3.1 (version 0.4.1)",
    examples=({}, {"fraction_bits": 24}, {"bits": 32}),
    facts={
        "violates": {
            "I12": "Zero shares come from one key per pair of ring neighbours, so that for c >= 4 the two neighbours "
            "of a member together learn its update.",
            "I15": "Keys are seeds of torch's generator, which looks at 32 bits of them.",
            "I20": "The graph of masks is a ring, which falls apart without two members that are not neighbours.",
            "I24": "Shares do not depend on the model: a sum of updates on different models opens, and only then the "
            "board notices by the vouchers.",
            "I35": "Seeds are sent once a batch and in the clear: who changes one changes the sums of all clusters.",
        }
    },
)
@dataclass(frozen=True, kw_only=True)
class AdditiveStock:
    """A new CrypTen world for each batch: each member shares its words in turn, the sum of the shares is opened.

    Threat model: broken, and kept to show it. Shares of zero come from one key per pair of ring neighbours, so
    for c >= 4 the two neighbours of a member together learn its update; keys are sent in the clear and have 32
    bits of entropy, from a generator that is not cryptographic. Encoding and decoding are ours, not CrypTen's.

    Guarantees:
        The board reads the exact sum of the words modulo 2^bits, for which every member vouches.
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
        return conditions_of("additive")

    def check_size(self, *, parties: int) -> None:
        """See SecureSum.check_size; any number of members will do."""
        check.integer_at_least(1, parties=parties)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See SecureSum.contribute."""
        # Only party processes need CrypTen, whose import takes seconds.
        from protocols import crypten_engine

        publish(party, self.ring.wrap(crypten_engine.stock_sum(party.link, party.parties, words)), vouching=True)

    def collect(self, board: Board) -> Opened:
        """See SecureSum.collect."""
        sums = read_published(board, vouching=True)
        return Opened(sums=sums, contributors=tuple(range(board.parties)))

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """A seed to the next party and one from rank 0 to all, then the opening of `additive`; four rounds."""
        upload = publishing_cost(parties=parties, clusters=clusters, coordinates=coordinates, vouching=True)
        if parties == 1:
            return Traffic(offline=Cost.none(), mpc=Cost.none(), upload=upload)
        messages = parties + (parties - 1) + 2 * parties * (parties - 1)
        payload_bytes = 8 * (parties + (parties - 1)) + 8 * 2 * (parties - 1) * clusters * coordinates
        mpc = cost_of(messages=messages, payload_bytes=payload_bytes, rounds=4)
        return Traffic(offline=Cost.none(), mpc=mpc, upload=upload)
