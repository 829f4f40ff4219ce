"""Nearest-neighbour mixing, then the mean of the middle values of every coordinate."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.ring import FixedPoint
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._access import MOST, Access
from protocols.secure_robust._batch import access_for, read_words
from protocols.secure_robust._checked import draw_of, engines_of, share_words_cost
from protocols.secure_robust._conversions import (
    Draw,
    as_words,
    as_words_cost,
    deal_bits,
    deal_bits_cost,
    deal_numbers,
    deal_numbers_cost,
    planes_of,
    planes_of_cost,
)
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.secure_robust._middle import middle_layers, middle_of, middle_sums
from protocols.secure_robust._neighbours import (
    DISTANCE_PLANES,
    distances_of,
    first_places,
    first_places_cost,
    neighbours,
    neighbours_cost,
    others_of,
    range_for,
)
from protocols.secure_robust._opening import opening_cost, openings_cost
from protocols.secure_robust._pads import agreement_cost
from protocols.secure_robust._planes import WORD_BITS, from_planes, words_for
from protocols.secure_robust._promises import inputs_conditions
from protocols.secure_robust._ranking import places_of_comparisons
from protocols.secure_robust._waves import waves
from protocols.secure_sum import Board, Opened, Party
from protocols.secure_sum._publish import publish, publishing_cost
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic


@robust_statistics.register(
    source="Allouah et al. 2023, AISTATS, Algorithm 2 (NNM), followed by the coordinate-wise trimmed mean",
    examples=({}, {"tolerate": 2}, {"fraction_bits": 12}),
)
@dataclass(frozen=True, kw_only=True)
class Nnm:
    """Each update is replaced by the sum of its c - tolerate nearest, itself among them; of these sums the `tolerate`
    largest and smallest are left out in every coordinate, and the rest is added.

    Distances are exact, as for `krum`, in the same range: a member with a coordinate out of it is beyond all others. Of
    equal distances that to the member with the lower number is smaller.

    Threat model: see `protocols.secure_robust`. Opened is the sum of the kept sums alone; distances, who is near whom
    and the mixed updates stay shared. A coalition of at most t members learns no more than that.

    Guarantees:
        The opened words equal the reference's, bit for bit.
        While at most `tolerate` members are out of range, none of these is in an in-range member's mixed update.
        The cost formula equals what the meter counts.
    """

    tolerate: int = 1
    fraction_bits: int = 16
    threshold: str = MOST

    def __post_init__(self) -> None:
        check.integer_at_least(1, tolerate=self.tolerate)
        _ = self.ring, self.conditions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint.of_bits(WORD_BITS, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions."""
        return inputs_conditions("nnm", self.threshold, self)

    def breakdown(self, parties: int) -> int:
        """As many as it is told, fewer than half, where at most `tolerate` members in all are out of range."""
        return self.tolerate if parties > 2 * self.tolerate else -1

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; more than 2 tolerate members."""
        access_for(self.threshold, parties)
        if self.breakdown(parties) < 0:
            raise CloisterError(
                f"tolerate = {self.tolerate} of {parties} members is not allowed; allowed: 1 to {(parties - 1) // 2}"
            )

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; as many as leave a range."""
        range_for(coordinates)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        access, members = access_for(self.threshold, party.parties), party.parties
        clusters, coordinates = words.shape
        bits, engine = engines_of(party, access)
        draw = draw_of(party)
        with bits.offline():
            coins = deal_bits(bits, draw, (clusters, members - 1, members))
        values = engine.share_inputs(words)
        near = first_places(bits, neighbours(bits, values, draw).distances, self._nearest(members))
        weights = _matrix(engine, as_words(bits, near, coins, members))
        sums = [
            self._mixed(bits, draw, weights, values.narrow(2, start, stop))
            for start, stop in _waves(access, clusters, coordinates)
        ]
        publish(party, torch.cat(sums, dim=1), vouching=True)

    def _mixed(self, bits: Engine, draw: Draw, weights: Shared, wave: Shared) -> Tensor:
        """Return what is opened of a wave of coordinates: the middle of the mixed updates."""
        clusters, members, coordinates = wave.shape
        with bits.offline():
            hiding = deal_numbers(bits, draw, (clusters, members, coordinates))
        words = bits.over(WORDS)
        mixed = words.products((weights, wave.view(clusters, 1, members, coordinates)), fold=2)
        sums = middle_of(bits, planes_of(bits, mixed, hiding), trim=self.tolerate)
        return from_planes(sums, coordinates)

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return Opened(sums=read_words(board), contributors=tuple(range(board.parties)))

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference."""
        clusters, members, coordinates = words.shape
        order = distances_of(words).argsort(dim=2, stable=True)[:, :, : self._nearest(members)]
        near = torch.tensor(others_of(members)).expand(clusters, -1, -1).gather(2, order)
        chosen = near.flatten(1)[:, :, None].expand(-1, -1, coordinates)
        mixed = words + words.gather(1, chosen).view(clusters, members, -1, coordinates).sum(dim=2)
        return Opened(sums=middle_sums(self.ring, mixed, self.tolerate), contributors=tuple(range(members)))

    def decode(self, opened: Opened, *, parties: int) -> Tensor:
        """See RobustStatistic.decode."""
        return self.ring.decode(opened.sums) / (parties - self.tolerate) / (parties - 2 * self.tolerate)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """That of distances; then one opening for all mixed updates, and the trimmed mean of them, taken apart."""
        access = access_for(self.threshold, parties)
        coins = (clusters, parties - 1, parties)
        offline, online = neighbours_cost(access, clusters=clusters, coordinates=coordinates)
        offline = offline.then(deal_bits_cost(access, coins))
        lanes = clusters * words_for(parties)
        mpc = share_words_cost(access, clusters=clusters, coordinates=coordinates).then(online)
        mpc = mpc.then(first_places_cost(access, numbers=parties - 1, planes=DISTANCE_PLANES, words=lanes))
        mpc = mpc.then(as_words_cost(access, coins))
        layers = tuple(middle_layers(parties, WORD_BITS, self.tolerate))
        for start, stop in _waves(access, clusters, coordinates):
            shape = (clusters, parties, stop - start)
            offline = offline.then(deal_numbers_cost(access, shape))
            mpc = mpc.then(opening_cost(parties=parties, words=clusters * parties * (stop - start)))
            mpc = mpc.then(planes_of_cost(access, shape))
            lanes = clusters * words_for(stop - start)
            mpc = mpc.then(openings_cost(access, lanes, layers, comparisons=places_of_comparisons(parties)))
        upload = publishing_cost(parties=parties, clusters=clusters, coordinates=coordinates, vouching=True)
        return Traffic(offline=agreement_cost(access).then(offline), mpc=mpc, upload=upload)

    def _nearest(self, members: int) -> int:
        """Return how many others each update is mixed with."""
        return members - self.tolerate - 1


def _waves(access: Access, clusters: int, coordinates: int) -> Iterator[tuple[int, int]]:
    """Yield the waves: of each 64 coordinates, the words of all pairs of members are live."""
    return waves(access, clusters=clusters, coordinates=coordinates, live=WORD_BITS * access.parties**2)


def _matrix(engine: Engine, near: Shared) -> Shared:
    """Return weights (clusters, member, of member, 1): 1 of itself; `near` is (clusters, place of other, member)."""
    clusters, places, members = near.shape
    one = engine.public(torch.ones(clusters, 1, dtype=torch.int64))
    flat = engine.join([near.view(clusters, places * members), one], 1)
    pairs = ((i, j) for i in range(members) for j in range(members))
    order = [(j - (j > i)) * members + i if j != i else places * members for i, j in pairs]
    return flat.take(1, order).view(clusters, members, members, 1)
