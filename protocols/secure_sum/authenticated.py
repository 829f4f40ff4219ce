"""Additive sharing with an information-theoretic authenticator on every share; cheating aborts and is traced."""

from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.field import MERSENNE_61, PrimeField
from protocols.network import CheatingDetectedError
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.secure_sum._bulletin import Bulletin
from protocols.secure_sum._sharing import AdditiveSharing
from protocols.secure_sum._verified import play, verified_cost
from protocols.secure_sum._verified_plan import Plan
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.types import Traffic


@secure_sums.register(
    source="Wegman and Carter 1981, JCSS (one-time authentication); Damgård, Pastro, Smart and Zakarias 2012, CRYPTO "
    "(commit, check, open); Ishai, Ostrovsky and Zikas 2014, CRYPTO (identifiable abort)",
    examples=({}, {"fraction_bits": 24}, {"checks": 1}),
)
@dataclass(frozen=True, kw_only=True)
class Authenticated:
    """Members share their words additively; shares carry one-time authenticators; the opened sum is right or none.

    Threat model: up to c - 2 of the c members are Byzantine or curious and pool their views with the board; they
    learn nothing beyond the opened sum. Links between members are private; the board shows everybody the same.
    Whatever Byzantine members send, the board opens the sum of the words that were dealt, or the batch aborts:
    sums of shares are committed before any is opened and checked against the dealers' authenticators (a one-time
    Wegman-Carter MAC over the whole row under a challenge that is hashed when everything is fixed; see
    `_verified`). A wrong share passes with probability modulus^-checks for each evaluation of the hash function.
    A Byzantine dealer together with a Byzantine member can still agree on another input of the dealer, before
    anything is opened. Everybody must stay to the end: a crash aborts. Hash commitments trace a cheater, so that
    the abort names one: always, and never an honest member. Nothing is opened before the last check. All members post
    what model they have trained on, and compare: two different ones end the batch, which then names nobody, since it
    does not show who was handed a wrong one.

    Guarantees:
        The board opens the exact sum of the dealt words modulo `modulus`, or nothing.
        One member that changes any message that it sends causes an abort, or is put right by what it posts.
        CheatingDetectedError names only members that cheated.
        Where members hold different models, it ends the batch and nothing of their words was opened.
        The cost formula equals what the meter counts when nobody is faulty.
    """

    modulus: int = MERSENNE_61
    fraction_bits: int = 16
    checks: int = 2

    def __post_init__(self) -> None:
        check.integer_at_least(1, checks=self.checks)
        _ = self.ring, PrimeField(self.modulus)  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point numbers whose words it adds."""
        return FixedPoint(modulus=self.modulus, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """What it tolerates in a cluster of any size."""
        return conditions_of("authenticated")

    def check_size(self, *, parties: int) -> None:
        """See SecureSum.check_size; any number of members will do."""
        check.integer_at_least(1, parties=parties)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See SecureSum.contribute."""
        play(self._plan(party.parties, *words.shape), party, words)

    def collect(self, board: Board) -> Opened:
        """See SecureSum.collect."""
        plan = self._plan(board.parties, board.clusters, board.coordinates)
        rows = Bulletin(plan, board, strict=True, least_dealers=board.parties).run()
        if rows.suspects:
            named = sorted(rows.suspects)
            raise CheatingDetectedError(f"parties {named} cheated; nothing was opened", suspects=rows.suspects)
        sums = plan.sharing.open(rows.positions, rows.rows)
        return Opened(sums=plan.sharing.field.to_signed(sums), contributors=rows.dealers)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """c (c - 1) d words among the members and c d to the board, besides what authentication posts."""
        return verified_cost(self._plan(parties, clusters, coordinates))

    def _plan(self, parties: int, clusters: int, coordinates: int) -> Plan:
        return Plan(
            sharing=AdditiveSharing(field=PrimeField(self.modulus), parties=parties),
            parties=parties,
            clusters=clusters,
            coordinates=coordinates,
            checks=self.checks,
            attempts=1,
            committed_sums=True,
        )
