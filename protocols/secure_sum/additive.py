"""Additive secret sharing on CrypTen, with pairwise zero shares and an exact opening."""

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
    source="Knott et al. 2021, CrypTen, NeurIPS, Section 3.1; zero shares of all pairs as in Bonawitz et al. 2017, CCS",
    examples=({}, {"fraction_bits": 24}, {"bits": 32}),
)
@dataclass(frozen=True, kw_only=True)
class Additive:
    """Each member adds its words to its own share of zero; CrypTen opens the sum of these shares.

    Threat model: members follow the protocol and may pool what they see (semi-honest). A coalition of up to
    c - 2 of the c members learns nothing beyond the opened sum; c - 1 learn the last member's update from the
    sum itself. Nothing here is authenticated: one member who sends other words changes the sum, unseen. One
    crash stops the cluster. Keys are agreed once a pool and not metered with the sum. Shares of zero follow from the
    model that a member has trained on: where two members outside the coalition hold different ones, what opens is
    uniform, whoever handed the models out, and the board refuses it since vouchers name the model. Such a batch costs
    nothing more.

    Guarantees:
        The board reads the exact sum of the words modulo 2^bits, for which every member vouches.
        No sum of words that were made from two models opens, and nobody outside learns anything of them.
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

        clusters, coordinates = words.shape
        share = party.keys.zero_shares.draw(
            use=party.use,
            parties=party.parties,
            clusters=clusters,
            coordinates=coordinates,
            onto=words,
            model=party.model,
        )
        share = self.ring.wrap(share)
        opened = crypten_engine.reveal(party.link, party.parties, share, fraction_bits=self.fraction_bits)
        publish(party, self.ring.wrap(opened), vouching=True)

    def collect(self, board: Board) -> Opened:
        """See SecureSum.collect."""
        sums = read_published(board, vouching=True)
        return Opened(sums=sums, contributors=tuple(range(board.parties)))

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """2 (c - 1) words a coordinate: reduce-scatter, then all-gather, two dependent rounds."""
        messages = 2 * parties * (parties - 1)
        payload_bytes = 8 * 2 * (parties - 1) * clusters * coordinates
        mpc = cost_of(messages=messages, payload_bytes=payload_bytes, rounds=min(parties - 1, 1) * 2)
        upload = publishing_cost(parties=parties, clusters=clusters, coordinates=coordinates, vouching=True)
        return Traffic(offline=Cost.none(), mpc=mpc, upload=upload)
