"""The sum of the updates, each clipped to an L2 norm."""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.ring import FixedPoint
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._access import MOST
from protocols.secure_robust._batch import access_for, read_words
from protocols.secure_robust._checked import Range, check_norm, draw_of, engines_of, share_words_cost
from protocols.secure_robust._circuits import greater_than_public, greater_than_public_layers
from protocols.secure_robust._conversions import Dealt, as_words, as_words_cost, deal_bits, deal_bits_cost
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.secure_robust._lanes import in_all_lanes
from protocols.secure_robust._norms import Lengths, lengths_cost, squared_lengths
from protocols.secure_robust._opening import openings_cost
from protocols.secure_robust._pads import agreement_cost
from protocols.secure_robust._planes import WORD_BITS, to_planes, words_for
from protocols.secure_robust._promises import inputs_conditions
from protocols.secure_robust._weighted import open_whole_units, open_whole_units_cost
from protocols.secure_sum import Board, Opened, Party
from protocols.secure_sum._publish import publish, publishing_cost
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic

_FACTOR_BITS = 20
"""Factors are multiples of 2^-20. The sum of factor x update is taken apart and only its whole units are opened: what
is below them depends on clipped members alone, and would tell who they are and what they sent."""


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
    where squares could wrap around, counts as zero. With a centre v that all know, members that enter x - v take one
    step of centred clipping.

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
        check_norm(self.norm, self.fraction_bits)
        check.integer_at_least(1, steps=self.steps)
        _ = self.ring, self.conditions  # refuse what does not fit

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
        self._table(coordinates)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        access = access_for(self.threshold, party.parties)
        clusters, coordinates = words.shape
        limits, table = Range.widest(coordinates), self._table(coordinates)
        bits, engine = engines_of(party, access)
        draw = draw_of(party)
        with bits.offline():
            coins = deal_bits(bits, draw, (clusters, party.parties, len(table.changes)))
        values = engine.share_inputs(words)
        factors = _factors(bits, squared_lengths(bits, values, draw, limits), coins, table)
        publish(party, open_whole_units(bits, draw, factors, values, _FACTOR_BITS), vouching=True)

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return Opened(sums=read_words(board), contributors=tuple(range(board.parties)))

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference."""
        _, parties, coordinates = words.shape
        bound, table = 1 << Range.widest(coordinates).bits, self._table(coordinates)
        inside = ((words >= -bound) & (words < bound)).all(dim=2)
        squares = torch.where(inside[:, :, None], words, 0).square().sum(dim=2)
        above = squares[:, :, None] > torch.tensor(table.squares)
        factors = (above * torch.tensor(table.changes)).sum(dim=2) * inside
        sums = (factors[:, :, None] * words).sum(dim=1) >> _FACTOR_BITS
        return Opened(sums=sums, contributors=tuple(range(parties)))

    def decode(self, opened: Opened, *, parties: int) -> Tensor:
        """See RobustStatistic.decode."""
        return self.ring.decode(opened.sums) / parties

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """That of squared lengths, a comparison with a public number for each step of each member, the sum's bits."""
        access = access_for(self.threshold, parties)
        entries = len(self._table(coordinates).changes)
        shape, lanes = (clusters, parties, entries), clusters * parties * words_for(entries)
        offline, online = lengths_cost(access, clusters=clusters, limits=Range.widest(coordinates))
        mpc = share_words_cost(access, clusters=clusters, coordinates=coordinates).then(online)
        mpc = mpc.then(openings_cost(access, lanes, [*greater_than_public_layers(WORD_BITS), 1]))
        mpc = mpc.then(as_words_cost(access, shape))
        dealt, opened = open_whole_units_cost(access, clusters=clusters, coordinates=coordinates, fraction=_FACTOR_BITS)
        upload = publishing_cost(parties=parties, clusters=clusters, coordinates=coordinates, vouching=True)
        offline = agreement_cost(access).then(offline).then(deal_bits_cost(access, shape)).then(dealt)
        return Traffic(offline=offline, mpc=mpc.then(opened), upload=upload)

    def _table(self, coordinates: int) -> "_Table":
        longest = math.ceil(self.norm * 2.0**self.fraction_bits + math.sqrt(coordinates) / 2)
        limits = Range.widest(coordinates)
        if longest >> limits.bits:
            raise CloisterError(
                f"norm = {self.norm} is beyond the range of {coordinates} coordinates, +-2^{limits.bits} units; "
                f"allowed: a smaller norm or fewer bits of fraction"
            )
        return _table(longest, self.steps, math.isqrt(coordinates << 2 * limits.bits) + 1)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """A factor is the sum of the changes at all squares that are exceeded, in units of 2^-20."""

    squares: tuple[int, ...]
    changes: tuple[int, ...]


@lru_cache
def _table(longest: int, steps: int, most: int) -> _Table:
    """Return the factors: 1 up to `longest`, then what brings each step's longest down to that, up to `most`."""
    bounds = [longest]
    while bounds[-1] < most:
        bounds.append(math.floor(longest * 2.0 ** (len(bounds) / steps)))
    factors = [(longest << _FACTOR_BITS) // bound for bound in bounds]
    changes = [after - before for before, after in pairwise(factors)]
    # Whatever exceeds zero starts with the first factor; zero itself needs none.
    return _Table(squares=(0, *(bound * bound for bound in bounds[:-1])), changes=(factors[0], *changes))


def _factors(bits: Engine, lengths: Lengths, coins: Dealt, table: _Table) -> Shared:
    """Return the members' factors (clusters, members), words."""
    clusters, members, entries = coins.words.shape
    squares = in_all_lanes(lengths.squares, members, words_for(entries))
    inside = in_all_lanes(lengths.in_range, members, words_for(entries))
    above = greater_than_public(bits, squares, to_planes(torch.tensor(table.squares), WORD_BITS))
    counted = as_words(bits, bits.products((above, inside)), coins, entries)
    words = bits.over(WORDS)
    return words.sum(words.scale(counted, torch.tensor(table.changes)), 2).view(clusters, members)
