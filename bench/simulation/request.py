"""What is simulated: one design, how faults arise, and how processes come and go, with every number checked."""

from dataclasses import dataclass
from typing import Any

from bench.tolerance import Question, ask
from protocols import check
from protocols.check import CloisterError
from protocols.clustering import ClusteringPolicy, clusterings
from protocols.placements import knowledge, placements
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.group_testing import Noise
from protocols.types import balanced_sizes

__all__ = ["Request", "request"]


@dataclass(frozen=True, kw_only=True)
class Request:
    """One simulation; `joins` and `leaves` are the mean share of processes that join and leave in a round.

    `every` is for how many rounds clusters are kept (0: for ever; None: the policy says). `test_error` is how likely
    a test of a cluster errs, either way. At equal shares as many join as leave in every round.

    Raises: CloisterError for shares outside 0..0.5, and what a policy or a placement cannot do.
    """

    question: Question
    cluster_size: int
    rounds: int
    every: int | None
    batch: int | None
    joins: float = 0.0
    leaves: float = 0.0
    identify: bool = False
    test_error: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        check.integer_at_least(1, rounds=self.rounds)
        check.integer_at_least(0, seed=self.seed)
        check.non_negative(joins=self.joins, leaves=self.leaves, test_error=self.test_error)
        for name, share in (("joins", self.joins), ("leaves", self.leaves)):
            if share > 0.5:
                raise CloisterError(
                    f"{name} = {share:g} is not allowed; allowed: 0 to 0.5, the share of the processes in a round"
                )
        if self.test_error and not self.identify:
            raise CloisterError(f"test_error = {self.test_error:g} means nothing without tests; allowed: --identify")
        if self.test_error >= 0.5:
            raise CloisterError(
                f"test_error = {self.test_error:g} is not allowed; allowed: 0 or more and below 0.5, or a test says "
                f"nothing"
            )
        if self.question.faults.total >= self.question.faults.n:
            raise CloisterError(
                f"faulty + crash + curious = {self.question.faults.total} leaves nobody honest; allowed: 0 to "
                f"{self.question.faults.n - 1}"
            )
        if self.every is not None:
            check.integer_at_least(0, every=self.every)
        self.policy.sizes(n=self.question.faults.n, cluster_size=self.cluster_size)
        if self.churns and self.seen != "nothing":
            raise CloisterError(
                f"joins = {self.joins:g} and leaves = {self.leaves:g} do not go with placement "
                f"{self.question.placement!r}, which chooses its processes by their clusters; allowed: no churn, or "
                f"another placement"
            )

    @property
    def noise(self) -> Noise:
        """How tests err."""
        return Noise(false_alarm=self.test_error, miss=self.test_error)

    @property
    def churns(self) -> bool:
        """Whether processes join or leave."""
        return self.joins > 0 or self.leaves > 0

    @property
    def policy(self) -> ClusteringPolicy:
        """The policy, with what was asked of its periods and batches."""
        defaults = clusterings.entry(self.question.policy).defaults
        config: dict[str, Any] = {"name": self.question.policy}
        for name, value in (("every", self.every), ("batch", self.batch)):
            if name in defaults:
                config |= {} if value is None else {name: value}
            elif value is not None:
                raise CloisterError(
                    f"{name} = {value} means nothing to clustering {self.question.policy!r}; allowed: a policy with "
                    f"this parameter, such as {'sticky' if name == 'batch' else 'random'}"
                )
        if "every" in defaults and self.every is None:
            config["every"] = 1
        return clusterings.make(clusterings.resolve(config))

    @property
    def period(self) -> int:
        """For how many rounds clusters are kept; 0: for ever."""
        if "every" in clusterings.entry(self.question.policy).defaults:
            return 1 if self.every is None else self.every
        return 0 if not self.takes_turns else 1

    @property
    def takes_turns(self) -> bool:
        """Whether the policy has a clustering of its own for each round, without a period to choose."""
        entry = clusterings.entry(self.question.policy)
        return entry.facts.get("drawn") is True and "every" not in entry.defaults

    @property
    def reseats(self) -> bool:
        """Whether joins and leaves between drawings can keep the clusters balanced; else clusters are formed again."""
        n = self.question.faults.n
        return self.policy.sizes(n=n, cluster_size=self.cluster_size) == balanced_sizes(n, self.least)

    @property
    def least(self) -> int:
        """The smallest cluster that the policy forms."""
        return self.policy.smallest_cluster(self.cluster_size)

    @property
    def fresh(self) -> bool:
        """Whether each drawing is uniform over all clusterings and independent of the others."""
        facts = clusterings.entry(self.question.policy).facts
        return bool(facts.get("drawn") and not facts.get("keeps_company") and not self.policy.needs and self.period)

    @property
    def seen(self) -> str:
        """What the placement knows of the clusters: "nothing", the "first", or "each"."""
        return knowledge(placements.entry(self.question.placement))


def request(
    *,
    n: int,
    faulty: str,
    crash: str,
    curious: str,
    cluster_size: int,
    conditions: Conditions,
    policy: str,
    aggregator: str,
    placement: str | None,
    domains: int | None,
    moves: int,
    rounds: int,
    every: int | None,
    batch: int | None,
    joins: float,
    leaves: float,
    identify: bool,
    test_error: float,
    seed: int,
    pre: str = "none",
) -> Request:
    """Return the request that the command line's words make; CloisterError for words that make no sense."""
    question = ask(
        n=n,
        faulty=faulty,
        crash=crash,
        curious=curious,
        cluster_size=str(cluster_size),
        conditions=conditions,
        policy=policy,
        aggregator=aggregator,
        target=None,
        rounds=rounds,
        placement=placement,
        domains=domains,
        moves=moves,
        every=max(1, 1 if every is None else every),
        pre=pre,
    )
    return Request(
        question=question,
        cluster_size=cluster_size,
        rounds=rounds,
        every=every,
        batch=batch,
        joins=joins,
        leaves=leaves,
        identify=identify,
        test_error=test_error,
        seed=seed,
    )
