"""A rule over group sums that nobody sees: of a round, only the new aggregate opens."""

import math
from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.hidden_sums import hidden_sums
from protocols.hidden_sums._noise import (
    JointNoise,
    opened,
    opened_with_noise,
    opening_of_result_cost,
    part_unknown,
    share_of_noise,
)
from protocols.hidden_sums._presence import call_the_roll, presence_cost, say_who_is_there, who_is_there
from protocols.hidden_sums._promises import group_conditions, hidden_conditions
from protocols.hidden_sums._resharing import Seats, reshare, resharing_cost
from protocols.hidden_sums._seating import (
    Rung,
    common_multiple,
    draw_seats,
    exposed_by,
    hierarchy_of,
    may_expose,
    rungs_of,
    smallest_exposing,
)
from protocols.hidden_sums.rules import OuterRule, outer_rules
from protocols.network import TooFewPartiesError
from protocols.ring import FixedPoint
from protocols.secure_robust._access import Access
from protocols.secure_robust._checked import draw_of, engines_of
from protocols.secure_robust._conversions import deal_numbers
from protocols.secure_robust._pads import agreement_cost
from protocols.secure_sum import Board, Opened, Party
from protocols.secure_sum._publish import publish, publishing_cost, read_published
from protocols.secure_sum._thresholds import in_size_of, threshold_of
from protocols.secure_sum._verdict import Verdict
from protocols.sublink import SubLink
from protocols.tolerance.conditions import Conditions
from protocols.types import Hierarchy, Traffic

__all__ = ["Hidden"]


@hidden_sums.register(
    source="Cramer, Damgård and Ishai 2005, TCC (shares among delegates); Escudero et al. 2020, CRYPTO (words to bits)",
    examples=(
        {"group_size": 2},
        {"group_size": 2, "outer": "mean"},
        {"group_size": 1, "outer": "trimmed_mean", "delegates": 5},
    ),
)
@dataclass(frozen=True, kw_only=True)
class Hidden:
    """The c members form m groups, whose sums stay shared among delegates, who open what an outer rule makes of them.

    Groups have `group_size` members or, to spread the rest, one or more above; they are the ranks in order. In a group
    sharing is additive, n-of-n. With `levels`, groups of groups of at least so many parts are added first, level by
    level, n-of-n among one holder of each part, and the m groups are those of the top level. `delegates` members g,
    each of another group and drawn for each batch from its public number, hold the groups' sums with t2 =
    `delegate_threshold`, an expression in g, below g / 2. `outer` is a rule of `protocols.hidden_sums.rules`, and
    `tolerate` how many tainted groups it is told to withstand (median and mean need not be told). A rule that counts
    groups sees S_j L / c_j of a group of c_j with the sum S_j, where L is the least common multiple of all c_j: means
    up to a public factor, without rounding.
    With `noise_std` above zero, Gaussian noise opens with the result and never apart from it. Its standard deviation is
    `noise_std` times what a change of one update by 1 can make in the result at most, from any g - t2 delegates' shares
    alone; with all g it is sqrt(g / (g - t2)) times that. Where all updates have norms of at most B, this is the
    Gaussian mechanism with multiplier noise_std / B: for the mean, the median and the trimmed mean; Krum takes no
    noise. "All" has the Byzantine members in it, under the median and the trimmed mean: one that brings its group's sum
    to 2^63 makes it wrap around at the least change of another member's update, from the largest sum to the smallest,
    which may move the result by more than the noise hides. The mean moves by no more whatever they enter.

    Threat model: members follow the protocol but may choose any input (a Byzantine *update*); some are curious and pool
    what they see with the board. Links between members are private; the board shows everybody the same and follows the
    protocol. The weaker threshold counts; `rungs` says it for every step. Up to t2 of the delegates, with any other
    members, learn nothing beyond the opened aggregate, unless they hold all shares of a lower level: neither an input
    nor a group's sum. With t2 + 1 delegates they learn every group's sum, but no input where a group has two members
    outside the coalition; all holders of a node learn its parts' sums in the same way. So wherever they sit, up to
    `smallest_exposing` - 1 members (without levels c_min - 2 + t2, or t2 where c_min = 1), and no more than c - 2,
    learn no input. The aggregate itself tells what it tells: a median *is* one group's mean, or that of two, in every
    coordinate.
    A member that is gone before it says that it is there, or has trained on another model than the board announces,
    costs its group, which is left out before any word leaves a member; a later crash stops the batch. A member that is
    no delegate and departs from the protocol changes its own group's sum, or stops the batch: seeds that differ between
    delegates are detected. A delegate that departs from it can change the result unseen, and make it any one group's
    sum.

    Guarantees:
        The opened words equal the reference's of the words of `contributors` plus the noise, bit for bit, modulo 2^64.
        Any g - t2 delegates' shares have the noise's standard deviation; nobody knows a share but its delegate.
        Below the breakdown of the median and the trimmed mean each coordinate, without noise, lies between untainted
        groups' means, if L times these is below 2^63 / kept as words.
        A member that is gone at the start leaves out its group and no other; so does one with another model.
        Seeds that differ between delegates are detected before any of them hands on what it got of an input.
        The cost formula equals what the meter counts.
    """

    group_size: int = 3
    outer: str = "median"
    tolerate: int = 1
    delegates: int = 3
    delegate_threshold: str = "g/2"
    fraction_bits: int = 16
    noise_std: float = 0.0
    levels: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        check.integer_at_least(1, group_size=self.group_size)
        check.integer_at_least(0, tolerate=self.tolerate)
        check.integer_at_least(3, delegates=self.delegates)
        check.non_negative(noise_std=self.noise_std)
        for size in self.levels:
            check.integer_at_least(2, levels=size)
        _ = self.ring, self.rule, self.access  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint(fraction_bits=self.fraction_bits)

    @property
    def rule(self) -> OuterRule:
        """The outer rule."""
        return outer_rules.make(outer_rules.resolve(self.outer))

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions: the worst case over where the faulty are; see `outcome`."""
        return hidden_conditions(self)

    @property
    def group_conditions(self) -> Conditions:
        """See HiddenSums.group_conditions."""
        return group_conditions()

    def withstands(self, *, groups: int) -> int:
        """Return how many tainted groups of so many the rule withstands (-1: too few groups for it)."""
        return self.rule.breakdown(groups, self.tolerate)

    def breakdown(self, parties: int) -> int:
        """As many as the rule withstands groups, since each may be in a group of its own."""
        return self.withstands(groups=len(self.groups_of(parties=parties)))

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; as many groups as delegates, and as the rule needs."""
        smallest = math.prod((self.group_size, *self.levels))
        if parties < self.delegates * smallest:
            raise CloisterError(
                f"groups of at least {smallest} members leave {parties // smallest} of {parties} members; allowed: at "
                f"least delegates = {self.delegates} groups, so {self.delegates * smallest} members or more"
            )
        self.rule.check(groups=len(self.groups_of(parties=parties)), tolerate=self.tolerate)
        self.noise_on(self.groups_of(parties=parties))

    def noise_on(self, groups: Sequence[Sequence[int]]) -> JointNoise | None:
        """Return the noise that opens with the result of these groups, if any; CloisterError where it does not fit."""
        if not self.noise_std:
            return None
        if not self.rule.is_continuous:
            raise CloisterError(
                f"noise_std = {self.noise_std!r} means nothing to outer = {self.outer!r}, which a small change of one "
                f"update may move by any distance; allowed: 0, or outer = 'median'"
            )
        # One unit of one member's update moves the result by the weight of its group, at most.
        std = self.noise_std / self.ring.unit * max(self._weights(groups))
        return JointNoise(std=std, access=self.access)

    def noise_bound(self, *, parties: int) -> int:
        """See HiddenSums.noise_bound."""
        noise = self.noise_on(self.groups_of(parties=parties))
        return 0 if noise is None else noise.bound

    def protection(self, *, parties: int, contributors: Collection[int], colluding: Set[int], use: int) -> float:
        """See HiddenSums.protection; more than t2 colluding delegates know every group's sum, without noise."""
        seats = self.seats(parties=parties, present=frozenset(contributors), use=use)
        return part_unknown(seats.access, len(colluding & set(seats.delegates)))

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; as many as the rule can combine."""
        self.rule.check_coordinates(coordinates=coordinates)

    @property
    def access(self) -> Access:
        """Who of the delegates holds which part of a mask."""
        translated = in_size_of("g", delegate_threshold=self.delegate_threshold)
        threshold = threshold_of(translated, self.delegates, "delegates", delegate_threshold=self.delegate_threshold)
        return Access(parties=self.delegates, threshold=threshold)

    def hierarchy(self, *, parties: int) -> Hierarchy:
        """Return the groups and above them groups of groups, level by level."""
        return hierarchy_of(parties=parties, group_size=self.group_size, levels=self.levels)

    def groups_of(self, *, parties: int) -> tuple[tuple[int, ...], ...]:
        """Return the members of each group of the top level, whose sums the rule combines: consecutive ranks."""
        return self.hierarchy(parties=parties).processes(len(self.levels)).clusters

    def rungs(self, *, parties: int) -> tuple[Rung, ...]:
        """Return the threshold of every step of re-sharing, from the members up; the weakest counts."""
        return rungs_of(self.hierarchy(parties=parties), self.access)

    def smallest_exposing(self, *, parties: int) -> int:
        """Return how many members, at the best places, learn an input."""
        return smallest_exposing(self.hierarchy(parties=parties), self.access)

    def exposes(self, groups: Sequence[Collection[int]], colluding: Set[int]) -> bool:
        """See HiddenSums.exposes; `groups` are the only level."""
        return may_expose(groups, colluding, self.access, shows_total=self.rule.by_members)

    def exposed(self, *, parties: int, contributors: Collection[int], colluding: Set[int], use: int) -> frozenset[int]:
        """See HiddenSums.exposed; exact, but for what the result of a rule other than the mean tells itself."""
        seats = self.seats(parties=parties, present=frozenset(contributors), use=use)
        return exposed_by(seats, colluding, shows_total=self.rule.by_members)

    def seats(self, *, parties: int, present: frozenset[int], use: int) -> Seats:
        """Return who does what in batch number `use`, where these members are there.

        Raises: TooFewPartiesError where too few groups are complete.
        """
        hierarchy, groups = self.hierarchy(parties=parties), self.groups_of(parties=parties)
        complete = {number for number, group in enumerate(groups) if present.issuperset(group)}
        try:
            self.check_groups(groups=len(complete))
        except CloisterError as error:
            raise TooFewPartiesError(f"{len(complete)} of {len(groups)} groups are complete: {error}") from None
        return draw_seats(hierarchy, complete=complete, access=self.access, use=use)

    def check_groups(self, *, groups: int) -> None:
        """Raise CloisterError where so many complete groups are too few for the delegates or the rule."""
        if groups < self.delegates:
            raise CloisterError(f"delegates = {self.delegates} need as many groups; allowed: {self.delegates} or more")
        self.rule.check(groups=groups, tolerate=self.tolerate)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        seats = self.seats(parties=party.parties, present=who_is_there(party), use=party.use)
        if party.rank not in seats.contributors:
            return
        if party.rank not in seats.delegates:
            reshare(party, seats, words)
            return
        clusters, coordinates = words.shape
        served = replace(party, link=SubLink(party.link, seats.delegates), parties=self.delegates)
        bits, engine = engines_of(served, seats.access)
        draw, noise = draw_of(served), self.noise_on(seats.sums)
        values = reshare(party, seats, words)
        assert values is not None
        weights = torch.tensor(self._weights(seats.sums))
        result = self.rule.combine(bits, draw, engine.scale(values, weights[:, None]), self.tolerate)
        if noise is None:
            published = opened(bits, result, coordinates, in_bits=self.rule.in_bits)
        else:
            share = share_of_noise(party, noise, (clusters, coordinates))
            with bits.offline():
                hiding = deal_numbers(bits, draw, (clusters, 1, coordinates)) if self.rule.in_bits else None
            published = opened_with_noise(bits, result, share, hiding)
        publish(served, published, vouching=True)

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        heard, present = call_the_roll(board)
        try:
            seats = self.seats(parties=board.parties, present=present, use=board.use)
        except TooFewPartiesError:
            say_who_is_there(board, heard, said=())
            raise
        say_who_is_there(board, heard, said=present)
        served = replace(board, link=SubLink(board.link, seats.delegates), parties=self.delegates)
        return Opened(sums=read_published(served, vouching=True), contributors=seats.contributors)

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference; words of all members, or of those of complete groups alone."""
        _, parties, _ = words.shape
        groups = self.groups_of(parties=parties)
        sums = torch.stack([words[:, list(group)].sum(dim=1) for group in groups], dim=1)
        weighted = sums * torch.tensor(self._weights(groups))[:, None]
        return Opened(sums=self.rule.reference(weighted, self.tolerate), contributors=tuple(range(parties)))

    def decode(self, opened: Opened, *, parties: int) -> Tensor:
        """See RobustStatistic.decode; `parties` are the contributors."""
        groups = self.groups_of(parties=parties)
        if self.rule.by_members:
            return self.ring.decode(opened.sums) / parties
        kept = self.rule.kept(len(groups), self.tolerate)
        return self.ring.decode(opened.sums) / (kept * common_multiple(groups))

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """One word a member, g - 1 a group, and what the rule sends among g delegates, whatever the members."""
        seats = self.seats(parties=parties, present=frozenset(range(parties)), use=1)
        shape = (clusters, len(seats.groups), coordinates)
        dealt, combined = self.rule.cost(seats.access, shape, self.tolerate)
        seeds, handed = resharing_cost(seats, clusters=clusters, coordinates=coordinates)
        hiding, opening = opening_of_result_cost(
            seats.access,
            clusters=clusters,
            coordinates=coordinates,
            in_bits=self.rule.in_bits,
            noisy=self.noise_std > 0,
        )
        return Traffic(
            offline=agreement_cost(seats.access).then(seeds).then(dealt).then(hiding),
            mpc=handed.then(combined).then(opening),
            upload=presence_cost(parties).then(
                publishing_cost(parties=self.delegates, clusters=clusters, coordinates=coordinates, vouching=True)
            ),
        )

    def outcome(
        self,
        parties: int,
        byzantine: frozenset[int],
        crashed: frozenset[int],
        curious: frozenset[int],
        *,
        use: int = 1,
    ) -> Verdict:
        """Return what faults at these places do to batch number `use`: bad inputs, crashes at the start, pooled views.

        Private: the coalition learns no input of a member outside it. Exact, but for what an aggregate of a rule other
        than the mean tells itself.
        """
        try:
            seats = self.seats(parties=parties, present=frozenset(range(parties)) - crashed, use=use)
        except TooFewPartiesError:
            return Verdict(private=True, correct=True, live=False)
        exposed = exposed_by(seats, byzantine | curious, shows_total=self.rule.by_members)
        tainted = sum(not byzantine.isdisjoint(members) for members in seats.sums)
        withstood = self.withstands(groups=len(seats.sums))
        return Verdict(private=not exposed, correct=tainted <= withstood, live=True)

    def _weights(self, groups: Sequence[Sequence[int]]) -> list[int]:
        common = common_multiple(groups)
        return [1 if self.rule.by_members else common // len(group) for group in groups]
