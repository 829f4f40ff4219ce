"""Shamir's secret sharing with four answers to cheating: none, abort, Reed-Solomon correction, verification."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal

from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.field import MERSENNE_61, PrimeField
from protocols.network import CheatingDetectedError, TooFewPartiesError
from protocols.polynomials import consistent
from protocols.reed_solomon import DecodingError, decode
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.secure_sum._bulletin import Bulletin, OpenedRows
from protocols.secure_sum._sharing import PolynomialSharing
from protocols.secure_sum._unverified import collect_sums, send_sums, unverified_cost
from protocols.secure_sum._verified import play, verified_cost
from protocols.secure_sum._verified_plan import Plan, challenge
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.types import Traffic

Mode = Literal["passive", "detect", "correct", "vss"]
_VERIFIED = ("correct", "vss")


@secure_sums.register(
    source="Shamir 1979, CACM; McEliece and Sarwate 1981, CACM (correct); Rabin and Ben-Or 1989, STOC (vss)",
    examples=({}, {"mode": "passive"}, {"mode": "detect"}, {"mode": "vss"}, {"mode": "passive", "fraction_bits": 24}),
)
@dataclass(frozen=True, kw_only=True)
class Shamir:
    """Members share their words with polynomials of degree t; each posts the sum of its shares; the board opens.

    Threat model: a = b + p Byzantine and curious members pool their views with the board, k members crash, in a
    cluster of c. Links between members are private; the board shows everybody the same. In every mode a <= t
    members learn nothing beyond the opened sum, and the sum is withheld unless the inputs of t + `least_honest`
    members are in it, so that it adds those of `least_honest` honest ones however many members were lost. The words of
    a member that has trained on another model than the board announces are in no sum; in the last two modes, in which
    all see what all say of their models, members stop as well where the board shows them a dealer of another one.
    A Byzantine member chooses its own input; beyond that,

    - `passive`: one Byzantine member can change the sum, unseen. k <= c - t - 1 crashes are tolerated.
    - `detect`: b <= c - k - t - 1 Byzantine members cannot change it, only stop it: any inconsistency aborts.
    - `correct`: 2 b + k <= c - t - 1 faults are corrected. Dealings are verified (see `_verified`), openings are
      decoded as a Reed-Solomon code whose wrong places are found once a message.
    - `vss`: b + k <= c - t - 1 faults are corrected: opened sums are verified against their dealers' tags too.

    The last two rest on a hash function (SHA-256 as a random oracle) and name the members that were proved to
    cheat in `suspects`; a member that merely crashes is not named.

    Guarantees:
        The board opens the exact sum modulo `modulus` of the words of `contributors`, within the bounds above.
        Within the bounds above no faulty member stops it (`detect`: nobody but a Byzantine one).
        No sum that opens has words that were made from another model than the board announces.
        `suspects` of an opened sum never holds a member that follows the protocol.
        The cost formula equals what the meter counts when nobody is faulty.
    """

    mode: Mode = "correct"
    threshold: str = ""
    modulus: int = MERSENNE_61
    fraction_bits: int = 16
    least_honest: int = 2
    checks: int = 2

    def __post_init__(self) -> None:
        check.integer_at_least(1, least_honest=self.least_honest, checks=self.checks)
        _ = self.ring, self.conditions, PrimeField(self.modulus)  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point numbers whose words it adds."""
        return FixedPoint(modulus=self.modulus, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """What it tolerates in a cluster of any size."""
        conditions = conditions_of("shamir", mode=self.mode, threshold=self.threshold or None)
        return replace(conditions, least_honest=self.least_honest)

    def check_size(self, *, parties: int) -> None:
        """See SecureSum.check_size."""
        t = self.conditions.threshold_at(parties)
        if t < 1:
            raise CloisterError(
                f"threshold = {self.conditions.threshold!r} gives {t} for clusters of {parties}, which hides nothing; "
                f"allowed: at least 1 (take larger clusters, or say threshold = '1')"
            )
        if parties >= self.modulus:
            raise CloisterError(
                f"modulus = {self.modulus} is too small for clusters of {parties}; allowed: a prime above {parties}"
            )
        if t + self.least_honest > parties:
            raise CloisterError(
                f"threshold = {self.conditions.threshold!r} gives {t} and least_honest = {self.least_honest} for "
                f"clusters of {parties}; allowed: threshold + least_honest <= {parties}"
            )

    def contribute(self, party: Party, words: Tensor) -> None:
        """See SecureSum.contribute."""
        clusters, coordinates = words.shape
        if self.mode in _VERIFIED:
            play(self._plan(party.parties, clusters, coordinates), party, words)
        else:
            send_sums(self._sharing(party.parties), party, words)

    def collect(self, board: Board) -> Opened:
        """See SecureSum.collect."""
        least = self.conditions.threshold_at(board.parties) + self.least_honest
        if self.mode in _VERIFIED:
            plan = self._plan(board.parties, board.clusters, board.coordinates)
            rows = Bulletin(plan, board, strict=False, least_dealers=least).run()
        else:
            rows = collect_sums(self._sharing(board.parties), board, least_dealers=least)
        sharing = self._sharing(board.parties)
        if len(rows.positions) < sharing.least:
            raise TooFewPartiesError(f"{len(rows.positions)} shares are left; allowed: at least {sharing.least}")
        sums, wrong = _OPENINGS[self.mode](sharing, rows)
        return Opened(
            sums=sharing.field.to_signed(sums), contributors=rows.dealers, suspects=rows.suspects | frozenset(wrong)
        )

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """c (c - 1) d words among the members and c d to the board, besides what verification posts."""
        if self.mode in _VERIFIED:
            return verified_cost(self._plan(parties, clusters, coordinates))
        return unverified_cost(parties=parties, clusters=clusters, coordinates=coordinates)

    def _sharing(self, parties: int) -> PolynomialSharing:
        return PolynomialSharing(field=PrimeField(self.modulus), degree=self.conditions.threshold_at(parties))

    def _plan(self, parties: int, clusters: int, coordinates: int) -> Plan:
        sharing = self._sharing(parties)
        return Plan(
            sharing=sharing,
            parties=parties,
            clusters=clusters,
            coordinates=coordinates,
            checks=self.checks,
            attempts=parties - sharing.degree,
            committed_sums=self.mode == "vss",
        )


def _first_shares(sharing: PolynomialSharing, rows: OpenedRows) -> tuple[Tensor, tuple[int, ...]]:
    return sharing.open(rows.positions, rows.rows), ()


def _all_consistent(sharing: PolynomialSharing, rows: OpenedRows) -> tuple[Tensor, tuple[int, ...]]:
    points = [position + 1 for position in rows.positions]
    if not bool(consistent(sharing.field, points, rows.rows, sharing.degree).all()):
        raise CheatingDetectedError("the opened shares do not lie on one polynomial; nothing was opened")
    return sharing.open(rows.positions, rows.rows), ()


def _corrected(sharing: PolynomialSharing, rows: OpenedRows) -> tuple[Tensor, tuple[int, ...]]:
    # The combination that finds the wrong places is drawn when all shares are fixed; decoding is exact anyway.
    coin = hashlib.sha256(rows.rows.contiguous().numpy().data).digest()
    shape = rows.rows.shape[1:]
    coefficients = challenge(sharing.field, coin, 1, shape.numel())[0].view(shape)
    points = [position + 1 for position in rows.positions]
    try:
        decoded = decode(sharing.field, points, rows.rows, sharing.degree, challenge=coefficients)
    except DecodingError as error:
        raise CheatingDetectedError(str(error)) from None
    return decoded.secret, tuple(rows.positions[place] for place in decoded.wrong)


_OPENINGS: Mapping[str, Callable[[PolynomialSharing, OpenedRows], tuple[Tensor, tuple[int, ...]]]] = MappingProxyType(
    {"passive": _first_shares, "detect": _all_consistent, "correct": _corrected, "vss": _first_shares}
)
