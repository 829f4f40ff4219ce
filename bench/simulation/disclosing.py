"""When revealed sums disclose static updates: the closed form, and the exact rank of the sums for small n."""

from dataclasses import dataclass

import numpy as np

from bench.simulation.counting import BYZANTINE, CRASHED, CURIOUS, Kinds, occupancy, verdict_of_counts
from bench.simulation.request import Request
from bench.simulation.world import facts_of, owners_of
from protocols.clustering import ClusteringPolicy, clusterings
from protocols.clustering.sticky import Sticky
from protocols.tolerance.disclosure import Disclosure, rounds_until_disclosed

__all__ = ["MOST_EXACT", "Revealed", "revealed", "static_disclosure"]

MOST_EXACT = 2000
_IDLE = 5  # drawings in a row that add nothing before the rank is taken as its limit


@dataclass(frozen=True, kw_only=True)
class Revealed:
    """What the sums of `drawings` drawings say about static updates of the `honest` processes.

    `rank` independent equations; `disclosed` updates follow from them; `complete_after` drawings made the rank full;
    `limit` is the most the rank can become under this policy (None: full). All None where it was not computed.
    """

    policy: str
    honest: int
    limit: int | None
    drawings: int | None = None
    rank: int | None = None
    disclosed: int | None = None
    complete_after: int | None = None


@dataclass(frozen=True)
class _Sums:
    clusters: list[tuple[int, ...]]


def static_disclosure(asked: Request) -> int | None:
    """Return r*, the drawings of fresh partitions that disclose every static update; None where none ever does."""
    faults = asked.question.faults
    if not asked.question.conditions.revealed or faults.colluding >= faults.n:
        return None
    m = len(asked.policy.sizes(n=faults.n, cluster_size=asked.cluster_size))
    return rounds_until_disclosed(faults.n, faults.colluding, m)


def revealed(asked: Request, kinds: Kinds, name: str, *, most_drawings: int) -> Revealed:
    """Return what a policy's sums reveal, drawing after drawing with every one anew, until nothing is added any more.

    Lost clusters reveal nothing, and crashed members are in no sum.

    Guarantees:
        Under `sticky` the rank never exceeds the number of batches.
    """
    n = len(kinds)
    policy = asked.policy if name == asked.question.policy else clusterings.make(_each_round(name))
    colluding = np.flatnonzero((kinds == BYZANTINE) | (kinds == CURIOUS))
    honest = n - len(colluding)
    limit = _limit(policy, asked)
    if n > MOST_EXACT or not asked.question.conditions.revealed or "reports" in policy.needs:
        return Revealed(policy=name, honest=honest, limit=limit)
    span = Disclosure(n=n, colluding=colluding.tolist(), seed=asked.seed)
    contributors = frozenset(np.flatnonzero(kinds != CRASHED).tolist())
    population = facts_of(n, asked.question.domains, asked.seed)
    full = sum(1 for process in span.honest if process in contributors)
    idle = complete = 0
    for drawing in range(most_drawings):
        clustering = policy(
            population=population,
            cluster_size=asked.cluster_size,
            seed=asked.seed,
            round_index=drawing * max(1, asked.period),
        )
        counts = occupancy(owners_of(clustering), kinds, len(clustering.clusters))
        lost = verdict_of_counts(counts, asked.question.conditions, 0).lost
        before = span.rank
        span.add(_Sums([each for each, gone in zip(clustering.clusters, lost, strict=True) if not gone]), contributors)
        idle = idle + 1 if span.rank == before else 0
        if span.rank == full:
            complete = span.rounds
        if complete or idle == _IDLE:
            break
    return Revealed(
        policy=name,
        honest=full,
        limit=limit,
        drawings=span.rounds,
        rank=span.rank,
        disclosed=len(span.determined()) if span.rank else 0,
        complete_after=complete or None,
    )


def _each_round(name: str):
    return clusterings.resolve({"name": name, "every": 1})


def _limit(policy: ClusteringPolicy, asked: Request) -> int | None:
    if isinstance(policy, Sticky):
        return len(policy.batches(n=asked.question.faults.n, cluster_size=asked.cluster_size, seed=asked.seed))
    if not asked.period:
        return len(policy.sizes(n=asked.question.faults.n, cluster_size=asked.cluster_size))
    return None
