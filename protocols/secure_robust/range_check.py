"""The sum of the updates whose every coordinate is in range, so that it cannot wrap around; others are excluded."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.ring import FixedPoint
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._access import MOST
from protocols.secure_robust._batch import access_for
from protocols.secure_robust._checked import draw_of, engines_of, in_range_in_the_clear, share_words_cost
from protocols.secure_robust._pads import agreement_cost
from protocols.secure_robust._passing import counted, open_in_range, open_in_range_cost, widest_limit
from protocols.secure_robust._promises import inputs_conditions
from protocols.secure_robust._results import collect_kept, kept_cost, publish_kept
from protocols.secure_robust._weighted import open_sum, open_sum_cost
from protocols.secure_sum import Board, Opened, Party
from protocols.tolerance.conditions import Conditions, check_least_passing
from protocols.types import Traffic


@robust_statistics.register(
    source="Bell et al. 2023, USENIX Security, ACORN (input validation by range proofs); here in the members' own MPC",
    examples=({}, {"bits": 20}, {"fraction_bits": 12, "least_passing": 1}),
    facts={"opens_sums": True},
)
@dataclass(frozen=True, kw_only=True)
class RangeCheck:
    """The sum of the updates all of whose coordinates are in -2^bits .. 2^bits - 1; other members are excluded.

    Coordinates are in units of the ring. Bounds are powers of two only: the check asks that a word's upper
    bits be alike, which says nothing of a bound between two powers. With bits = 0 the range is the widest at which the
    sum of c members' words is within +-2^62, so that neither the sum nor the noise on it wraps around:
    2^(62 - ceil(log2 c)). Honest updates are encoded within it and pass; who does not has entered what no honest member
    enters, and is named.

    Threat model: see `protocols.secure_robust`. Opened are who passes, and the sum of those who do. A coalition of at
    most t members learns no more: all honest members pass, so that at least two others are in the sum of a cluster of
    which it has c - 2 members at most. The sum of fewer than `least_passing` members does not open.

    Guarantees:
        A member passes exactly if every coordinate is in range, whatever 64-bit word it is.
        The opened sum is that of the integers, of the words of those who pass; zero, and nobody's, where fewer than
        `least_passing` do.
        Where one member's word changes by r within the range, a sum that opens changes by r, whatever the others enter.
        The cost formula equals what the meter counts.
    """

    bits: int = 0
    fraction_bits: int = 16
    threshold: str = MOST
    least_passing: int = 2

    def __post_init__(self) -> None:
        check.integer_at_least(0, bits=self.bits)
        check.integer_at_least(1, least_passing=self.least_passing)
        _ = self.ring, self.conditions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(64, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions."""
        return replace(inputs_conditions("range_check", self.threshold, self), least_passing=self.least_passing)

    def breakdown(self, parties: int) -> int:  # noqa: ARG002
        """Even one Byzantine update moves the mean, if by no more than the range allows."""
        return 0

    @property
    def checks_inputs(self) -> bool:
        """It does, always; see ChecksRange."""
        return True

    def limit(self, *, parties: int) -> int:
        """Return the bits of the range in a cluster of so many; CloisterError where their sum may wrap around."""
        widest = widest_limit(parties)
        if self.bits > widest:
            raise CloisterError(
                f"bits = {self.bits} lets sums of {parties} members wrap around; allowed: 1 to {widest}, or 0, which "
                f"takes {widest}"
            )
        return self.bits or widest

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; 3 members or more, as many as have to pass, no more than leave a range."""
        access_for(self.threshold, parties)
        check_least_passing(self.least_passing, parties)
        self.limit(parties=parties)

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; any number."""
        check.integer_at_least(1, coordinates=coordinates)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        bits, engine = engines_of(party, access_for(self.threshold, party.parties))
        values = engine.share_inputs(words)
        passing = open_in_range(bits, draw_of(party), values, self.limit(parties=party.parties))
        kept = counted(passing, self.least_passing)
        publish_kept(party, open_sum(bits, engine.public(kept), values), kept)

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return collect_kept(board)

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference."""
        parties = words.shape[1]
        kept = counted(in_range_in_the_clear(words, self.limit(parties=parties)), self.least_passing)
        sums = torch.where(kept[:, :, None], words, 0).sum(dim=1)
        return Opened(sums=sums, contributors=tuple(range(parties)), kept=kept)

    def decode(self, opened: Opened, *, parties: int) -> Tensor:  # noqa: ARG002
        """Return the means of those who pass; zero where too few do."""
        assert opened.kept is not None
        return self.ring.decode(opened.sums) / opened.kept.sum(dim=1, keepdim=True).clamp(min=1)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """About 126 ANDs a member and coordinate for its range, one opening a coordinate of the sum."""
        access, shape = access_for(self.threshold, parties), (clusters, parties, coordinates)
        offline, online = open_in_range_cost(access, shape, self.limit(parties=parties))
        mpc = share_words_cost(access, clusters=clusters, coordinates=coordinates).then(online)
        mpc = mpc.then(open_sum_cost(access, clusters=clusters, coordinates=coordinates))
        upload = kept_cost(access, clusters=clusters, coordinates=coordinates)
        return Traffic(offline=agreement_cost(access).then(offline), mpc=mpc, upload=upload)
