"""The mean of the middle values of every coordinate."""

from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.check import CloisterError
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
    source="Yin et al. 2018, ICML, Definition 2",
    examples=({}, {"bits": 32}, {"trim": 2, "bits": 16, "fraction_bits": 8}),
)
@dataclass(frozen=True, kw_only=True)
class TrimmedMean:
    """The mean of a cluster's updates in every coordinate, without the `trim` largest and the `trim` smallest.

    Threat model: see `protocols.secure_robust`. Opened is the sum of the values that are kept alone; whose they are,
    and every comparison, stays shared. A coalition of at most t members learns no more than that.

    Guarantees:
        The opened words equal the reference's, bit for bit, for inputs of any `bits`-bit words.
        While at most `trim` members are Byzantine, each coordinate lies between honest members' values, if these are
        below 2^(bits - 1) / kept as words, of which kept = c - 2 trim are added.
        The cost formula equals what the meter counts.
    """

    trim: int = 1
    bits: int = 64
    fraction_bits: int = 16
    threshold: str = MOST

    def __post_init__(self) -> None:
        check.integer_at_least(1, trim=self.trim)
        _ = self.ring, self.conditions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(self.bits, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions."""
        return inputs_conditions("trimmed_mean", self.threshold, self)

    def breakdown(self, parties: int) -> int:
        """As many as are left out at each end, where something is left."""
        return self.trim if 2 * self.trim < parties else -1

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; more than 2 trim members."""
        access_for(self.threshold, parties)
        if 2 * self.trim >= parties:
            raise CloisterError(
                f"trim = {self.trim} at each end leaves nothing of {parties} members; "
                f"allowed: 1 to {(parties - 1) // 2}"
            )

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; any number."""
        check.integer_at_least(1, coordinates=coordinates)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        access = access_for(self.threshold, party.parties)
        open_middle_sums(party, access, words, bits=self.bits, trim=self.trim)

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return Opened(sums=read_words(board), contributors=tuple(range(board.parties)))

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference."""
        parties = words.shape[1]
        sums = middle_sums(self.ring, words, self.trim)
        return Opened(sums=sums, contributors=tuple(range(parties)))

    def decode(self, opened: Opened, *, parties: int) -> Tensor:
        """See RobustStatistic.decode."""
        return self.ring.decode(opened.sums) / (parties - 2 * self.trim)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """The comparisons of the median; then adders instead of one selection."""
        access = access_for(self.threshold, parties)
        return middle_cost(access, clusters=clusters, coordinates=coordinates, bits=self.bits, trim=self.trim)
