"""Pairwise masks between neighbours in a random graph only: for clusters in which all pairs would be too many."""

from dataclasses import dataclass, replace

from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.secure_sum._graph import Demands, random_graph
from protocols.secure_sum._masked_member import contribute
from protocols.secure_sum._masked_server import collect
from protocols.secure_sum._masking import Plan
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.schemes import graph_contributors, graph_scheme
from protocols.types import Traffic


@secure_sums.register(
    source="Bell et al. 2020, Secure single-server aggregation with (poly)logarithmic overhead, CCS, Section 3",
    examples=({}, {"gamma": 0.1, "delta": 0.3}, {"sigma": 8, "eta": 4, "delta": 0.1}, {"bits": 32}),
)
@dataclass(frozen=True, kw_only=True)
class MaskedGraph:
    """`masked` with O(log c) neighbours for each member in place of all others, drawn anew for each batch.

    Members share masks with, and deal key shares to, their neighbours in a random k-regular graph; k and the
    threshold t follow from the four parameters and the size of the cluster (`neighbourhood`).

    Threat model: a part `gamma` of the members and a server that follows the protocol pool what they see
    (semi-honest); a part `delta` of the members may drop out. Who is corrupted does not depend on the graph: the
    beacon is drawn after that is fixed, since whoever could choose among graphs, or corrupt members knowing one,
    would isolate a victim. The sum is withheld unless it has the words of `least_honest` members more than may be
    corrupted. Except with probability 2^-sigma over the beacon, only the sum of the honest
    contributors is learnt; except with probability 2^-eta all keys that are needed can be rebuilt. As in `masked`,
    a server that deviates learns every update, and one Byzantine member can change or stop the sum.
    As in `masked`, neighbours of different models stop before their words leave them; to the server they are absent.
    Where who holds which model does not depend on the graph, no sum has the words of two models except with probability
    2^-sigma: members of both, each with neighbours of its own model only, would have to be left among (1 - delta) c.

    Guarantees:
        The board reads the exact sum, modulo 2^bits, of the words of exactly the contributors.
        With more than a part delta of the members absent nothing is opened: it is a TooFewPartiesError.
        Neighbours of different models stop before their words leave them.
        All members and the server draw the same graph, and another use or beacon gives another one.
        The graph stays connected without corrupted and absent members except with probability 2^-sigma.
        The cost formula equals what the meter counts.

    Source: Bell, Bonawitz, Gascón, Lepoint, Raykova 2020, CCS, Section 3 (semi-honest).
    """

    sigma: int = 40
    eta: int = 20
    gamma: float = 0.2
    delta: float = 0.2
    least_honest: int = 2
    beacon: int = 0
    bits: int = 64
    fraction_bits: int = 16

    def __post_init__(self) -> None:
        check.integer_at_least(1, sigma=self.sigma, eta=self.eta, least_honest=self.least_honest)
        check.integer_at_least(0, beacon=self.beacon)
        check.non_negative(gamma=self.gamma, delta=self.delta)
        if self.gamma + self.delta >= 1:
            raise CloisterError(
                f"gamma = {self.gamma}, delta = {self.delta} leave no honest member; allowed: gamma + delta < 1"
            )
        _ = self.ring  # refuses what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(self.bits, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """What it tolerates in a cluster of any size, except with the probabilities of sigma and eta."""
        return Conditions(
            protocol="masked_graph",
            mode="semi_honest",
            scheme=graph_scheme(gamma=self.gamma, delta=self.delta),
            threshold=None,
            least_honest=self.least_honest,
        )

    def check_size(self, *, parties: int) -> None:
        """See SecureSum.check_size; any number of members will do unless least_honest is above 2."""
        check.integer_at_least(1, parties=parties)
        least = self._least(parties)
        if least > parties:
            raise CloisterError(
                f"least_honest = {self.least_honest} needs {least} contributors in clusters of {parties} with "
                f"gamma = {self.gamma}; allowed: 1 to {self.least_honest - (least - parties)}"
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
        """Each member sends its words once; keys, shares and lists are 37 k + 16 words a member for c up to 64.

        Four rounds offline, three more.
        """
        return self._plan(parties, 0, clusters, coordinates).cost()

    def _least(self, parties: int) -> int:
        return graph_contributors(parties, gamma=self.gamma, delta=self.delta, least_honest=self.least_honest)

    def _plan(self, parties: int, use: int, clusters: int, coordinates: int) -> Plan:
        demands = Demands(sigma=self.sigma, eta=self.eta, gamma=self.gamma, delta=self.delta)
        return Plan(
            parties=parties,
            use=use,
            clusters=clusters,
            coordinates=coordinates,
            ring=self.ring,
            graph=random_graph(parties, demands, least=self._least(parties), beacon=self.beacon, use=use),
            signed=False,
        )
