"""Centred clipping: from a public centre, steps along the mean of the deviations, each clipped to a radius."""

from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.ring import FixedPoint
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._access import MOST
from protocols.secure_robust._batch import access_for, read_words
from protocols.secure_robust._checked import draw_of, engines_of, share_words_cost
from protocols.secure_robust._clipping import Clipping
from protocols.secure_robust._pads import agreement_cost
from protocols.secure_robust._promises import OpensSeveral, inputs_conditions
from protocols.secure_sum import Board, Opened, Party
from protocols.secure_sum._publish import publish, publishing_cost
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic


@robust_statistics.register(
    source="Karimireddy, He and Jaggi 2021, ICML, Section 4 (centered clipping, iterated)",
    examples=({}, {"radius": 1.0, "iterations": 3}, {"radius": 0.5, "fraction_bits": 12, "steps": 8}),
    facts={"centred": True},
)
@dataclass(frozen=True, kw_only=True)
class CenteredClipping:
    """The public centre, moved `iterations` times by the mean of the members' deviations from it, clipped to `radius`.

    The first centre is zero: what members enter are deviations from a point that all know. In rounds of `bench run` it
    is the aggregate of the round before, the rule's memory, which is public, so that members subtract it for nothing.
    Each step is that of `clip` on the same shared inputs less the centre
    reached, in whole units: the sum of the clipped deviations is opened, divided by the number of members, rounded down
    and added. A member with a deviation beyond +-2^b, where squares could wrap around, does not move that step.

    Threat model: see `protocols.secure_robust`. Opened to the members are the sums of clipped deviations of every step,
    and so the centres; to the board the last centre alone. A coalition of at most t members learns no more than that.
    With one iteration it is what `clip` opens; as many sums as there are members outside of the coalition may tell what
    each of these sent.

    Guarantees:
        The opened words equal the reference's, bit for bit.
        The result is within iterations (radius + (3 sqrt(d) / 2 + 1) units) of the first centre, whatever members send.
        b members move a step's centre by at most 2 b / c (radius + (sqrt(d) / 2 + 1) units), and rounding.
        The cost formula equals what the meter counts.
    """

    radius: float = 10.0
    iterations: int = 1
    steps: int = 4
    fraction_bits: int = 16
    threshold: str = MOST

    def __post_init__(self) -> None:
        check.positive(radius=self.radius)
        check.integer_at_least(1, iterations=self.iterations)
        _ = self._clipping, self.ring, self.conditions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(64, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions."""
        return inputs_conditions(
            "centered_clipping", self.threshold, self, private=OpensSeveral(opened=self.iterations)
        )

    def breakdown(self, parties: int) -> int:  # noqa: ARG002
        """Even one Byzantine update moves the result, if by no more than the radius allows."""
        return 0

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; 3 members or more."""
        access_for(self.threshold, parties)

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; as many as leave a range that holds the radius."""
        self._clipping.table(coordinates)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        bits, engine = engines_of(party, access_for(self.threshold, party.parties))
        draw, values = draw_of(party), engine.share_inputs(words)
        centre = moved = self._clipping.open_sum(bits, draw, values) // party.parties
        for _ in range(1, self.iterations):
            values = engine.add_public(values, -moved[:, None])  # deviations from the centre reached
            moved = self._clipping.open_sum(bits, draw, values) // party.parties
            centre = centre + moved
        publish(party, centre, vouching=True)

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return Opened(sums=read_words(board), contributors=tuple(range(board.parties)))

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference."""
        clusters, parties, coordinates = words.shape
        centre = words.new_zeros(clusters, coordinates)
        for _ in range(self.iterations):
            centre = centre + self._clipping.sum_in_the_clear(words - centre[:, None]) // parties
        return Opened(sums=centre, contributors=tuple(range(parties)))

    def decode(self, opened: Opened, *, parties: int) -> Tensor:  # noqa: ARG002
        """See RobustStatistic.decode."""
        return self.ring.decode(opened.sums)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """That of `clip`, whose inputs are shared once and whose steps are taken `iterations` times."""
        access = access_for(self.threshold, parties)
        offline, mpc = agreement_cost(access), share_words_cost(access, clusters=clusters, coordinates=coordinates)
        dealt, opened = self._clipping.cost(access, clusters=clusters, coordinates=coordinates)
        for _ in range(self.iterations):
            offline, mpc = offline.then(dealt), mpc.then(opened)
        upload = publishing_cost(parties=parties, clusters=clusters, coordinates=coordinates, vouching=True)
        return Traffic(offline=offline, mpc=mpc, upload=upload)

    @property
    def _clipping(self) -> Clipping:
        return Clipping(norm=self.radius, steps=self.steps, fraction_bits=self.fraction_bits)
