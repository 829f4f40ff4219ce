"""The sum of the updates, each clipped to an L2 norm."""

from dataclasses import dataclass

from torch import Tensor

from protocols.ring import FixedPoint
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._access import MOST
from protocols.secure_robust._batch import access_for, read_words
from protocols.secure_robust._checked import draw_of, engines_of, share_words_cost
from protocols.secure_robust._clipping import Clipping
from protocols.secure_robust._pads import agreement_cost
from protocols.secure_robust._promises import inputs_conditions
from protocols.secure_sum import Board, Opened, Party
from protocols.secure_sum._publish import publish, publishing_cost
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic


@robust_statistics.register(
    source="Karimireddy, He and Jaggi 2021, ICML, Section 4 (clipping around a centre); no division, no square root",
    examples=({}, {"norm": 100.0, "steps": 1}, {"norm": 0.5, "fraction_bits": 12, "steps": 8}),
)
@dataclass(frozen=True, kw_only=True)
class Clip:
    """The sum of the updates, each scaled down to an L2 norm of at most `norm` and not much less.

    The scale is read off a table: a member's squared norm is compared with bounds that grow by 2^(1 / steps) in norm,
    and each step has its factor. Nothing is divided or iterated: the sum of factor x update is exact, stays shared, and
    is rounded down to whole units, once, by opening its upper bits alone. An update with a coordinate beyond +-2^b,
    where squares could wrap around, counts as zero. `centered_clipping` takes further steps from the result.

    Threat model: see `protocols.secure_robust`. Opened is the rounded sum of the clipped updates alone: not who was
    clipped, nor how much. A coalition of at most t members learns no more than that.

    Guarantees:
        The opened words equal the reference's, bit for bit.
        An update of norm at most `norm` is not changed; no update counts with more than norm + (sqrt(d) / 2 + 1) units.
        A longer one that is in range counts with at least 2^(-1 / steps) norm - 2^-20 of its own norm - 1 unit.
        The sum of what counts is rounded down in each coordinate, by less than 1 unit for all members together.
        The cost formula equals what the meter counts.
    """

    norm: float = 10.0
    steps: int = 4
    fraction_bits: int = 16
    threshold: str = MOST

    def __post_init__(self) -> None:
        _ = self._clipping, self.ring, self.conditions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(64, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions."""
        return inputs_conditions("clip", self.threshold, self)

    def breakdown(self, parties: int) -> int:  # noqa: ARG002
        """Even one Byzantine update moves the mean, if by no more than the norm allows."""
        return 0

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; 3 members or more."""
        access_for(self.threshold, parties)

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; as many as leave a range that holds the norm."""
        self._clipping.table(coordinates)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        bits, engine = engines_of(party, access_for(self.threshold, party.parties))
        sums = self._clipping.open_sum(bits, draw_of(party), engine.share_inputs(words))
        publish(party, sums, vouching=True)

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return Opened(sums=read_words(board), contributors=tuple(range(board.parties)))

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference."""
        return Opened(sums=self._clipping.sum_in_the_clear(words), contributors=tuple(range(words.shape[1])))

    def decode(self, opened: Opened, *, parties: int) -> Tensor:
        """See RobustStatistic.decode."""
        return self.ring.decode(opened.sums) / parties

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """That of squared lengths, a comparison with a public number for each step of each member, the sum's bits."""
        access = access_for(self.threshold, parties)
        offline, online = self._clipping.cost(access, clusters=clusters, coordinates=coordinates)
        mpc = share_words_cost(access, clusters=clusters, coordinates=coordinates).then(online)
        upload = publishing_cost(parties=parties, clusters=clusters, coordinates=coordinates, vouching=True)
        return Traffic(offline=agreement_cost(access).then(offline), mpc=mpc, upload=upload)

    @property
    def _clipping(self) -> Clipping:
        return Clipping(norm=self.norm, steps=self.steps, fraction_bits=self.fraction_bits)
