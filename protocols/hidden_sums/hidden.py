"""A rule over group sums that nobody sees: of a round, only the new aggregate opens."""

from collections.abc import Collection, Sequence, Set
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from protocols.check import CloisterError
from protocols.hidden_sums import hidden_sums
from protocols.hidden_sums._combining import Combining
from protocols.hidden_sums._fitting import access_of, check_groups, check_parameters, check_size, group_sharing
from protocols.hidden_sums._groups import Attendance, GroupSharing
from protocols.hidden_sums._noise import JointNoise, part_unknown
from protocols.hidden_sums._playing import collect, contribute, cost_of, decode, reference
from protocols.hidden_sums._promises import (
    Faulty,
    deviating_conditions,
    group_conditions,
    hidden_conditions,
    learned_in,
    may_deceive,
    may_expose,
    outcome_of,
)
from protocols.hidden_sums._range import InputCheck, limit_of
from protocols.hidden_sums._resharing import Seats
from protocols.hidden_sums._seating import Formation, draw_seats, hierarchy_of
from protocols.hidden_sums.rules import OuterRule, outer_rules
from protocols.network import TooFewPartiesError
from protocols.ring import FixedPoint
from protocols.secure_robust._access import Access
from protocols.secure_sum import Board, Opened, Party
from protocols.secure_sum._verdict import Verdict
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic

__all__ = ["Hidden"]


@hidden_sums.register(
    source="Cramer, Damgård and Ishai 2005, TCC (shares among delegates); Escudero et al. 2020, CRYPTO (words to "
    "bits); Abspoel et al. 2019, TCC (Shamir's sharing modulo 2^64)",
    examples=(
        {"group_size": 2},
        {"group_size": 2, "outer": "mean"},
        {"group_size": 1, "outer": "trimmed_mean", "delegates": 5},
        {"group_size": 3, "sharing": "shamir"},
    ),
)
@dataclass(frozen=True, kw_only=True)
class Hidden:
    """The c members form m groups, whose sums stay shared among delegates, who open what an outer rule makes of them.

    Groups have `group_size` members or, to spread the rest, one or more above; they are the ranks in order. In a group
    of n `sharing` is "additive", n-of-n (t1 = n - 1), or "shamir", with t1 = `threshold`, an expression in n: then any
    t1 + 1 members hold its sum, as words that add up to it. With `levels`, groups of groups of at least so many parts
    are added first, level by level, n-of-n among one holder of each part, and the m groups are those of the top level.
    `delegates` members g, each of another group and drawn for each batch from its public number, hold the groups' sums
    with t2 = `delegate_threshold`, an expression in g, below g / 2. `outer` is a rule of `protocols.hidden_sums.rules`,
    and `tolerate` how many tainted groups it is told to withstand (median and mean need not be told). A rule that
    counts groups sees S_j L / c_j of a group of c_j with the sum S_j, where L is the least common multiple of all c_j:
    means up to a public factor, without rounding.
    With `noise_std` above zero, Gaussian noise opens with the result and never apart from it (`_noise`). Its standard
    deviation is `noise_std` times what a change of one update by 1 can make in the result at most, from any g - t2
    delegates' shares alone; with all g it is sqrt(g / (g - t2)) times that. Krum takes no noise.
    With `input_check` = "range" (`_range`) every coordinate of every member's words is shown to be so small that no
    sum can wrap around, before anything is added: so that "at most" holds whatever Byzantine members enter. Who passes
    opens; who does not is named and costs its group; of fewer groups than delegates nothing opens. It fits both
    sharings and one committee or two, and no levels, which would add what the delegates are to look at.

    Threat model: members follow the protocol but may choose any input (a Byzantine *update*); some are curious and pool
    what they see with the board. Links between members are private; the board shows everybody the same and follows the
    protocol. The weaker threshold counts; `Formation.rungs` says it for every step. Up to t1 members of every group and
    t2 of the delegates learn nothing beyond the opened aggregate, unless they hold all shares of a level between:
    neither an input nor a group's sum. With t1 + 1 < n members of one group they learn its inputs; with t2 + 1
    delegates every group's sum, but no input where a group has two members outside the coalition; all holders of a node
    learn its parts' sums in the same way. So wherever they sit, up to `Formation.smallest_exposing` - 1 members
    (without levels the smaller of t1, where it is below c_min - 1, and c_min - 2 + t2, or t2 where c_min = 1), and no
    more than c - 2, learn no input. The aggregate itself tells what it tells: a median *is* one group's mean, or that
    of two, in every coordinate. With a check of inputs these are shared among the delegates one by one, and groups hide
    nothing: up to t2 of the delegates (and t1 members of every group) learn no more than who passes; t2 + 1 learn all
    inputs. Their aggregate is of the groups that are left, and Byzantine members choose whether theirs is: a mean of g
    of these with one member outside the coalition tells its input.
    A member that is gone before it has dealt, or says that it is there, costs its group, which is left out; so does one
    that has trained on another model than the board announces. Under Shamir's sharing up to n - t1 - 1 members of each
    group may crash once its words are dealt, and before re-sharing begins: they cost nothing, and more cost their
    group. A later crash of a holder stops the batch.
    A member that is no delegate and departs from the protocol changes its own group's sum or, under Shamir's sharing,
    who of it passes, or stops the batch: seeds that differ between delegates are detected. A delegate that departs from
    it can make the result any one group's sum, or another one unseen; with `committees` = 2 as many others compute the
    same again, in integers, and what opens, who passes among it, is taken over only if it is the same: a wrong result
    needs one such delegate in each.

    Guarantees:
        The opened words equal the reference's of the words of `contributors` plus the noise, bit for bit, modulo 2^64.
        Any g - t2 delegates' shares have the noise's standard deviation; nobody knows a share but its delegate.
        Below the breakdown of the median and the trimmed mean each coordinate, without noise, lies between untainted
        groups' means, if L times these is below 2^63 / kept as words.
        A member that is gone at the start leaves out its group and no other; later crashes within t1 change nothing.
        Seeds that differ between delegates are detected before any of them hands on what it got of an input.
        With a check of inputs, a change of one passing member's word by r moves the result by no more than the largest
        weight of a group times r, whatever the others enter.
        With two committees, whatever delegates of one of them do, the result is right or the batch stops.
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
    sharing: Literal["additive", "shamir"] = "additive"
    threshold: str = ""
    committees: int = 1
    input_check: InputCheck = "none"

    def __post_init__(self) -> None:
        check_parameters(self)
        _ = self.ring, self.rule, self.access, self.in_groups  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point ring of the words."""
        return FixedPoint(fraction_bits=self.fraction_bits)

    @property
    def rule(self) -> OuterRule:
        """The outer rule."""
        return outer_rules.make(outer_rules.resolve(self.outer))

    @property
    def least_groups(self) -> int:
        """As many as there are delegates."""
        return self.delegates

    @property
    def checks_inputs(self) -> bool:
        """See HiddenSums.checks_inputs."""
        return self.input_check == "range"

    @property
    def conditions(self) -> Conditions:
        """See RobustStatistic.conditions: the worst case over where the faulty are; see `outcome`."""
        return hidden_conditions(self)

    @property
    def deviating_conditions(self) -> Conditions:
        """See HiddenSums.deviating_conditions."""
        return deviating_conditions(self)

    @property
    def group_conditions(self) -> Conditions:
        """See HiddenSums.group_conditions."""
        return group_conditions(self.in_groups)

    @property
    def in_groups(self) -> GroupSharing:
        """How the members of a group share its sum."""
        return group_sharing(self.sharing, self.threshold)

    def withstands(self, *, groups: int) -> int:
        """Return how many tainted groups of so many the rule withstands (-1: too few groups for it)."""
        return self.rule.breakdown(groups, self.tolerate)

    def breakdown(self, parties: int) -> int:
        """As many as the rule withstands groups, since each may be in a group of its own."""
        return self.withstands(groups=len(self.groups_of(parties=parties)))

    def check_size(self, *, parties: int) -> None:
        """See RobustStatistic.check_size; as many groups as delegates, and as the rule needs."""
        check_size(self, parties=parties)

    def combining(self, groups: Sequence[Sequence[int]]) -> Combining:
        """Return what combines the sums of these groups."""
        return Combining(
            groups=groups,
            outer=self.outer,
            tolerate=self.tolerate,
            noise_std=self.noise_std,
            ring=self.ring,
            access=self.access,
        )

    def limit(self, *, parties: int) -> int:
        """See HiddenSums.limit."""
        return limit_of(self.combining(self.groups_of(parties=parties)))

    def noise_on(self, groups: Sequence[Sequence[int]]) -> JointNoise | None:
        """Return the noise that opens with the result of these groups, if any; CloisterError where it does not fit."""
        return self.combining(groups).noise

    def noise_bound(self, *, parties: int) -> int:
        """See HiddenSums.noise_bound."""
        noise = self.noise_on(self.groups_of(parties=parties))
        return 0 if noise is None else noise.bound

    def protection(self, *, parties: int, contributors: Collection[int], colluding: Set[int], use: int) -> float:
        """See HiddenSums.protection."""
        seats = self.seats(parties=parties, present=frozenset(contributors), use=use)
        return min(part_unknown(seats.access, len(colluding & set(each.delegates))) for each in seats.committees)

    def check_coordinates(self, *, coordinates: int) -> None:
        """See RobustStatistic.check_coordinates; as many as the rule can combine."""
        self.rule.check_coordinates(coordinates=coordinates)

    @property
    def access(self) -> Access:
        """Who of the delegates holds which part of a mask."""
        return access_of(self.delegates, self.delegate_threshold)

    def groups_of(self, *, parties: int) -> tuple[tuple[int, ...], ...]:
        """Return the members of each group of the top level, whose sums the rule combines: consecutive ranks."""
        return self.formation(parties=parties).top.clusters

    def formation(self, *, parties: int) -> Formation:
        """Return the groups and groups of groups, and how they and the delegates share."""
        formed = hierarchy_of(parties=parties, group_size=self.group_size, levels=self.levels)
        return Formation(
            hierarchy=formed,
            sharing=self.in_groups,
            access=self.access,
            one_by_one=self.checks_inputs,
            committees=self.committees,
        )

    def exposes(
        self, groups: Sequence[Sequence[int]], colluding: Set[int], *, deviating: Set[int] = frozenset()
    ) -> bool:
        """See HiddenSums.exposes; one delegate that deviates may have a group's sum opened."""
        return may_expose(self, groups, colluding, deviating)

    def deceives(self, groups: Sequence[Sequence[int]], deviating: Set[int]) -> bool:
        """See HiddenSums.deceives."""
        return may_deceive(self, groups, deviating)

    def exposed(self, *, parties: int, contributors: Collection[int], colluding: Set[int], use: int) -> frozenset[int]:
        """See HiddenSums.exposed; exact, but for what the result of a rule other than the mean tells itself."""
        seats = self.seats(parties=parties, present=frozenset(contributors), use=use)
        shared = self.formation(parties=parties).opened(colluding)
        return shared | learned_in(self, seats, colluding, choosing=colluding, one_by_one=self.checks_inputs)

    def seats(self, *, parties: int, present: frozenset[int], use: int, dealt: frozenset[int] | None = None) -> Seats:
        """Return who does what in batch number `use`, where these members are there and these have `dealt`, if others.

        Raises: TooFewPartiesError where too few groups are complete.
        """
        formation = self.formation(parties=parties)
        attendance = Attendance(present=present, dealt=present if dealt is None else dealt)
        complete, groups = formation.complete(attendance), formation.top.clusters
        try:
            self.check_groups(groups=len(complete))
        except CloisterError as error:
            raise TooFewPartiesError(f"{len(complete)} of {len(groups)} groups are complete: {error}") from None
        return draw_seats(formation, attendance=attendance, use=use)

    def check_groups(self, *, groups: int) -> None:
        """Raise CloisterError where so many complete groups are too few for the delegates or the rule."""
        check_groups(self, groups=groups)

    def contribute(self, party: Party, words: Tensor) -> None:
        """See RobustStatistic.contribute."""
        contribute(self, party, words)

    def collect(self, board: Board) -> Opened:
        """See RobustStatistic.collect."""
        return collect(self, board)

    def reference(self, words: Tensor) -> Opened:
        """See RobustStatistic.reference; words of all members, or of those of complete groups alone."""
        return reference(self, words)

    def decode(self, opened: Opened, *, parties: int) -> Tensor:
        """See RobustStatistic.decode; `parties` are the contributors."""
        return decode(self, opened, parties=parties)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """One word a holder, g - 1 a group, what groups share, and what the rule sends among g delegates.

        With a check of inputs each member is a group of its own, and every coordinate of it is looked at: 126 ANDs.
        """
        return cost_of(self, parties=parties, clusters=clusters, coordinates=coordinates)

    def outcome(
        self,
        parties: int,
        byzantine: frozenset[int],
        crashed: frozenset[int],
        curious: frozenset[int],
        *,
        use: int = 1,
        late: frozenset[int] = frozenset(),
        deviating: frozenset[int] = frozenset(),
    ) -> Verdict:
        """See outcome_of and Faulty."""
        faults = Faulty(byzantine=byzantine, crashed=crashed, curious=curious, late=late, deviating=deviating)
        return outcome_of(self, faults, parties=parties, use=use)
