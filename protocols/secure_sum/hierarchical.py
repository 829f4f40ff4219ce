"""A sum in two levels: groups' sums stay shared, and only the global sum opens."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.field import MERSENNE_61, PrimeField
from protocols.model_digest import DIGEST_BYTES
from protocols.network import cost_of
from protocols.ring import FixedPoint
from protocols.secure_sum import Board, Opened, Party, secure_sums
from protocols.secure_sum._delegates import (
    GroupSharing,
    Plan,
    additive_group,
    collect,
    contribute,
    draw_delegates,
    polynomial_group,
)
from protocols.secure_sum._sharing import AdditiveSharing, PolynomialSharing
from protocols.secure_sum._thresholds import in_size_of, threshold_of
from protocols.secure_sum._verdict import Verdict
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.schemes import hierarchical_scheme
from protocols.types import Cost, Traffic, balanced_sizes

_DEFAULT_THRESHOLD, _ALL_OF_A_GROUP, _DEFAULT_DELEGATE_THRESHOLD = "n/2", "n-1", "2g/3"


def _shamir(field: PrimeField, threshold: int, size: int) -> GroupSharing:  # noqa: ARG001
    return polynomial_group(PolynomialSharing(field=field, degree=threshold))


def _additive(field: PrimeField, threshold: int, size: int) -> GroupSharing:  # noqa: ARG001
    return additive_group(AdditiveSharing(field=field, parties=size))


_SHARINGS: Mapping[str, Callable[[PrimeField, int, int], GroupSharing]] = MappingProxyType(
    {"shamir": _shamir, "additive": _additive}
)


@secure_sums.register(
    source="Shamir 1979, CACM; Ben-Or, Goldwasser and Wigderson 1988, STOC (re-sharing)",
    examples=({}, {"group_size": 2, "sharing": "additive"}, {"group_size": 4, "fraction_bits": 24}),
)
@dataclass(frozen=True, kw_only=True)
class Hierarchical:
    """The c members form g groups, share their words in their group, and share the shares of its sum with delegates.

    Groups have `group_size` members or, to spread the rest, one or more above; they are the ranks in order. Level 1
    is Shamir's sharing with t1 = `threshold`, an expression in the size n of the group, or (`sharing` "additive")
    n-of-n, t1 = n - 1. Level 2 is Shamir's with t2 = `delegate_threshold`, an expression in g, among one delegate
    a group, drawn for each batch from its public number.

    Threat model: members follow the protocol; some are curious and pool what they see with the board (semi-honest),
    some crash. Links between members are private; the board shows everybody the same and follows the protocol.
    A coalition of a <= t1 members of every group (n - 1 where t1 = n - 1) with a <= t2 of the delegates among them
    learns nothing beyond the global sum: neither an input nor a group's sum. The weaker of the two counts: t1 + 1
    members of one group learn the inputs of that group; t2 + 1 delegates learn every group's sum, but no input
    where a group has two members outside the coalition. So wherever they sit, up to
    T = min(t1, t2, c - 2) members learn nothing (t1 of the smallest group; without it where t1 = n - 1),
    and a sum is withheld unless it has the inputs of T + `least_honest` members. The words of a member that has
    trained on another model than the board announces are in no sum.
    Up to g - t2 - 1 delegates and n - t1 - 1 members of each group may crash; a member that crashes before it has
    shared is left out. One Byzantine member can change the sum unseen, or stop it; if more than t2 + 1 delegates
    are there, the board sees shares that fit no polynomial.

    Guarantees:
        The board opens the exact sum modulo `modulus` of the words of `contributors`.
        No group's sum opens: the board and up to T members see the same for all group sums with one global sum.
        A member that crashes before it has shared is left out; later crashes within the thresholds change nothing.
        A sum of fewer than T + `least_honest` inputs is withheld.
        No sum that opens has words that were made from another model than the board announces.
        The cost formula equals what the meter counts when nobody is faulty.
    """

    group_size: int = 3
    sharing: Literal["shamir", "additive"] = "shamir"
    threshold: str = ""
    delegate_threshold: str = ""
    modulus: int = MERSENNE_61
    fraction_bits: int = 16
    least_honest: int = 2

    def __post_init__(self) -> None:
        check.integer_at_least(1, group_size=self.group_size)
        # With one honest input alone, a sum is that input.
        check.integer_at_least(2, least_honest=self.least_honest)
        if self.sharing == "additive" and self.threshold:
            raise CloisterError(
                f"threshold = {self.threshold!r} means nothing to additive sharing, which needs its whole group; "
                f"allowed: none, or sharing = 'shamir'"
            )
        _ = self.ring, PrimeField(self.modulus), self._expressions  # refuse what does not fit

    @property
    def ring(self) -> FixedPoint:
        """The fixed-point numbers whose words it adds."""
        return FixedPoint(modulus=self.modulus, fraction_bits=self.fraction_bits)

    @property
    def conditions(self) -> Conditions:
        """What it tolerates in a cluster of any size, wherever in it the faulty members are; see `outcome`."""
        inner, outer = self._expressions
        scheme = hierarchical_scheme(
            group_size=self.group_size, inner=inner, outer=outer, least_honest=self.least_honest
        )
        return Conditions(
            protocol="hierarchical", mode="passive", scheme=scheme, threshold=None, least_honest=self.least_honest
        )

    def check_size(self, *, parties: int) -> None:
        """See SecureSum.check_size."""
        if parties < 2 * self.group_size:
            raise CloisterError(
                f"group_size = {self.group_size} makes one group of {parties}; allowed: clusters of at least "
                f"{2 * self.group_size}, or protocol = 'shamir'"
            )
        groups = self.groups_of(parties=parties)
        self.delegate_threshold_of(parties=parties)
        self.thresholds_of(parties=parties)
        most = max(len(groups), *(len(group) for group in groups))
        if most >= self.modulus:
            raise CloisterError(
                f"modulus = {self.modulus} is too small for {most} shares; allowed: a prime above {most}"
            )
        if self._least(parties) > parties:
            raise CloisterError(
                f"least_honest = {self.least_honest} beyond {self._least(parties) - self.least_honest} colluding "
                f"members does not fit clusters of {parties}; allowed: "
                f"1 to {parties - self._least(parties) + self.least_honest}"
            )

    def groups_of(self, *, parties: int) -> tuple[tuple[int, ...], ...]:
        """Return the groups: consecutive ranks."""
        groups: list[tuple[int, ...]] = []
        for size in balanced_sizes(parties, self.group_size):
            first = sum(len(group) for group in groups)
            groups.append(tuple(range(first, first + size)))
        return tuple(groups)

    def thresholds_of(self, *, parties: int) -> tuple[int, ...]:
        """Return t1 of each group."""
        said = self.threshold or (_ALL_OF_A_GROUP if self.sharing == "additive" else _DEFAULT_THRESHOLD)
        sizes = balanced_sizes(parties, self.group_size)
        return tuple(threshold_of(self._expressions[0], size, "members of a group", threshold=said) for size in sizes)

    def delegate_threshold_of(self, *, parties: int) -> int:
        """Return t2."""
        said = self.delegate_threshold or _DEFAULT_DELEGATE_THRESHOLD
        groups = len(balanced_sizes(parties, self.group_size))
        return threshold_of(self._expressions[1], groups, "delegates", delegate_threshold=said)

    def delegates_of(self, *, parties: int, use: int) -> tuple[int, ...]:
        """Return one member of each group, who adds the groups' sums in batch number `use`."""
        return draw_delegates(use=use, groups=self.groups_of(parties=parties))

    def contribute(self, party: Party, words: Tensor) -> None:
        """See SecureSum.contribute."""
        clusters, coordinates = words.shape
        contribute(self._plan(party.use, party.parties, clusters, coordinates), party, words)

    def collect(self, board: Board) -> Opened:
        """See SecureSum.collect."""
        plan = self._plan(board.use, board.parties, board.clusters, board.coordinates)
        sums, contributors = collect(plan, board)
        return Opened(sums=self.ring.wrap(sums), contributors=contributors)

    def cost(self, *, parties: int, clusters: int, coordinates: int) -> Traffic:
        """(n - 1) + g - g / c words a member and coordinate, g words a coordinate to the board, and bitmaps."""
        sizes = balanced_sizes(parties, self.group_size)
        c, g, row = parties, len(sizes), 8 * clusters * coordinates
        first, second = sum(size * (size - 1) for size in sizes), g * (c - 1)
        return Traffic(
            offline=Cost.none(),
            mpc=cost_of(
                messages=first + second, payload_bytes=(first + second) * row, rounds=min(first, 1) + min(second, 1)
            ),
            upload=cost_of(
                messages=2 * c + 3 * g, payload_bytes=c * (2 * c + DIGEST_BYTES) + 2 * g * c + g * row, rounds=5
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
        """Return what faults at these places leave of batch number `use`, whatever the faulty do and whenever.

        Private: no sum opens that has the input of one member outside the coalition only, and the coalition learns
        no group's sum. Exact where nobody is Byzantine and at most T collude, or nobody fails at all; elsewhere True
        is sure and False may be too strict.
        """
        groups = [frozenset(group) for group in self.groups_of(parties=parties)]
        bounds = list(zip(groups, self.thresholds_of(parties=parties), strict=True))
        delegates = frozenset(self.delegates_of(parties=parties, use=use))
        outer, least = self.delegate_threshold_of(parties=parties), self._least(parties)
        colluding = byzantine | curious
        others = frozenset(range(parties)) - colluding
        shown = any(len(colluding & group) > t and others & group for group, t in bounds)
        # The sum of the only group with others in it is the global sum less the coalition's own inputs.
        groups_shown = len(delegates & colluding) > outer and sum(bool(others & group) for group in groups) > 1
        alone = bool(others) and (bool(byzantine | crashed) or len(others) == 1) and len(colluding) + 1 >= least
        held = all(len(crashed & group) < len(group) - t for group, t in bounds)
        served = len(crashed & delegates) < len(groups) - outer
        return Verdict(
            private=not (shown or groups_shown or alone),
            correct=not byzantine,
            live=not byzantine and held and served and parties - len(crashed) >= least,
        )

    @property
    def _expressions(self) -> tuple[str, str]:
        """The thresholds as `parse_threshold` reads them: in a group, among delegates."""
        said = self.threshold or (_ALL_OF_A_GROUP if self.sharing == "additive" else _DEFAULT_THRESHOLD)
        outer = self.delegate_threshold or _DEFAULT_DELEGATE_THRESHOLD
        return in_size_of("n", threshold=said), in_size_of("g", delegate_threshold=outer)

    def _least(self, parties: int) -> int:
        sizes, bounds = balanced_sizes(parties, self.group_size), self.thresholds_of(parties=parties)
        inner = [t for size, t in zip(sizes, bounds, strict=True) if t <= size - 2]
        tolerated = min([*inner, self.delegate_threshold_of(parties=parties), parties - 2])
        return tolerated + self.least_honest

    def _plan(self, use: int, parties: int, clusters: int, coordinates: int) -> Plan:
        field = PrimeField(self.modulus)
        groups, bounds = self.groups_of(parties=parties), self.thresholds_of(parties=parties)
        return Plan(
            groups=groups,
            inner=tuple(_SHARINGS[self.sharing](field, t, len(group)) for group, t in zip(groups, bounds, strict=True)),
            delegates=self.delegates_of(parties=parties, use=use),
            outer=PolynomialSharing(field=field, degree=self.delegate_threshold_of(parties=parties)),
            parties=parties,
            clusters=clusters,
            coordinates=coordinates,
            least=self._least(parties),
        )
