"""MPyC's Shamir sharing: its field, its shares, its recombination; our network between them.

`mpyc.thresha` is what MPyC's runtime calls to share an input and to recombine an output. Its coefficients come from
`secrets.randbelow`; here it gets them from the party's own secrets, so that the suite can put them on a tape.
"""

import contextlib
import contextvars
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from itertools import combinations
from types import SimpleNamespace

import torch
from mpyc import finfields, thresha
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.field import MERSENNE_61, PrimeField
from protocols.network import BOARD, HEADER_BYTES
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.testing.invariants import Effort, Evidence, Violation
from protocols.testing.invariants.runs import sizes, suite_line
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.types import Cost, Traffic

_README = "MPyC's README: 'tolerating a dishonest minority of up to t passively corrupt parties', 0 <= t < m/2"
_SHARING = "mpyc.thresha.random_split: 'Split each secret given in s into m random Shamir shares', of degree t"
_FIELD = "mpyc.finfields: arithmetic modulo a prime, without rounding"

_coefficients: contextvars.ContextVar[Iterator[int] | None] = contextvars.ContextVar("coefficients", default=None)


def _randbelow(bound: int) -> int:
    drawn = _coefficients.get()
    return _operating_system(bound) if drawn is None else next(drawn)


_operating_system = thresha.secrets.randbelow
thresha.secrets = SimpleNamespace(randbelow=_randbelow)


@contextlib.contextmanager
def drawing(coefficients: Iterator[int]) -> Generator[None, None, None]:
    """Let MPyC draw these coefficients in this thread."""
    token = _coefficients.set(coefficients)
    try:
        yield
    finally:
        _coefficients.reset(token)


def any_subset_recombines(spec: Spec, effort: Effort) -> Evidence:
    """I8 of MPyC itself: each t + 1 shares give the secret. (In a sum all members must be there to the end.)"""
    protocol = secure_sums.make(spec)
    modulus, cases = protocol.ring.modulus, 0
    field = finfields.GF(modulus)
    for parties in sizes(spec, 7, least=3):
        t = protocol.conditions.threshold_at(parties)
        secret = [field(int(word)) for word in public_stream(parties, "subsets").integers(0, modulus, 2)]
        rows = thresha.random_split(field, secret, t, parties)
        for chosen in combinations(range(parties), t + 1):
            opened = thresha.recombine(field, [(rank + 1, [field(share) for share in rows[rank]]) for rank in chosen])
            cases += 1
            if opened != secret:
                raise Violation(f"{spec}: the shares of {chosen} give {opened}", replay=suite_line(spec, "I8"))
    return Evidence(how="exact", cases=cases, text="every t + 1 of 3 to 7 shares")


@secure_sums.register(
    source="Schoenmakers 2018, MPyC: secure multiparty computation in Python, version 0.11",
    examples=({}, {"threshold": "1"}),
    facts={
        "claims": {
            "I1": _FIELD,
            "I2": _FIELD,
            "I3": _FIELD,
            "I6": _FIELD,
            "I8": "mpyc.thresha.recombine: recombines the shares that it is given into secrets",
            "I12": _README,
            "I13": _README,
            "I14": _SHARING,
            "I15": _SHARING,
            "I16": _SHARING,
            "I22": _README,
            "I23": _README,
            "I32": _README,
        },
        "checks": {"I8": any_subset_recombines},
        "scope": "MPyC claims nothing against members that lie or are absent, and states no cost",
    },
)
@dataclass(frozen=True, kw_only=True)
class MpycShamir:
    """Members share their words with MPyC and post the sums of their shares; the board recombines with MPyC.

    Threat model: up to t members, less than half, follow the protocol and pool what they see with the board. All
    must be there to the end. Encoding and the network are ours; sharing, adding and recombining are MPyC's.
    """

    threshold: str = "c/2"
    modulus: int = MERSENNE_61
    fraction_bits: int = 16

    def __post_init__(self) -> None:
        _ = self.ring, self.conditions, PrimeField(self.modulus)

    @property
    def ring(self) -> FixedPoint:
        return FixedPoint(modulus=self.modulus, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        conditions = conditions_of("shamir", mode="passive", threshold=self.threshold)
        return replace(conditions, scheme=replace(conditions.scheme, stopped=conditions_of("additive").scheme.stopped))

    def check_size(self, *, parties: int) -> None:
        check.integer_at_least(1, parties=parties)
        t = self.conditions.threshold_at(parties)
        if not 1 <= t <= (parties - 1) // 2 or parties >= self.modulus:
            raise CloisterError(
                f"threshold = {self.threshold!r} gives {t} for clusters of {parties} modulo {self.modulus}; allowed by "
                f"MPyC: 1 to {(parties - 1) // 2}, and fewer members than the field has elements"
            )

    def contribute(self, party: Party, words: Tensor) -> None:
        t, field = self.conditions.threshold_at(party.parties), finfields.GF(self.modulus)
        drawn = party.keys.secrets.elements(
            PrimeField(self.modulus), purpose="shares", use=party.use, clusters=len(words), count=t * words.shape[1]
        )
        secrets = [field(word) for word in words.flatten().tolist()]
        with drawing(iter(drawn.flatten().tolist())):
            rows = thresha.random_split(field, secrets, t, party.parties)
        shares = {peer: self._words(rows[peer], words) for peer in party.peers}
        received = {peer: torch.empty_like(words, memory_format=torch.contiguous_format) for peer in party.peers}
        party.link.exchange(shares, received)
        added = [field(share) for share in rows[party.rank]]
        for row in received.values():
            added = [mine + theirs for mine, theirs in zip(added, row.flatten().tolist(), strict=True)]
        party.link.exchange({BOARD: self._words([share.value for share in added], words)}, {})

    def collect(self, board: Board) -> Opened:
        posted = {
            rank: torch.empty(board.clusters, board.coordinates, dtype=torch.int64) for rank in range(board.parties)
        }
        board.link.exchange({}, posted)
        field, least = finfields.GF(self.modulus), self.conditions.threshold_at(board.parties) + 1
        points = [(rank + 1, [field(share) for share in posted[rank].flatten().tolist()]) for rank in range(least)]
        sums = torch.tensor([secret.value for secret in thresha.recombine(field, points)], dtype=torch.int64)
        return Opened(sums=self.ring.wrap(sums.view_as(posted[0])), contributors=tuple(range(board.parties)))

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        row, pairs = 8 * clusters * coordinates, parties * (parties - 1)
        return Traffic(
            offline=Cost.none(),
            mpc=Cost(
                payload_bytes=pairs * row, wire_bytes=pairs * (row + HEADER_BYTES), messages=pairs, rounds=min(pairs, 1)
            ),
            upload=Cost(
                payload_bytes=parties * row, wire_bytes=parties * (row + HEADER_BYTES), messages=parties, rounds=1
            ),
        )

    def _words(self, shares: list[int], like: Tensor) -> Tensor:
        return torch.tensor([share % self.modulus for share in shares], dtype=torch.int64).view_as(like)
