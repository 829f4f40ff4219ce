"""What a round of a cell needs: the parts of the federation, its processes, and who of them is faulty."""

import math
from collections.abc import MutableMapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from attacks.api import OpenedRound
from attacks.plan import Part
from bench.churning import Churning
from bench.drawing import Draws
from bench.hiring import Hire
from bench.models import Network
from bench.poisoning import Poisoning
from bench.recall import Recall
from bench.training import ClientData, LocalTraining
from bench.workers import Worker
from protocols.aggregators import Aggregator, Given, aggregators, hostile_rows, takes_all_out
from protocols.clustering import ClusteringPolicy
from protocols.compression import Code, Compressor
from protocols.decentralised.graph import Graph
from protocols.decentralised.rules import ExchangeRule
from protocols.parties import Parties
from protocols.placements import FaultPlacement
from protocols.playable import cluster_protocols, in_range_of
from protocols.population import Population
from protocols.privacy import Mechanism
from protocols.randomness import SecretStreams
from protocols.registry import Spec
from protocols.ring import FixedPoint
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.verdict import FaultyProcesses
from protocols.types import Clustering

__all__ = ["Federation", "Past"]


@dataclass(frozen=True, kw_only=True)
class Past:
    """What is remembered of the round before: the model (d,) float32 that it began with, and what it opened.

    Without a server the model is the one that Byzantine processes knew, see bench.decentralised.known_model.
    """

    model: Tensor
    opened: OpenedRound


@dataclass(frozen=True, kw_only=True)
class Federation:
    """Everything that a round needs; who is faulty may change from round to round, and `population` learns reports.

    `faulty` (Byzantine), `crashed` and `curious` are masks (n,) without overlap. Crashed processes train, and are gone
    before they send anything in a sum. `numbers` (n,) are the processes' numbers among all `everybody`, where
    only some take part.
    `parts` are the attacks in order, and `memory` is what each of them, by its place, remembers. `past` is None before
    the first round has ended. `root` are the server's own rows, one client's; `recall` changes with every round.
    `draws` are the seeds that the policy gets, `churning` the joins and leaves, None where there are none. `graph` is
    who exchanges with whom, None with a server; then `rule` combines the clusters' means, else each cluster does it by
    `exchange`. `code` is what `compressor` drew for this round; the rule combines rows of it where it is linear.
    `companies` are the parties, had by `hire`, that play clusters in which somebody misbehaves, by their members.
    `centre` (k,) are the words of the point from which the protocol counts in this round, see bench.centring.
    """

    network: Network
    data: ClientData
    root: ClientData | None
    training: LocalTraining
    worker: Worker
    recall: Recall
    server_learning_rate: float
    parts: tuple[Part, ...]
    memory: MutableMapping[int, MutableMapping[str, Any]]
    poisoning: Poisoning
    past: Past | None
    policy: ClusteringPolicy
    draws: Draws
    churning: Churning | None
    cluster_size: int
    protocol: Spec
    conditions: Conditions
    ring: FixedPoint
    pre_specs: tuple[Spec, ...]
    rule_spec: Spec
    rule: Aggregator
    graph: Graph | None
    exchange: ExchangeRule
    compressor: Compressor
    code: Code
    centre: Tensor | None
    mechanism: Mechanism
    placement: FaultPlacement
    population: Population
    hire: Hire
    companies: MutableMapping[tuple[int, ...], Parties]
    faulty: NDArray[np.bool_]
    crashed: NDArray[np.bool_]
    curious: NDArray[np.bool_]
    numbers: NDArray[np.int64]
    declared_faulty: int
    participants: int
    everybody: int
    noise: SecretStreams
    seed: int

    @property
    def hidden(self) -> bool:
        """Whether cluster sums stay hidden, so that only what the rule makes of them opens."""
        return cluster_protocols.is_hidden(self.protocol.name)

    def terms(self, clustering: Clustering) -> int:
        """Return how many words of a round may be added up, in whatever opens, without wrapping around.

        Half of the range is for the updates, half for the noise that is added to them.
        """
        limit = self._limit(clustering)
        if limit is not None:  # a word, with its noise, has to be in the range that members are shown to be in
            return 2 ** (64 - limit)
        if not self.hidden:
            return 2 * max(clustering.sizes)
        # A rule adds up at most all groups' sums, each weighted up to the least common multiple of their sizes.
        return 2 * len(clustering.clusters) * math.lcm(*clustering.sizes)

    def _limit(self, clustering: Clustering) -> int | None:
        """Return the bits of the range that inputs are shown to be in, if they are; see `_passing` of secure_robust."""
        checked = in_range_of(self.protocol)
        if checked is None:
            return None
        together = [clustering.n] if self.hidden else clustering.sizes
        return min(checked.limit(parties=parties) for parties in together)

    @property
    def in_range(self) -> bool:
        """Whether inputs are shown to be in range before they are added, so that no sum wraps around."""
        return in_range_of(self.protocol) is not None

    @property
    def coordinates(self) -> int:
        """The number of words that each process puts into a sum."""
        return self.compressor.coordinates(self.network.dimension)

    def told(self, m: int) -> int:
        """Return how many of m clusters the rule is told to withstand (-1: it is not defined for so few)."""
        return min(self.declared_faulty, m, self.withstands(m))

    def withstands(self, m: int) -> int:
        """Return how many tainted clusters of m the rule withstands; without a server, wherever they are."""
        if self.graph is None:
            return self.rule.breakdown(m)
        return min(self.exchange.breakdown(degree) for degree in self.graph.degrees)

    def combine(self, means: Tensor, sizes: Tensor, given: Given) -> Tensor | None:
        """Return what the rule makes of the means (m, d) of clusters of these sizes, or None: the round has no result.

        It has none where the rule is not defined for so few clusters, or gets more rows that cannot be computed with,
        such as NaN, than it is told to withstand or leaves out anyhow.
        """
        m = len(sizes)
        tolerate = self.told(m)
        if not m or tolerate < 0 or int(hostile_rows(means).sum()) > max(tolerate, self._left_out_anyhow(m)):
            return None
        return self.rule(means, sizes, tolerate, given)

    def _left_out_anyhow(self, m: int) -> int:
        """Return how many of m hostile rows the rule leaves out, whatever it is told; not behind a pre-aggregator."""
        return m - 1 if takes_all_out(aggregators.entry(self.rule_spec.name)) and not self.pre_specs else 0

    @property
    def who_fails(self) -> FaultyProcesses:
        """The faulty processes, by their places among those that take part."""
        byzantine, crashed, curious = (
            frozenset(np.flatnonzero(mask).tolist()) for mask in (self.faulty, self.crashed, self.curious)
        )
        return FaultyProcesses(n=len(self.faulty), byzantine=byzantine, crashed=crashed, curious=curious)

    def of(self, chosen: NDArray[np.int64]) -> "Federation":
        """Return the federation of some of the processes, in the order given."""
        return replace(
            self,
            data=self.data.of(chosen),
            population=self.population.of(chosen),
            faulty=self.faulty[chosen],
            crashed=self.crashed[chosen],
            curious=self.curious[chosen],
            numbers=self.numbers[chosen],
            parts=tuple(replace(part, senders=part.senders[chosen]) for part in self.parts),
        )
