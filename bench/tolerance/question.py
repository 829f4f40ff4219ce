"""What is asked: one design, or a range of sizes, with every number checked."""

from dataclasses import dataclass
from fractions import Fraction

from bench.chain import Chain, chained, links_of, resolve_chain
from bench.experiment import parse_setting
from protocols import check
from protocols.aggregators import Aggregator, aggregators
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.composition import composed
from protocols.hidden_sums.rules import outer_rules
from protocols.promises import counts_members, withstood
from protocols.registry import Spec
from protocols.tolerance.analysis import Faults
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.hidden import Delegates
from protocols.tolerance.parts import Groups, clusters_of, size_groups
from protocols.tolerance.placements import Setting
from protocols.tolerance.policies import PLACEMENTS, POLICIES, Policy

__all__ = ["Question", "ask"]

_MOST_SIZES = 5000
_NOTHING = Spec(name="none", parameters=())


@dataclass(frozen=True, kw_only=True)
class Question:
    """One design to judge; `sizes` are the cluster sizes asked about, empty for the best one.

    `placement`, `domains` and `moves` say how faults arise, `every` for how many rounds clusters are kept, `levels`
    the least parts of a group of the hierarchical policy, level by level, `coordinates` the length of an update. `pre`
    is what the cluster means go through before the rule. `delegates` hold the clusters' sums, where these stay hidden;
    then `conditions` are those of a cluster alone.

    Raises: CloisterError for a policy whose law is not known, numbers that do not fit, or a target outside 0..1.
    """

    faults: Faults
    sizes: tuple[int, ...]
    conditions: Conditions
    policy: str
    aggregator: str
    target: float | None = None
    rounds: int | None = None
    placement: str = "uniform"
    domains: int = 1
    moves: int = 0
    every: int = 1
    levels: tuple[int, ...] = (3,)
    coordinates: int = 10_000
    pre: Spec | Chain = _NOTHING
    delegates: Delegates | None = None

    def __post_init__(self) -> None:
        clusterings.entry(self.policy)
        check.one_of(POLICIES, policy=self.policy)
        check.one_of(PLACEMENTS, placement=self.placement)
        aggregators.entry(self.aggregator)
        if self.target is not None:
            check.fraction(target=self.target)
        if self.rounds is not None:
            check.integer_at_least(1, rounds=self.rounds)
        check.integer_at_least(0, moves=self.moves)
        check.integer_at_least(1, every=self.every, coordinates=self.coordinates, domains=self.domains)
        if self.domains > self.faults.n:
            raise CloisterError(
                f"domains = {self.domains} is more than n = {self.faults.n} processes; allowed: 1 to {self.faults.n}"
            )
        if self.moves and self.placement != "targeted":
            raise CloisterError(
                f"moves = {self.moves} means nothing to placement {self.placement!r}; allowed: --placement targeted"
            )
        if self.moves > self.faults.total:
            raise CloisterError(
                f"moves = {self.moves} is more than the {self.faults.total} faulty processes that can move; "
                f"allowed: 0 to {self.faults.total}"
            )
        if self.known.hierarchical and counts_members(self.rule):
            raise CloisterError(
                f"aggregator = {self.aggregator!r} counts members, and parts of a hierarchy have different numbers of "
                f"them; allowed: a rule that counts clusters, such as 'median'"
            )
        if self.delegates is not None:
            if self.aggregator not in outer_rules.entries():
                raise CloisterError(
                    f"aggregator = {self.aggregator!r} has no form under encryption, which hidden sums need; "
                    f"allowed: {', '.join(sorted(outer_rules.entries()))}"
                )
            if self.rule_name != self.aggregator:
                raise CloisterError(
                    f"{self.rule_name!r} is not known of hidden sums, whose rule runs inside; allowed: --pre none"
                )
            if not self.plain:
                raise CloisterError(
                    f"placement = {self.placement!r} under policy {self.policy!r} is not known of hidden sums; "
                    f"allowed: uniform placements, and policies that do not look at who is faulty"
                )

    @property
    def plain(self) -> bool:
        """Whether faults of any kind are placed uniformly under disjoint clusters: the law of analysis.analyse."""
        alike = POLICIES["random"].laws["uniform"]
        return self.known.laws[self.placement] is alike and not self.known.hierarchical

    @property
    def mixed(self) -> bool:
        """Whether there are faulty processes that are not Byzantine."""
        return self.faults.total > self.faults.byzantine

    @property
    def known(self) -> Policy:
        """What is known of the policy."""
        return POLICIES[self.policy]

    @property
    def rule(self) -> Aggregator:
        """The outer rule, after what comes before it."""
        return composed(*chained(self.pre), rule=aggregators.make(aggregators.resolve(self.aggregator)))

    @property
    def rule_name(self) -> str:
        """What comes before the rule and the rule, in words."""
        steps = [link.name for link in links_of(self.pre) if link.name != _NOTHING.name]
        return " + ".join([*steps, self.aggregator])

    @property
    def aimed(self) -> int:
        """How many moves are aimed at clusters while these are kept: all rounds' where they are never drawn again."""
        redrawn = self.known.redrawn
        return self.moves * (self.every if redrawn else max(self.every, self.rounds or 1))

    def setting(self, groups: Groups) -> Setting:
        """Return how faults arise in these clusters."""
        return Setting(
            n=self.faults.n,
            faulty=self.faults.total,
            groups=groups,
            domains=self.domains,
            moves=self.aimed,
            levels=self.levels,
        )

    def groups(self, size: int) -> Groups:
        """Return the clusters that the policy forms when asked for a size."""
        if self.policy == "single":
            return ((self.faults.n, 1),)
        policy = clusterings.make(clusterings.resolve(self.policy))
        return size_groups(self.faults.n, policy.smallest_cluster(size))

    def tolerate(self, groups: Groups) -> int:
        """Return how many of the clusters the outer rule withstands."""
        return self.breakdown(clusters_of(groups))

    def breakdown(self, m: int) -> int:
        """Return how many of m balanced clusters the outer rule withstands, whoever crashes; see `withstood`."""
        if self.known.hierarchical:  # it counts no members there, see above
            return self.rule.breakdown(m)
        small, larger = divmod(self.faults.n, m)
        return withstood(self.rule, ((small, m - larger), (small + 1, larger)), self.faults.crashed)


def _target_of(text: str | float | None) -> float | None:
    if not isinstance(text, str):
        return text
    base, power, exponent = text.partition("^")
    try:
        value = float(base) ** int(exponent) if power else float(text)
    except (ValueError, ZeroDivisionError, OverflowError):
        raise CloisterError(
            f"target = {text!r} is not a number; allowed: a probability above 0 and below 1, such as 1e-6 or 2^-40"
        ) from None
    check.fraction(target=value)
    return value


def _number_of(n: int, **named: str) -> int:
    (name, text), *_ = named.items()
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise CloisterError(f"{name} = {text!r} is not a number; allowed: a count, or a fraction such as 0.2") from None
    whole = "." not in text and "/" not in text and "e" not in text.lower()
    if not whole and not 0 <= value <= 1:
        raise CloisterError(f"{name} = {text!r} is not allowed; allowed: a count 0 to {n}, or a fraction 0.0 to 1.0")
    count = int(value) if whole else int(value * n)  # a fraction of the processes, rounded down
    if not 0 <= count <= n:
        raise CloisterError(f"{name} = {text!r} does not fit n = {n} processes; allowed: 0 to {n}, or a fraction")
    return count


def _sizes_of(n: int, text: str | None) -> tuple[int, ...]:
    if text is None:
        return ()
    try:
        ends = [int(word) for word in text.split(":")]
    except ValueError:
        ends = []
    if not 1 <= len(ends) <= 2:
        raise CloisterError(f"cluster_size = {text!r} is not understood; allowed: a size such as 20, or a range 3:101")
    first, last = ends[0], ends[-1]
    if not 1 <= first <= last <= n:
        raise CloisterError(f"cluster_size = {text!r} does not fit n = {n} processes; allowed: 1 to {n}, ascending")
    if last - first >= _MOST_SIZES:
        raise CloisterError(f"cluster_size = {text!r} is {last - first + 1} sizes; allowed: at most {_MOST_SIZES}")
    return tuple(range(first, last + 1))


def _levels_of(text: str) -> tuple[int, ...]:
    try:
        levels = tuple(int(word) for word in text.split(","))
    except ValueError:
        raise CloisterError(f"levels = {text!r} is not understood; allowed: numbers such as 3 or 4,5") from None
    for level in levels:
        check.integer_at_least(1, levels=level)
    return levels


def _chain_of(text: str) -> Spec | Chain:
    if not text.strip():
        raise CloisterError("--pre '' is not allowed; allowed: names such as nnm or bucketing,nnm, or none")
    _, values = parse_setting(f"pre={text}")
    return resolve_chain(values)


def ask(
    *,
    n: int,
    faulty: str,
    crash: str,
    curious: str,
    cluster_size: str | None,
    conditions: Conditions,
    policy: str,
    aggregator: str,
    target: str | float | None,
    rounds: int | None,
    placement: str | None = None,
    domains: int | None = None,
    moves: int = 0,
    every: int = 1,
    levels: str = "3",
    coordinates: int = 10_000,
    pre: str = "none",
    delegates: Delegates | None = None,
) -> Question:
    """Return the question that the command line's words ask; CloisterError for words that make no sense.

    Moves without a placement mean `targeted`; there are 10 failure domains unless told, or n where that is less.
    """
    check.integer_at_least(1, n=n)
    return Question(
        faults=Faults(
            n=n,
            byzantine=_number_of(n, faulty=faulty),
            crashed=_number_of(n, crash=crash),
            curious=_number_of(n, curious=curious),
        ),
        sizes=_sizes_of(n, cluster_size),
        conditions=conditions,
        policy=policy,
        aggregator=aggregator,
        target=_target_of(target),
        rounds=rounds,
        placement=placement or ("targeted" if moves else "uniform"),
        domains=min(n, 10) if domains is None else domains,
        moves=moves,
        every=every,
        levels=_levels_of(levels),
        coordinates=coordinates,
        pre=_chain_of(pre),
        delegates=delegates,
    )
