"""The coordinate-wise median."""

from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.aggregators import majority_breakdown
from protocols.ring import FixedPoint
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._access import MOST
from protocols.secure_robust._batch import access_for, read_words
from protocols.secure_robust._middle import middle_cost, middle_sums, open_middle_sums
from protocols.secure_robust._promises import inputs_conditions
from protocols.secure_sum import Board, Opened, Party
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic


@robust_statistics.register(
    source="Yin et al. 2018, ICML, Definition 1; all pairs compared at once, so that few rounds are needed",
    examples=({}, {"bits": 32}, {"threshold": "1"}, {"bits": 24, "fraction_bits": 12}),
)
@dataclass(frozen=True, kw_only=True)
class Median:
    """The coordinate-wise median of a cluster's updates; of an even number, the sum of the middle two.

    Threat model: see `protocols.secure_robust`. Opened is the median's words alone; whose value it is, and every
    comparison, stays shared. A coalition of at most t members learns no more than that; note that a median *is* one
    member's value, or the sum of two, in every coordinate.

    Guarantees:
        The opened words equal the reference's, bit for bit, for inputs of any `bits`-bit words.
        While fewer than half of the members are Byzantine, each coordinate lies between honest members' values, if
        these are below 2^(bits - 1) / kept as words: kept = 1 value of an odd number of members, 2 of an even one.
        The cost formula equals what the meter counts.
    """

    bits: int = 64
    fraction_bits: int = 16
    threshold: str = MOST

    def __post_init__(self) -> None:
        _ = self.ring, self.conditions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(self.bits, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions."""
        return inputs_conditions("median", self.threshold, self)

    def breakdown(self, parties: int) -> int:
        """Fewer than half."""
        return majority_breakdown(parties)

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; 3 members or more."""
        access_for(self.threshold, parties)

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; any number."""
        check.integer_at_least(1, coordinates=coordinates)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        access = access_for(self.threshold, party.parties)
        open_middle_sums(party, access, words, bits=self.bits, trim=self.breakdown(party.parties))

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return Opened(sums=read_words(board), contributors=tuple(range(board.parties)))

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference."""
        parties = words.shape[1]
        sums = middle_sums(self.ring, words, self.breakdown(parties))
        return Opened(sums=sums, contributors=tuple(range(parties)))

    def decode(self, opened: Opened, *, parties: int) -> Tensor:
        """See RobustStatistic.decode."""
        return self.ring.decode(opened.sums) / (parties - 2 * self.breakdown(parties))

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """About 3 bits ANDs a pair of members and coordinate, 2 (c - 1) bits on the wire each; 2 rounds a layer."""
        access = access_for(self.threshold, parties)
        trim = self.breakdown(parties)
        return middle_cost(access, clusters=clusters, coordinates=coordinates, bits=self.bits, trim=trim)
