"""What a round came to: what it showed, what it says of its processes, and what it cost."""

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.api import OpenedRound
from bench.compressing import updates_of
from bench.decentralised import Exchange
from bench.measures import Excluded, deviation, excluded_clusters
from bench.noise import multipliers_of
from bench.observation import Observation, OpenedCluster, observe
from bench.opening import Opened
from bench.replaying import learns
from bench.setting import Federation
from protocols.aggregators import Given, hostile_rows
from protocols.population import Report
from protocols.tolerance.verdict import Verdict
from protocols.types import Clustering, Traffic

__all__ = ["Decision", "Played", "RoundOutcome", "outcome_of"]


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """The next model (d,), or without a server the clusters' models (m, d), and what the round showed and cost.

    `multipliers` (n,) are the noise multipliers that protected each process; None where nothing is proved. `report`
    is what everybody saw of the clusters, members by their numbers among all n processes. `said` is the verdict on
    the round before it ran, `observed` what it then showed; `revealed` are the processes whose words are in each
    opened sum, and `opened` the clusters with their means, by their numbers among all. `exchange` is how the clusters'
    exchange went, None where there is a server; `deviation` and `excluded` are what bench.measures makes columns of;
    `named` are the processes that a protocol named as cheats, `byzantine` those that are, and `lost_bytes` went into
    sums that opened nothing. `sum_exact` is about the clusters in which nobody misbehaved. `drawn` is what
    a beacon sent for new clusters.
    """

    model: Tensor
    tainted_clusters: int
    tolerated_clusters: int
    clusters: int
    failed_clusters: int
    multipliers: NDArray[np.float64] | None
    report: Report
    revealed: tuple[tuple[int, ...], ...]
    opened: OpenedRound
    said: Verdict
    observed: Observation
    exchange: Exchange | None
    deviation: float | None
    excluded: Excluded | None
    named: frozenset[int]
    byzantine: frozenset[int]
    lost_bytes: int
    sum_exact: bool
    traffic: Traffic
    drawn: Traffic
    train_s: float
    mpc_s: float

    @property
    def exchange_bytes(self) -> int:
        """The bytes of the exchange between clusters."""
        return 0 if self.exchange is None else self.exchange.cost.wire_bytes

    @property
    def wire_bytes(self) -> int:
        """All bytes on the wire: of the beacon, of the secure sums and of the exchange between clusters."""
        return self.drawn.wire_bytes + self.traffic.wire_bytes + self.exchange_bytes


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What was made of the opened means: the server's `combined` update (d,), or without one the clusters' `exchange`.

    `combined` is None too where the rule has no result; `sensitivity` is the rule's where it has one, and `given` what
    it was given beside the means.
    """

    combined: Tensor | None
    exchange: Exchange | None
    given: Given
    sensitivity: float | None


@dataclass(frozen=True, kw_only=True)
class Played:
    """All steps of a round: its clusters, verdict, honest `updates` (n, d), opened `means` (m, d), next `model`.

    The means are rows (m, k) of the round's code where the rule combines these.
    """

    round_index: int
    clustering: Clustering
    said: Verdict
    updates: Tensor
    opened: Opened
    means: Tensor
    decision: Decision
    model: Tensor
    train_s: float
    mpc_s: float


def outcome_of(federation: Federation, played: Played) -> RoundOutcome:
    """Return what a round of all processes of the federation came to."""
    clustering, opened, decision = played.clustering, played.opened, played.decision
    m = len(opened.numbers)
    return RoundOutcome(
        model=played.model,
        tainted_clusters=int((clustering.faulty_counts(federation.faulty)[opened.numbers] > 0).sum()),
        tolerated_clusters=federation.told(m),
        clusters=m,
        failed_clusters=len(clustering.clusters) - m - len(opened.empty),
        multipliers=multipliers_of(
            federation,
            clustering,
            decision.sensitivity,
            opened.left_out(clustering),
            told=opened.told,
            protection=opened.protection,
        ),
        report=_report(federation, played),
        revealed=_shown(federation, played).clusters if federation.hidden else _revealed(federation, opened),
        opened=_shown(federation, played),
        said=played.said,
        observed=_observed(federation, played),
        exchange=decision.exchange,
        deviation=_deviation(federation, played),
        excluded=_excluded(federation, played),
        named=frozenset(_named(federation, opened.named)),
        byzantine=frozenset(federation.numbers[federation.faulty].tolist()),
        lost_bytes=opened.lost.wire_bytes,
        sum_exact=all(exact for j, exact in zip(opened.numbers, opened.exact, strict=True) if j not in opened.faulty),
        traffic=opened.traffic,
        drawn=federation.draws.traffic(played.round_index),
        train_s=played.train_s,
        mpc_s=played.mpc_s,
    )


def _revealed(federation: Federation, opened: Opened) -> tuple[tuple[int, ...], ...]:
    return tuple(_named(federation, each) for each in opened.contributors)


def _shown(federation: Federation, played: Played) -> OpenedRound:
    """Return the clusters and the means that everybody saw: where these stay hidden, all as one, with the result."""
    clustering, opened = played.clustering, played.opened
    if not federation.hidden:
        clusters = tuple(_named(federation, clustering.clusters[j]) for j in opened.numbers)
        return OpenedRound(clusters=clusters, means=updates_of(federation, played.means))
    if opened.aggregate is None:
        return OpenedRound(clusters=(), means=updates_of(federation, played.means[:0]))
    everybody = tuple(process for each in _revealed(federation, opened) for process in each)
    noise = 0.0 if opened.noise is None else opened.noise
    return OpenedRound(clusters=(everybody,), means=updates_of(federation, (opened.aggregate + noise)[None]))


def _named(federation: Federation, places: tuple[int, ...] | frozenset[int]) -> tuple[int, ...]:
    """Return the numbers among all processes of those at these places among the ones that take part."""
    return tuple(int(federation.numbers[place]) for place in places)


def _deviation(federation: Federation, played: Played) -> float | None:
    combined = played.decision.combined
    update = None if combined is None else updates_of(federation, combined[None])[0]
    return deviation(update, played.updates[torch.from_numpy(~federation.faulty)])


def _report(federation: Federation, played: Played) -> Report:
    clusters, numbers = played.clustering.clusters, played.opened.numbers
    # Of means that stay hidden nobody is suspected.
    tolerate = 0 if federation.hidden else federation.told(len(numbers))
    far = _suspects(played.means, played.decision.combined, tolerate)
    return Report(
        round_index=played.round_index,
        clusters=clusters,
        suspected=frozenset(numbers[j] for j in far),
        failed=frozenset(range(len(clusters))) - frozenset(numbers),
    )


# A mean is suspected beyond so many times the median distance from the combined update.
_SUSPICIOUS = 2.0


def _suspects(means: Tensor, combined: Tensor | None, tolerate: int) -> list[int]:
    """Return which means (m, d) are suspected: among the `tolerate` farthest from the combined one, those far away.

    Rows that nobody can compute with are the farthest, and hide no other one.
    """
    if combined is None or tolerate < 1:
        return []
    hostile = hostile_rows(means)
    distances = torch.where(hostile, torch.inf, (means - combined).norm(dim=1))
    farthest = torch.topk(distances, min(tolerate, len(distances)))
    far = farthest.values > _SUSPICIOUS * distances[~hostile].median()
    return farthest.indices[far].tolist()


def _excluded(federation: Federation, played: Played) -> Excluded | None:
    decision = played.decision
    return excluded_clusters(
        federation,
        played.clustering,
        played.opened,
        played.means,
        ran=decision.combined is not None,
        exchange=decision.exchange,
        given=decision.given,
    )


def _observed(federation: Federation, played: Played) -> Observation:
    opened, exchange = played.opened, played.decision.exchange
    in_clear = bool(federation.conditions.opens_inputs)
    clusters = [
        OpenedCluster(
            number=number,
            contributors=contributors,
            exact=exact,
            in_clear=in_clear,
            withstands=federation.conditions.checked_inputs,
            hidden=federation.hidden,
        )
        for number, contributors, exact in zip(opened.numbers, opened.contributors, opened.exact, strict=True)
    ]
    observation = observe(
        clusters,
        played.means,
        opened.added,
        played.decision.combined,
        said=played.said,
        faulty=federation.who_fails,
        rule=federation.rule,
        tolerate=federation.told(len(clusters)),
        numbers=federation.numbers.tolist(),
        replay=partial(learns, federation.protocol),
        empty=opened.empty,
        excluded=opened.excluded,
        inputs_only=federation.conditions.checked_inputs,
        all_pass=federation.in_range,
        told=opened.told,
        stopped=opened.stopped,
    )
    return observation if exchange is None else replace(observation, near_honest=exchange.near, promised=True)
