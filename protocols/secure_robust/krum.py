"""The update, or the updates, whose nearest neighbours are nearest."""

from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.ring import FixedPoint
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._access import MOST
from protocols.secure_robust._batch import access_for, read_words
from protocols.secure_robust._checked import draw_of, engines_of, share_words_cost
from protocols.secure_robust._neighbours import range_for
from protocols.secure_robust._pads import agreement_cost
from protocols.secure_robust._promises import OpensSelected, inputs_conditions
from protocols.secure_robust._selecting import selected, selected_cost, selected_in_the_clear
from protocols.secure_robust._weighted import open_sum, open_sum_cost
from protocols.secure_sum import Board, Opened, Party
from protocols.secure_sum._publish import publish, publishing_cost
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic


@robust_statistics.register(
    source="Blanchard, El Mhamdi, Guerraoui and Stainer 2017, NeurIPS (Krum and Multi-Krum)",
    examples=({}, {"selected": 2}, {"tolerate": 1, "fraction_bits": 12}),
)
@dataclass(frozen=True, kw_only=True)
class Krum:
    """The sum of the `selected` updates with the smallest scores: of c members, a member's score is the sum of its
    c - tolerate - 2 smallest squared distances to others. One selected update is Krum, several are Multi-Krum.

    Distances are exact: every coordinate is shown to be so small that no square wraps around, and a member that has a
    larger one is beyond all others. With 16 bits of fraction, coordinates may be up to 128 where there are 10^4, up to
    32 where there are 10^5, up to 16 where there are 10^6. Of equal distances, and of equal scores, that of the member
    with the lower number counts as smaller.

    Threat model: see `protocols.secure_robust`. Opened is the sum of the selected updates alone: neither distances nor
    who is selected are, though with selected = 1 the result *is* one member's update, and selected - 1 members may find
    their own in the sum beside one other. A coalition of at most t members learns no more than that.

    Guarantees:
        The opened words equal the reference's, bit for bit.
        While at most `tolerate` members are out of range, none of these is selected for selected <= c - tolerate.
        The cost formula equals what the meter counts.
    """

    tolerate: int = 1
    selected: int = 1
    fraction_bits: int = 16
    threshold: str = MOST

    def __post_init__(self) -> None:
        check.integer_at_least(0, tolerate=self.tolerate)
        check.integer_at_least(1, selected=self.selected)
        _ = self.ring, self.conditions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(64, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions."""
        return inputs_conditions("krum", self.threshold, self, private=OpensSelected(selected=self.selected))

    def breakdown(self, parties: int) -> int:
        """As many as it is told, of 2 tolerate + 3 members, where at most `tolerate` in all are out of range."""
        return self.tolerate if parties >= 2 * self.tolerate + 3 else -1

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; 2 tolerate + 3 members or more, and as many as are selected."""
        access_for(self.threshold, parties)
        if self.breakdown(parties) < 0 or self.selected > parties - self.tolerate:
            raise CloisterError(
                f"tolerate = {self.tolerate}, selected = {self.selected} do not fit {parties} members; allowed: "
                f"2 tolerate + 3 members or more, and selected <= members - tolerate"
            )

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; as many as leave a range."""
        range_for(coordinates)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        access = access_for(self.threshold, party.parties)
        bits, engine = engines_of(party, access)
        values = engine.share_inputs(words)
        chosen = selected(bits, draw_of(party), values, nearest=self._nearest(party.parties), count=self.selected)
        publish(party, open_sum(bits, chosen, values), vouching=True)

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return Opened(sums=read_words(board), contributors=tuple(range(board.parties)))

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference."""
        clusters, members, _ = words.shape
        chosen = selected_in_the_clear(words, nearest=self._nearest(members), count=self.selected)
        sums = words[torch.arange(clusters)[:, None], chosen].sum(dim=1)
        return Opened(sums=sums, contributors=tuple(range(members)))

    def decode(self, opened: Opened, *, parties: int) -> Tensor:  # noqa: ARG002
        """See RobustStatistic.decode."""
        return self.ring.decode(opened.sums) / self.selected

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """A range check of each coordinate, one opening for all distances, comparisons that do not grow with d."""
        access = access_for(self.threshold, parties)
        nearest = self._nearest(parties)
        offline, online = selected_cost(access, clusters=clusters, coordinates=coordinates, nearest=nearest)
        mpc = share_words_cost(access, clusters=clusters, coordinates=coordinates).then(online)
        mpc = mpc.then(open_sum_cost(access, clusters=clusters, coordinates=coordinates))
        upload = publishing_cost(parties=parties, clusters=clusters, coordinates=coordinates, vouching=True)
        return Traffic(offline=agreement_cost(access).then(offline), mpc=mpc, upload=upload)

    def _nearest(self, parties: int) -> int:
        return parties - self.tolerate - 2
