"""A sum by a few servers, drawn from the cluster's members: the others share their words with them and may leave."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Literal

from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.field import MERSENNE_61, PrimeField
from protocols.model_digest import DIGEST_BYTES
from protocols.network import CheatingDetectedError, TooFewPartiesError, cost_of
from protocols.polynomials import consistent
from protocols.reed_solomon import DecodingError, decode
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.secure_sum._committee import Plan, Posted, collect_unverified, draw_servers, post_unverified
from protocols.secure_sum._offline_bulletin import collect_verified
from protocols.secure_sum._offline_dealing import COIN_BYTES, CheckedPlan, post_verified, public_elements
from protocols.secure_sum._sharing import PolynomialSharing
from protocols.secure_sum._thresholds import in_size_of, threshold_of
from protocols.secure_sum._verdict import RULES, Seated, Verdict
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.schemes import committee_scheme
from protocols.types import Cost, Traffic

Mode = Literal["passive", "detect", "correct"]
_DEFAULT_THRESHOLDS: Mapping[str, str] = MappingProxyType({"passive": "k/2", "detect": "k/2", "correct": "k/3"})


@secure_sums.register(
    source="Shamir 1979, CACM; Ben-Or, Goldwasser and Wigderson 1988, STOC; Damgård and Nielsen 2007, CRYPTO "
    "(clients share with servers); McEliece and Sarwate 1981, CACM (correct)",
    examples=({}, {"mode": "passive"}, {"mode": "correct", "servers": 4}, {"servers": 2, "fraction_bits": 24}),
)
@dataclass(frozen=True, kw_only=True)
class Committee:
    """Members share their words, with degree t, to k servers among them; the servers post sums; the board opens.

    The k = `servers` are drawn for each batch from its public number, so that no member always serves; `threshold`
    is t as an expression in k: "k/2" (the largest integer below), "k-1", "2". The others only send, and need not
    be there after input.

    Threat model: Byzantine and curious members pool their views with the board, others crash. Links between members
    are private; the board shows everybody the same and follows the protocol. Whoever knows a batch's number knows
    its servers: an adversary that can take members over after the draw takes over the servers. Up to t servers,
    any number of other members and the board learn nothing beyond the sum; it is withheld unless the inputs of
    t + `least_honest` members are in it, so that a coalition of up to t finds those of `least_honest` others in it,
    however many were lost. The words of a member that has trained on another model than the board announces are in no
    sum. A Byzantine member chooses its own input. Beyond that, with b Byzantine and f crashed servers,

    - `passive`: one Byzantine server can change the sum unseen, stop it, or have others left out of it.
      f <= k - t - 1 crashes are tolerated. A member that shares with some servers only is left out; any other
      dealing of a Byzantine member that does not serve amounts to some input of its own.
    - `detect`: b <= k - f - t - 1 Byzantine servers cannot change the sum, only stop it. Any inconsistency aborts:
      one of the servers' sums, or a server that lacks the share of a member that has told the board that it has
      sent all. So one Byzantine member, serving or not, can stop the batch.
    - `correct`: 2 b + f <= k - t - 1 faults of servers are corrected, and any number of other Byzantine members can
      neither change nor stop the sum while enough inputs are left. A Byzantine *dealer* can have its input left
      out, or have the row opened that one server got from it, which it knows; it cannot have a server blamed. Each
      member posts a sealed copy of all that it sends, which the servers open where one of them and the dealer
      disagree (see `_offline_dealing`): so of a member that is late for some servers only, the rows of up to
      (k - t - 1) / 2 servers may be opened. A wrong dealing passes with probability below 2^k modulus^-checks.

    Guarantees:
        The board opens the exact sum modulo `modulus` of the words of `contributors`, within the bounds above.
        A member that crashes before all its shares have left is left out, and stops nothing.
        A sum of fewer than t + `least_honest` inputs is withheld.
        No sum that opens has words that were made from another model than the board announces.
        In `correct` nobody who follows the protocol is left out, and a server that posts wrong sums is named.
        `suspects` of an opened sum never holds a member that follows the protocol, within the bounds above.
        The cost formula equals what the meter counts when nobody is faulty.
    """

    servers: int = 3
    threshold: str = ""
    mode: Mode = "detect"
    modulus: int = MERSENNE_61
    fraction_bits: int = 16
    least_honest: int = 2
    checks: int = 2

    def __post_init__(self) -> None:
        check.integer_at_least(1, servers=self.servers, checks=self.checks)
        # With one honest input alone, a sum is that input.
        check.integer_at_least(2, least_honest=self.least_honest)
        _ = self.ring, PrimeField(self.modulus), self.t  # refuse what does not fit
        if self.servers >= self.modulus:
            raise CloisterError(
                f"modulus = {self.modulus} is too small for {self.servers} servers; "
                f"allowed: a prime above {self.servers}"
            )

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point numbers whose words it adds."""
        return FixedPoint(modulus=self.modulus, fraction_bits=self.fraction_bits)

    @cached_property
    def t(self) -> int:
        """The degree of the sharing; CloisterError unless it is below the number of servers."""
        expression = self.threshold or _DEFAULT_THRESHOLDS[self.mode]
        return threshold_of(in_size_of("k", threshold=expression), self.servers, "servers", threshold=expression)

    @property
    def conditions(self) -> Conditions:
        """What it tolerates in a cluster of any size, wherever in it the faulty members are; see `outcome`."""
        scheme = committee_scheme(
            mode=self.mode, servers=self.servers, threshold=self.t, least_honest=self.least_honest
        )
        return Conditions(
            protocol="committee", mode=self.mode, scheme=scheme, threshold=None, least_honest=self.least_honest
        )

    def check_size(self, *, parties: int) -> None:
        """See SecureSum.check_size."""
        if self.servers > parties:
            raise CloisterError(f"servers = {self.servers} do not fit clusters of {parties}; allowed: 1 to {parties}")
        if self.t + self.least_honest > parties:
            raise CloisterError(
                f"threshold = {self.threshold!r} gives {self.t} and least_honest = {self.least_honest} for clusters of "
                f"{parties}; allowed: threshold + least_honest <= {parties}"
            )

    def servers_of(self, *, parties: int, use: int) -> tuple[int, ...]:
        """Return the members that serve in batch number `use`, ascending."""
        return draw_servers(use=use, parties=parties, servers=self.servers)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See SecureSum.contribute."""
        clusters, coordinates = words.shape
        plan = self._plan(party.use, party.parties, clusters, coordinates)
        if self.mode == "correct":
            post_verified(CheckedPlan(plan=plan, checks=self.checks), party, words)
        else:
            post_unverified(plan, party, words)

    def collect(self, board: Board) -> Opened:
        """See SecureSum.collect."""
        plan = self._plan(board.use, board.parties, board.clusters, board.coordinates)
        if self.mode == "correct":
            posted = collect_verified(CheckedPlan(plan=plan, checks=self.checks), board)
        else:
            posted = collect_unverified(plan, board, strict=self.mode == "detect")
        if len(posted.places) < plan.sharing.least:
            raise TooFewPartiesError(f"{len(posted.places)} sums are left; allowed: at least {plan.sharing.least}")
        sums, wrong = _OPENINGS[self.mode](plan.sharing, posted)
        named = frozenset(plan.servers[place] for place in wrong)
        return Opened(sums=self.ring.wrap(sums), contributors=posted.dealers, suspects=posted.suspects | named)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """k (c - 1) d words among the members and k d to the board; `correct` posts another c k d words, sealed."""
        if self.mode == "correct":
            return self._verified_cost(parties, clusters, coordinates)
        c, k, row = parties, self.servers, 8 * clusters * coordinates
        return Traffic(
            offline=Cost.none(),
            mpc=cost_of(messages=k * (c - 1), payload_bytes=k * (c - 1) * row, rounds=min(c - 1, 1)),
            upload=cost_of(messages=c + 2 * k, payload_bytes=c * DIGEST_BYTES + k * (2 * c + row), rounds=3),
        )

    def outcome(
        self,
        parties: int,
        byzantine: frozenset[int],
        crashed: frozenset[int],
        curious: frozenset[int],
        *,
        use: int = 1,
    ) -> Verdict:
        """Return what faults at these places do to batch number `use`, exactly: False where faulty members can do it.

        Crashes come at any time. Private: with t servers at most in the coalition, no sum opens that has the input
        of one member outside it only. Correct: no sum opens that is not the one of its contributors' words, where
        Byzantine members choose theirs.
        """
        seated = Seated(
            parties=parties,
            servers=frozenset(self.servers_of(parties=parties, use=use)),
            threshold=self.t,
            least=self.t + self.least_honest,
            byzantine=byzantine,
            crashed=crashed,
            curious=curious,
        )
        return seated.verdict(RULES[self.mode])

    def _plan(self, use: int, parties: int, clusters: int, coordinates: int) -> Plan:
        return Plan(
            sharing=PolynomialSharing(field=PrimeField(self.modulus), degree=self.t),
            servers=self.servers_of(parties=parties, use=use),
            parties=parties,
            clusters=clusters,
            coordinates=coordinates,
            least=self.t + self.least_honest,
        )

    def _verified_cost(self, parties: int, clusters: int, coordinates: int) -> Traffic:
        c, k = parties, self.servers
        checked = CheckedPlan(plan=self._plan(0, c, clusters, coordinates), checks=self.checks)
        row, keys = checked.row_bytes, 8 * k * checked.key_elements
        each_server = 2 * (c + COIN_BYTES) + 8 * clusters * c * self.checks + (k + 1) * c + 8 * clusters * coordinates
        # A server has received rows before it sends other servers their shares of its keys.
        rounds = min(c - 1, 1) + min(k - 1, 1)
        return Traffic(
            offline=Cost.none(),
            mpc=cost_of(messages=2 * k * (c - 1), payload_bytes=k * (c - 1) * (row + keys), rounds=rounds),
            upload=cost_of(
                messages=c + 5 * k,
                payload_bytes=c * checked.posted_bytes + k * each_server,
                rounds=5,
            ),
        )


def _first_sums(sharing: PolynomialSharing, posted: Posted) -> tuple[Tensor, tuple[int, ...]]:
    return sharing.open(posted.places, posted.rows), ()


def _all_consistent(sharing: PolynomialSharing, posted: Posted) -> tuple[Tensor, tuple[int, ...]]:
    points = [place + 1 for place in posted.places]
    if not bool(consistent(sharing.field, points, posted.rows, sharing.degree).all()):
        raise CheatingDetectedError("the servers' sums do not lie on one polynomial; nothing was opened")
    return sharing.open(posted.places, posted.rows), ()


def _corrected(sharing: PolynomialSharing, posted: Posted) -> tuple[Tensor, tuple[int, ...]]:
    # The combination that finds the wrong places is drawn when all sums are fixed; decoding is exact anyway.
    coin = hashlib.sha256(posted.rows.contiguous().numpy().data).digest()
    coefficients = public_elements(sharing.field, coin, *posted.rows.shape[1:])
    points = [place + 1 for place in posted.places]
    try:
        decoded = decode(sharing.field, points, posted.rows, sharing.degree, challenge=coefficients)
    except DecodingError as error:
        raise CheatingDetectedError(str(error)) from None
    return decoded.secret, tuple(posted.places[row] for row in decoded.wrong)


_OPENINGS: Mapping[str, Callable[[PolynomialSharing, Posted], tuple[Tensor, tuple[int, ...]]]] = MappingProxyType(
    {"passive": _first_sums, "detect": _all_consistent, "correct": _corrected}
)
