"""Secure aggregation with pairwise masks that survives dropouts (Bonawitz et al.): the board is the server."""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.secure_sum._graph import complete_graph
from protocols.secure_sum._masked_member import contribute
from protocols.secure_sum._masked_server import collect
from protocols.secure_sum._masking import Plan
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.tolerance.schemes import masked_contributors
from protocols.types import Traffic

Mode = Literal["semi_honest", "malicious_server"]


@secure_sums.register(
    source="Bonawitz et al. 2017, Practical secure aggregation for privacy-preserving machine learning, CCS, Figure 4",
    examples=({}, {"mode": "malicious_server"}, {"threshold": "c/2+1", "least_honest": 1}, {"bits": 32}),
)
@dataclass(frozen=True, kw_only=True)
class Masked:
    """Members send their words under masks that cancel; t of c members help the server to take off the others.

    Each member adds a self-mask and, for each pair, a mask that the other one subtracts, and deals Shamir shares of
    both keys to all members. For a member that sent its masked words the others release shares of its self-mask,
    for one that dropped out shares of its mask key. All messages pass the server (the board). Keys are drawn for
    each batch, in which each cluster has a lane of each mask's stream. The sum is withheld unless it has the words
    of t members, and of `least_honest` more than may collude, whom dropouts then never leave alone.

    Threat model: a members (no more than c - 2) pool what they see with the server. In mode semi_honest a <= t - 1
    and the server follows the protocol; one that does not learns every update by public keys of its own, or, where
    2 t <= c + a, by showing members different lists of survivors. In mode malicious_server it may do anything: keys
    and lists are signed with the identity keys that members exchanged without it, and 2 t > c + a keeps two lists
    from being signed by t members each, so that a <= 2 t - c - 1. In both modes c - t members may be absent with
    least_honest = 1; then a sum can expose the one honest member that is left in it. Neither mode protects the sum:
    one Byzantine member, or a malicious server, can change it or stop it.
    What members sign, and the boxes in which they deal key shares, are bound to the model that each has trained on. So
    two members of different models stop before their words leave them, whoever handed the models out: the server as
    well where keys are signed, or as long as it passes keys on unchanged. Nobody in particular is named.

    Guarantees:
        The board reads the exact sum, modulo 2^bits, of the words of exactly the contributors.
        The contributors are the members whose masked words arrived.
        It opens if enough contribute and t of them stay to the end; otherwise it is a TooFewPartiesError.
        Of no member both the self-mask and the mask key can be rebuilt from what the server is told.
        Members of different models stop before their words leave them, and no sum has the words of two of these.
        In mode malicious_server honest members never answer two different lists of survivors.
        No mask is used twice: not for two coordinates, clusters, pairs or uses.
        The cost formula equals what the meter counts.

    Source: Bonawitz, Ivanov, Kreuter, Marcedone, McMahan, Patel, Ramage, Segal, Seth 2017, CCS: Section 4 and
        Figure 4; the thresholds are those of Section 6.
    """

    mode: Mode = "semi_honest"
    threshold: str = ""
    least_honest: int = 2
    bits: int = 64
    fraction_bits: int = 16

    def __post_init__(self) -> None:
        check.integer_at_least(1, least_honest=self.least_honest)
        _ = self.ring, self.conditions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(self.bits, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """What it tolerates in a cluster of any size."""
        conditions = conditions_of("masked", mode=self.mode, threshold=self.threshold or None)
        return replace(conditions, least_honest=self.least_honest)

    def check_size(self, *, parties: int) -> None:
        """See SecureSum.check_size; CloisterError for a threshold that such a cluster cannot have."""
        check.integer_at_least(1, parties=parties)
        t = self.conditions.threshold_at(parties)
        if self.mode == "malicious_server" and 2 * t <= parties:
            raise CloisterError(
                f"threshold = {self.conditions.threshold!r} gives {t} for clusters of {parties}; allowed in mode "
                f"malicious_server: {parties // 2 + 1} to {parties}, so that no two lists reach t signatures"
            )
        least = self._least(parties, t)
        if least > parties:
            raise CloisterError(
                f"least_honest = {self.least_honest} needs {least} contributors in clusters of {parties} with "
                f"threshold {t}; allowed: 1 to {self.least_honest - (least - parties)}"
            )

    def contribute(self, party: Party, words: Tensor) -> None:
        """See SecureSum.contribute."""
        clusters, coordinates = words.shape
        plan = self._plan(party.parties, party.use, clusters, coordinates)
        contribute(replace(plan, model=party.model), party, words)

    def collect(self, board: Board) -> Opened:
        """See SecureSum.collect."""
        return collect(self._plan(board.parties, board.use, board.clusters, board.coordinates), board)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """Each member sends its words once; keys, shares and lists are 37 c - 21 words a member for c up to 64.

        Signatures add 16 c + 1 words a member. Four rounds offline; three more, or five with signatures.
        """
        return self._plan(parties, 0, clusters, coordinates).cost()

    def _least(self, parties: int, threshold: int) -> int:
        return masked_contributors(self.mode, parties, threshold, self.least_honest)

    def _plan(self, parties: int, use: int, clusters: int, coordinates: int) -> Plan:
        threshold = self.conditions.threshold_at(parties)
        return Plan(
            parties=parties,
            use=use,
            clusters=clusters,
            coordinates=coordinates,
            ring=self.ring,
            graph=complete_graph(parties, threshold=threshold, least=self._least(parties, threshold)),
            signed=self.mode == "malicious_server",
        )
