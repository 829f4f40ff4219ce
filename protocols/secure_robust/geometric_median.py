"""The geometric median, by a few of Weiszfeld's steps from the densest majority."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import majority_breakdown
from protocols.check import CloisterError
from protocols.ring import FixedPoint
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._access import MOST
from protocols.secure_robust._batch import access_for, read_words
from protocols.secure_robust._checked import draw_of, engines_of, in_range_in_the_clear, share_words_cost
from protocols.secure_robust._conversions import as_words, as_words_cost, deal_bits, deal_bits_cost
from protocols.secure_robust._densest import densest, densest_cost, densest_in_the_clear
from protocols.secure_robust._neighbours import neighbours, neighbours_cost, range_for
from protocols.secure_robust._pads import agreement_cost
from protocols.secure_robust._promises import inputs_conditions
from protocols.secure_robust._weighted import open_whole_units, open_whole_units_cost
from protocols.secure_robust._weiszfeld import SHARE_BITS, Steps, step, step_cost, step_in_the_clear
from protocols.secure_sum import Board, Opened, Party
from protocols.secure_sum._publish import publish, publishing_cost
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic


@robust_statistics.register(
    source="Pillutla, Kakade and Harchaoui 2022, IEEE TSP (RFA: smoothed Weiszfeld steps); here from distances alone",
    examples=({}, {"iterations": 1, "fraction_bits": 12, "smoothing": 0.5, "steps": 2}),
    facts={
        "places_matter": "two members may each be the other's farthest in a densest ball; the anchor, which gets what "
        "rounding leaves of the weights, is the one with the lower number"
    },
)
@dataclass(frozen=True, kw_only=True)
class GeometricMedian:
    """The mean of the updates, weighted in inverse proportion to distances from the point reached, `iterations` times.

    The start is the mean of the densest majority: of the ball around a member that holds h = floor(c / 2) + 1 members
    and has the smallest radius. Weights are multiples of 2^-12 that add up to 1; inverse distances, and the reciprocal
    of their sum, are read off tables, so that nothing is divided or iterated towards. Distances up to `smoothing` (at
    least a unit) count as that, and others as up to 2^(1 / steps) larger than they are. What rounding leaves of the
    weights goes to the member around which the start is: of several with balls of one radius (of 3 members there are
    always two) the one with the lowest number, so that the order of members shows in the result, within its bounds. The
    weighted sum is rounded down to whole units, once. A member that is out of range, see `krum`, has no weight.

    Threat model: see `protocols.secure_robust`. Opened is the rounded weighted sum alone: distances, weights and points
    on the way stay shared. A coalition of at most t members learns no more than that; note that a geometric median may
    be as near to one member's update as rounding lets it.

    Guarantees:
        The opened words equal the reference's, bit for bit, for inputs of any 64-bit words.
        The result is a convex combination of updates, rounded down by less than 1 unit in each coordinate.
        While fewer than half, b, of the members are Byzantine, and the others are in range and at most D apart, it is
        within 3 (1 + q)^iterations max(D, smoothing) + sqrt(d) units of each of these, q = 16/15 2^(1 / steps) b / h.
        The cost formula equals what the meter counts.

    Why: a ball of h members holds an honest one, and its radius is at most D, so that the start is within 3 D of all of
    these. If honest members are within E >= 2 D of a point, each has a weight of at least 15 / 16 / 2^(1 / steps) / E
    (times smoothing) and W is at least h times that; a Byzantine member's weight x distance is at most 1. So what they
    add to the next point's distance from an honest member is at most b / W <= q E, and the rest of it is a convex
    combination of numbers up to E, the anchor's 2 D among them.
    """

    iterations: int = 2
    smoothing: float = 0.001
    steps: int = 8
    fraction_bits: int = 16
    threshold: str = MOST

    def __post_init__(self) -> None:
        check.integer_at_least(1, iterations=self.iterations, steps=self.steps)
        check.positive(smoothing=self.smoothing)
        if self.smoothing >= (most := 2.0 ** (31 - self.fraction_bits)):
            raise CloisterError(
                f"smoothing = {self.smoothing} of numbers with {self.fraction_bits} bits of fraction is beyond all "
                f"distances; allowed: less than {most:.6g}"
            )
        _ = self.ring, self.conditions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(64, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions."""
        return inputs_conditions("geometric_median", self.threshold, self)

    def breakdown(self, parties: int) -> int:
        """Fewer than half."""
        return majority_breakdown(parties)

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; 3 members or more."""
        access_for(self.threshold, parties)

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; as many as leave a range."""
        range_for(coordinates)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        access, members = access_for(self.threshold, party.parties), party.parties
        clusters, width = len(words), SHARE_BITS + 1
        bits, engine = engines_of(party, access)
        draw, tables = draw_of(party), self._tables(members)
        with bits.offline():
            coins = deal_bits(bits, draw, (clusters, width, members))
        values = engine.share_inputs(words)
        shares, cloud = densest(bits, neighbours(bits, values, draw))
        for _ in range(self.iterations):
            shares = step(bits, tables, shares, cloud)
        digits = as_words(bits, shares.view(clusters, width, 1, shares.shape[3]), coins, members)
        powers = (1 << torch.arange(width))[:, None]
        weights = engine.sum(engine.scale(digits, powers), 1)
        publish(party, open_whole_units(bits, draw, weights, values, SHARE_BITS), vouching=True)

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return Opened(sums=read_words(board), contributors=tuple(range(board.parties)))

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference."""
        _, members, coordinates = words.shape
        tables = self._tables(members)
        inside = in_range_in_the_clear(words, range_for(coordinates).bits)
        shares, squares, anchor = densest_in_the_clear(words)
        for _ in range(self.iterations):
            shares = step_in_the_clear(tables, shares, squares, inside, anchor)
        weights = torch.from_numpy(shares.astype(np.int64))
        sums = (weights[:, :, None] * words).sum(dim=1) >> SHARE_BITS
        return Opened(sums=sums, contributors=tuple(range(members)))

    def decode(self, opened: Opened, *, parties: int) -> Tensor:  # noqa: ARG002
        """See RobustStatistic.decode."""
        return self.ring.decode(opened.sums)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """That of distances; steps that do not grow with d, about 50 layers each; one opening and the sum's bits."""
        access, coins = access_for(self.threshold, parties), (clusters, SHARE_BITS + 1, parties)
        offline, online = neighbours_cost(access, clusters=clusters, coordinates=coordinates)
        mpc = share_words_cost(access, clusters=clusters, coordinates=coordinates).then(online)
        mpc = mpc.then(densest_cost(access, clusters=clusters))
        for _ in range(self.iterations):
            mpc = mpc.then(step_cost(access, self._tables(parties), clusters=clusters))
        dealt, opened = open_whole_units_cost(access, clusters=clusters, coordinates=coordinates, fraction=SHARE_BITS)
        upload = publishing_cost(parties=parties, clusters=clusters, coordinates=coordinates, vouching=True)
        offline = agreement_cost(access).then(offline).then(deal_bits_cost(access, coins)).then(dealt)
        return Traffic(offline=offline, mpc=mpc.then(as_words_cost(access, coins)).then(opened), upload=upload)

    def _tables(self, members: int) -> Steps:
        smoothing = max(1, math.floor(self.smoothing * 2.0**self.fraction_bits))
        return Steps(members=members, smoothing=smoothing, steps=self.steps)
