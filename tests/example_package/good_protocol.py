"""A third party's protocol: additive shares dealt to everybody, sums of shares posted on the board."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.model_digest import DIGEST_BYTES
from protocols.network import BOARD, HEADER_BYTES, OutOfStepError
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.types import Cost, Traffic


@secure_sums.register(source="Ben-Or, Goldwasser, Wigderson 1988, STOC, additive variant")
@dataclass(frozen=True, kw_only=True)
class GoodProtocol:
    """Each member splits its words into a random share for each member; the board adds the sums of shares.

    Threat model: members follow the protocol, and up to c - 2 of them pool what they see with the board. They deal
    nothing before they have told each other which model they have trained on.
    """

    bits: int = 64
    fraction_bits: int = 16

    def __post_init__(self) -> None:
        _ = self.ring

    @property
    def ring(self) -> FixedPoint:
        return FixedPoint.of_bits(self.bits, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        return conditions_of("additive")

    def check_size(self, *, parties: int) -> None:
        check.integer_at_least(1, parties=parties)

    def contribute(self, party: Party, words: Tensor) -> None:
        clusters, coordinates = words.shape
        model = torch.tensor(list(party.bound_model), dtype=torch.uint8)
        models = {peer: torch.empty_like(model) for peer in party.peers}
        party.link.exchange(dict.fromkeys(party.peers, model), models)
        if not all(torch.equal(model, theirs) for theirs in models.values()):
            raise OutOfStepError("members have trained on different models")
        drawn = party.keys.secrets.words(
            purpose="shares", use=party.use, clusters=clusters, count=(party.parties - 1) * coordinates
        ).view(clusters, party.parties - 1, coordinates)
        shares = {peer: self.ring.wrap(drawn[:, place]).contiguous() for place, peer in enumerate(party.peers)}
        received = {peer: torch.empty_like(words, memory_format=torch.contiguous_format) for peer in party.peers}
        party.link.exchange(shares, received)
        own = words - sum(shares.values(), torch.zeros_like(words))
        party.link.exchange({BOARD: self.ring.wrap(own + sum(received.values(), torch.zeros_like(words)))}, {})

    def collect(self, board: Board) -> Opened:
        posted = {
            rank: torch.empty(board.clusters, board.coordinates, dtype=torch.int64) for rank in range(board.parties)
        }
        board.link.exchange({}, posted)
        sums = self.ring.wrap(torch.stack(list(posted.values())).sum(dim=0))
        return Opened(sums=sums, contributors=tuple(range(board.parties)))

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        row, pairs = 8 * clusters * coordinates, parties * (parties - 1)
        return Traffic(
            offline=Cost.none(),
            mpc=Cost(
                payload_bytes=pairs * (DIGEST_BYTES + row),
                wire_bytes=pairs * (DIGEST_BYTES + row + 2 * HEADER_BYTES),
                messages=2 * pairs,
                rounds=2 * min(pairs, 1),
            ),
            upload=Cost(
                payload_bytes=parties * row, wire_bytes=parties * (row + HEADER_BYTES), messages=parties, rounds=1
            ),
        )
