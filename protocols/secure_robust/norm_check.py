"""The sum of the updates that are no longer than allowed; a member whose update is longer is excluded and named."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from protocols import check
from protocols.ring import FixedPoint
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._access import MOST
from protocols.secure_robust._batch import access_for
from protocols.secure_robust._checked import (
    Range,
    check_norm,
    draw_of,
    engines_of,
    in_range_in_the_clear,
    public_number,
    share_words_cost,
)
from protocols.secure_robust._circuits import greater_than_public, greater_than_public_layers, negated
from protocols.secure_robust._norms import lengths_cost, squared_lengths
from protocols.secure_robust._opening import openings_cost
from protocols.secure_robust._pads import agreement_cost
from protocols.secure_robust._passing import counted, opened_flags
from protocols.secure_robust._planes import WORD_BITS, words_for
from protocols.secure_robust._promises import OpensSelected, inputs_conditions
from protocols.secure_robust._results import collect_kept, kept_cost, publish_kept
from protocols.secure_robust._weighted import open_sum, open_sum_cost
from protocols.secure_sum import Board, Opened, Party
from protocols.tolerance.conditions import Conditions, check_least_passing
from protocols.types import Traffic


@robust_statistics.register(
    source="Lycklama et al. 2023, IEEE S&P, RoFL (norm bounds in secure aggregation); here in the members' own MPC",
    examples=({}, {"norm": 100.0, "least_passing": 1}, {"norm": 0.5, "fraction_bits": 12}),
    facts={"opens_sums": True},
)
@dataclass(frozen=True, kw_only=True)
class NormCheck:
    """The sum of the updates whose L2 norm is at most `norm`; the members with longer ones are excluded and named.

    Every coordinate is first shown to be so small that its square, and the sum of all squares, cannot wrap around.

    Threat model: see `protocols.secure_robust`. Opened are who passes, and the sum of those who do. A coalition of at
    most t members learns no more; of a sum of few it learns what it can subtract. So the sum of fewer than
    `least_passing` members does not open, and one of more tells nothing of single updates to a coalition of at most
    least_passing - 2 of them. It may keep the sum from opening by entering updates that do not pass.

    Guarantees:
        An update of norm at most `norm` always passes; one that passes has at most norm + (sqrt(d) / 2 + 1) units.
        The opened sum is exact: that of the words of those who pass; zero, and nobody's, where fewer than
        `least_passing` do.
        Whatever members enter, a coalition of at most min(t, least_passing - 2) learns no sum with one other in it.
        b members that pass move the mean of k by at most 2 b (norm + rounding) / k, wherever they are.
        The cost formula equals what the meter counts.
    """

    norm: float = 10.0
    fraction_bits: int = 16
    threshold: str = MOST
    least_passing: int = 2

    def __post_init__(self) -> None:
        check_norm(self.norm, self.fraction_bits)
        check.integer_at_least(1, least_passing=self.least_passing)
        _ = self.ring, self.conditions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(64, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions."""
        private = OpensSelected(selected=self.least_passing)
        found = inputs_conditions("norm_check", self.threshold, self, private=private)
        return replace(found, least_passing=self.least_passing)

    def breakdown(self, parties: int) -> int:  # noqa: ARG002
        """Even one Byzantine update moves the mean, if by no more than the norm allows."""
        return 0

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; 3 members or more, and as many as have to pass."""
        access_for(self.threshold, parties)
        check_least_passing(self.least_passing, parties)

    def longest(self, coordinates: int) -> int:
        """Return the longest allowed norm in units: rounding to words lengthens an update by at most sqrt(d) / 2."""
        return math.ceil(self.norm * 2.0**self.fraction_bits + math.sqrt(coordinates) / 2)

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; as many as leave a range that holds the norm."""
        self._limits(coordinates)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        access, limits = access_for(self.threshold, party.parties), self._limits(words.shape[1])
        bits, engine = engines_of(party, access)
        values = engine.share_inputs(words)
        lengths = squared_lengths(bits, values, draw_of(party), limits)
        too_long = greater_than_public(bits, lengths.squares, public_number(self.longest(words.shape[1]) ** 2))
        passes = bits.reveal_products((lengths.in_range, negated(bits, too_long)))
        kept = counted(opened_flags(passes, party.parties), self.least_passing)
        publish_kept(party, open_sum(bits, engine.public(kept), values), kept)

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return collect_kept(board)

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference."""
        _, parties, coordinates = words.shape
        inside = in_range_in_the_clear(words, self._limits(coordinates).bits)
        squares = torch.where(inside[:, :, None], words, 0).square().sum(dim=2)
        kept = counted(inside & (squares <= self.longest(coordinates) ** 2), self.least_passing)
        sums = torch.where(kept[:, :, None], words, 0).sum(dim=1)
        return Opened(sums=sums, contributors=tuple(range(parties)), kept=kept)

    def decode(self, opened: Opened, *, parties: int) -> Tensor:  # noqa: ARG002
        """Return the means of those who pass; zero where too few do."""
        assert opened.kept is not None
        return self.ring.decode(opened.sums) / opened.kept.sum(dim=1, keepdim=True).clamp(min=1)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """About 126 ANDs a member and coordinate for its range, one opening for all squares of a member."""
        access = access_for(self.threshold, parties)
        offline, online = lengths_cost(access, clusters=clusters, limits=self._limits(coordinates))
        lanes = clusters * words_for(parties)
        mpc = share_words_cost(access, clusters=clusters, coordinates=coordinates).then(online)
        mpc = mpc.then(openings_cost(access, lanes, [*greater_than_public_layers(WORD_BITS), 1], comparisons=1))
        mpc = mpc.then(open_sum_cost(access, clusters=clusters, coordinates=coordinates))
        upload = kept_cost(access, clusters=clusters, coordinates=coordinates)
        return Traffic(offline=agreement_cost(access).then(offline), mpc=mpc, upload=upload)

    def _limits(self, coordinates: int) -> Range:
        return Range(bits=self.longest(coordinates).bit_length(), coordinates=coordinates)
