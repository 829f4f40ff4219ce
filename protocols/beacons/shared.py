"""A value that the processes draw together from contributions that are shared before any of them is known."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import ClassVar

import torch
from torch import Tensor

from protocols import check
from protocols.beacons import Company, Drawn, Occasion, beacons, value_of
from protocols.check import CloisterError
from protocols.field import MERSENNE_61, PrimeField
from protocols.network import OutOfStepError, cost_of
from protocols.polynomials import consistent
from protocols.registry import Spec
from protocols.ring import FixedPoint
from protocols.secret_source import Secrets
from protocols.secure_sum import Board, Opened, Party
from protocols.secure_sum._bulletin import Bulletin
from protocols.secure_sum._sharing import PolynomialSharing
from protocols.secure_sum._verified import hear, play, verified_cost
from protocols.secure_sum._verified_plan import Plan
from protocols.tolerance.conditions import Conditions, conditions_of
from protocols.types import Traffic

_NOBODY = -1
"""In the place of a share that was not opened."""


@beacons.register(
    source="Chor, Goldwasser, Micali, Awerbuch 1985, FOCS (coins from verifiable sharing); "
    "Cascudo and David 2017, SCRAPE, ACNS (a beacon that no withheld opening biases)",
    examples=({}, {"elements": 1, "checks": 3}),
    facts={"run": True},
)
@dataclass(frozen=True, kw_only=True)
class Shared:
    """Each process shares a secret contribution with all, verifiably; then only the sum of all of them is opened.

    Threat model: of n >= 3 processes t < n/2, the largest such number, are faulty: Byzantine ones pool their views with
    the board, rush (each sees what the others post before it posts) and do anything; others crash. Links between
    processes are private, and the board shows everybody the same. A contribution is `elements` uniform elements of the
    field of `modulus`: 305 bits by default.

    Commit: the contributions are shared with polynomials of degree t, every row under a hash that is posted, and
    proved consistent (see `_verified`), so that the rows of the honest processes, t + 1 or more, fix each of them.
    Dealers that fail are excluded here, while the t rows of a contribution that the adversary holds tell nothing of it.
    Reveal: each process opens its sum of the rows of all qualified dealers. What is opened is checked against what was
    committed, and any t + 1 right rows give the sum. So nobody needs an owner to open its contribution, and who
    withholds or forges something now has no second value to choose. Every process then computes the value itself, from
    opened rows that it checks against its own. The value is a hash of that sum and of what it was drawn for.

    The sum of the contributions is exactly uniform. That the value is, rests on SHA-256 as a random oracle, and so does
    the soundness of the proofs (modulus^-checks for each evaluation, 2^-122 by default). With more than t faulty
    processes it may end in an error after they have learnt the value, and so be biased; no protocol does better
    (Cleve 1986, STOC).

    Cost: n(n - 1) messages between processes and 12 n from or to the board, in 11 dependent rounds; all n processes are
    told the hashes of all n^2 rows, 32 n^3 bytes in all, so that it is for up to `MOST_PARTIES` processes.

    Guarantees:
        All honest processes, and the board, get the same value, whatever up to t processes do.
        The value is fixed when the last set of dealers is announced, before any honest row is opened.
        Before that the sum is uniform given all that t processes and the board have seen.
        The value has the contributions of all honest processes that were in time, and of t + 1 processes at least.
        Too few dealers end in TooFewPartiesError before any honest row is opened.
        `suspects` never holds a process that follows the protocol.
        The cost formula equals what the meter counts when nobody is faulty.
    """

    MOST_PARTIES: ClassVar[int] = 128

    elements: int = 5
    modulus: int = MERSENNE_61
    checks: int = 2

    def __post_init__(self) -> None:
        check.integer_at_least(1, elements=self.elements, checks=self.checks)
        _ = PrimeField(self.modulus)  # refuse what is not prime

    @property
    def ring(self) -> FixedPoint:
        """The numbers that are added: elements of the field."""
        return FixedPoint(modulus=self.modulus, fraction_bits=0)

    @property
    def conditions(self) -> Conditions:
        """What it tolerates among any number of processes."""
        return conditions_of("shamir", mode="vss", threshold="c/2")

    def check_size(self, *, parties: int) -> None:
        """See Beacon.check_size."""
        if not 3 <= parties <= self.MOST_PARTIES:
            why = "fewer than 3 have no honest majority with one faulty among them; more send 32 n^3 bytes"
            raise CloisterError(
                f"parties = {parties} cannot run this beacon; allowed: 3 to {self.MOST_PARTIES} ({why})"
            )
        if parties >= self.modulus:
            raise CloisterError(
                f"modulus = {self.modulus} is too small for {parties} processes; allowed: a prime above {parties}"
            )

    def contribution(self, source: Secrets, occasion: Occasion) -> Tensor:
        """Return a process's secret contribution (1, elements) to a draw, drawn once; numbers must grow."""
        purpose = f"beacon contribution, {occasion.purpose}"
        field = PrimeField(self.modulus)
        return source.elements(field, purpose=purpose, use=occasion.number, clusters=1, count=self.elements)

    def draw(self, occasion: Occasion, company: Company, sources: Sequence[Secrets], *, given: int) -> Drawn:  # noqa: ARG002
        """See Beacon.draw; each source can be asked once for each occasion."""
        contributions = [self.contribution(source, occasion) for source in sources]
        opened = company.open_sums(self._spec, torch.stack(contributions, dim=1))
        words = [int(word) for word in opened.sums.flatten()]
        return Drawn(
            value=value_of(occasion, parties=len(sources), qualified=opened.contributors, words=words),
            qualified=opened.contributors,
            suspects=opened.suspects,
            traffic=opened.traffic,
        )

    def contribute(self, party: Party, words: Tensor) -> None:
        """See SecureSum.contribute; the words are the process's contributions."""
        self.take_part(party, words)

    def take_part(self, party: Party, words: Tensor) -> tuple[tuple[int, ...], Tensor]:
        """Play one process; return the qualified dealers and the sum (clusters, elements) of their contributions.

        Raises: NetworkError when the board gives up, or shows what does not fit this process's own row.
        """
        plan = self._plan(party.parties, *words.shape)
        dealing = play(plan, party, words)
        shape = (plan.parties, plan.clusters, plan.coordinates)
        shown = hear(party.link, torch.empty(shape, dtype=torch.int64))
        return dealing.dealers, _combined(plan, shown, party.rank, dealing.opened)

    def collect(self, board: Board) -> Opened:
        """See SecureSum.collect."""
        plan = self._plan(board.parties, board.clusters, board.coordinates)
        rows = Bulletin(plan, board, strict=False, least_dealers=plan.sharing.least).run()
        total = plan.sharing.open(rows.positions, rows.rows)
        shown = torch.full((plan.parties, plan.clusters, plan.coordinates), _NOBODY, dtype=torch.int64)
        shown[rows.positions] = rows.rows
        board.link.try_exchange(dict.fromkeys(range(plan.parties), shown), {})
        return Opened(sums=total, contributors=rows.dealers, suspects=rows.suspects)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """What verified dealing sends, and the opened rows once more to each process."""
        dealt = verified_cost(self._plan(parties, clusters, coordinates))
        payload_bytes = 8 * parties**2 * clusters * coordinates
        shown = cost_of(messages=parties, payload_bytes=payload_bytes, rounds=1)
        return Traffic(offline=dealt.offline, mpc=dealt.mpc, upload=dealt.upload.then(shown))

    @property
    def _spec(self) -> Spec:
        return Spec(name="shared", parameters=tuple(sorted(asdict(self).items())))

    def _plan(self, parties: int, clusters: int, coordinates: int) -> Plan:
        sharing = PolynomialSharing(field=PrimeField(self.modulus), degree=self.conditions.threshold_at(parties))
        return Plan(
            sharing=sharing,
            parties=parties,
            clusters=clusters,
            coordinates=coordinates,
            checks=self.checks,
            attempts=parties - sharing.degree,
            committed_sums=True,
        )


def _combined(plan: Plan, shown: Tensor, rank: int, own: Tensor) -> Tensor:
    """Return the sum that the shown rows (parties, clusters, elements) stand for, if they and one's own fit together.

    Raises: OutOfStepError where they do not: an opening of another draw, or one that somebody has changed.
    """
    field, sharing = plan.sharing.field, plan.sharing
    mine = own[:, : plan.coordinates]
    there = [place for place in range(plan.parties) if place != rank and bool((shown[place] != _NOBODY).all())]
    rows = torch.cat([mine[None], shown[there]])
    places = [rank, *there]
    inside = bool(((rows >= 0) & (rows < field.modulus)).all())
    kept = bool((shown[rank] == _NOBODY).all()) or torch.equal(shown[rank], mine)
    points = [place + 1 for place in places]
    if not (inside and kept and len(places) >= sharing.least) or not bool(
        consistent(field, points, rows, sharing.least - 1).all()
    ):
        raise OutOfStepError("the board shows opened rows that do not fit this process's own; the value is not taken")
    return sharing.open(places, rows)
