"""The processes of a simulation: their kinds of fault, their clusters, and what changes from round to round."""

from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from bench.simulation.counting import BYZANTINE, CRASHED, CURIOUS, HONEST, Kinds, Occupancy, Owner, groups_of, occupancy
from bench.simulation.request import Request
from bench.simulation.seats import Seats
from bench.simulation.standing import Standing
from bench.simulation.turnover import churn_stream, departures, owners_of, turn_over
from protocols.clustering import ClusteringPolicy
from protocols.placements import PlacementView, placements
from protocols.population import Population
from protocols.promises import withstood
from protocols.randomness import public_stream
from protocols.types import Clustering

__all__ = ["Assigning", "Churn", "Scored", "World", "facts_of", "owners_of"]


@runtime_checkable
class Assigning(Protocol):
    """A policy that can say each process's cluster without listing clusters."""

    def assign(self, *, n: int, cluster_size: int, seed: int, round_index: int) -> Owner:
        """Return the cluster (n,) of each process, as its clusters are numbered."""
        ...


@runtime_checkable
class Scored(Protocol):
    """A policy that learns a score from the reports of past rounds."""

    memory: float

    def assign_by(self, score: NDArray[np.float64], *, cluster_size: int, seed: int, round_index: int) -> Owner:
        """Return the cluster (n,) of each process, for processes of these scores (n,)."""
        ...


def facts_of(n: int, domains: int, seed: int) -> Population:
    """Return synthetic public facts, which say nothing about who is faulty: domains are runs of numbers."""
    rng = public_stream(seed, "simulation", "facts")
    domain = np.arange(n, dtype=np.int64) * min(domains, n) // n
    sites = rng.uniform(0.0, 0.1, size=(domains, 2))
    return Population(
        n=n,
        domains=domain,
        trust=rng.random(n),
        positions=sites[domain] + rng.normal(0.0, 0.005, size=(n, 2)),
        features=rng.dirichlet(np.ones(10), size=n),
        reports=(),
    )


class Churn:
    """Who joined and left: totals, and how many present processes changed cluster for it between drawings."""

    def __init__(self) -> None:
        self.joined = self.left = self.seated = self.unseated = self.moved = 0


class World:
    """The processes 0..n-1 of a round. `advance` brings on the next round; `owner`, `kinds` and `counts` are of now.

    Who joins while another leaves takes over its number and, all joins and leaves of a round shuffled, its kind of
    fault: the adversary comes back. Joins beyond that have kinds at the shares of the beginning.

    Guarantees:
        The clusters are those of the policy whenever they are drawn; joins and leaves in between keep sizes that differ
            by at most one, and none below the size asked for.
        At equal shares of joins and leaves the number of each kind never changes.
    """

    def __init__(self, asked: Request) -> None:
        self._asked = asked
        self.policy: ClusteringPolicy = asked.policy
        self.round_index = -1
        self.drawing = -1
        self.churn = Churn()
        self.n = asked.question.faults.n
        self.owner: Owner = np.zeros(self.n, dtype=np.int64)
        self.kinds: Kinds = np.zeros(self.n, dtype=np.int8)
        self.standing = Standing(self.n, self.policy.memory) if isinstance(self.policy, Scored) else None
        self._reseats, self._least = asked.reseats, asked.least
        self._clustering: Clustering | None = None
        self._seats: Seats | None = None
        self._facts: Population | None = None

    @property
    def counts(self) -> Occupancy:
        """The faulty members by cluster."""
        return occupancy(self.owner, self.kinds, int(self.owner.max()) + 1)

    @property
    def composition(self) -> tuple[int, int, int]:
        """How many processes are Byzantine, crashed and curious."""
        found = np.bincount(self.kinds, minlength=4)
        return int(found[BYZANTINE]), int(found[CRASHED]), int(found[CURIOUS])

    def advance(self) -> NDArray[np.int64]:
        """Go to the next round; return the former number (n,) of each process, -1 for one that joined."""
        self.round_index += 1
        if self.round_index == 0:
            self._draw()
            self._place()
            return np.arange(self.n)
        former = self._churn() if self._asked.churns else np.arange(self.n)
        if self._due():
            self._draw()
        if self._asked.seen == "each":
            self._place_again()
        return former

    def _due(self) -> bool:
        period = self._asked.period
        if period and self.round_index % period == 0:
            return True
        return self._asked.churns and not self._reseats and len(self.owner) != self.n

    def _draw(self) -> None:
        asked, given = self._asked, {"cluster_size": self._asked.cluster_size, "round_index": self.round_index}
        self._clustering = self._seats = None
        self.drawing += 1
        if isinstance(self.policy, Assigning):
            self.owner = self.policy.assign(n=self.n, seed=asked.seed, **given)
        elif isinstance(self.policy, Scored) and self.standing is not None:
            self.owner = self.policy.assign_by(self.standing.score, seed=asked.seed, **given)
        else:
            self._clustering = self.policy(population=self._population(), seed=asked.seed, **given)
            self.owner = owners_of(self._clustering)

    def _population(self) -> Population:
        if self._facts is None or self._facts.n != self.n:
            self._facts = facts_of(self.n, self._asked.question.domains, self._asked.seed)
        return self._facts

    def clustering(self) -> Clustering:
        """Return the clusters as lists, which the simulation itself does not need."""
        if self._clustering is None:
            order = np.argsort(self.owner, kind="stable")
            runs = np.split(order, np.cumsum(np.bincount(self.owner))[:-1])
            self._clustering = Clustering(clusters=tuple(tuple(run.tolist()) for run in runs))
        return self._clustering

    def _view(self) -> PlacementView:
        asked, rule = self._asked.question, self._asked.question.rule
        return PlacementView(
            population=self._population(),
            f=asked.faults.total,
            conditions=asked.conditions,
            tolerate=withstood(rule, groups_of(np.bincount(self.owner)), asked.faults.crashed),
            seed=self._asked.seed,
            round_index=self.round_index,
            clustering=None if self._asked.seen == "nothing" else self.clustering(),
        )

    def _place(self) -> None:
        """Seat the faulty processes of all kinds; who of them has which kind is drawn."""
        asked = self._asked.question
        mask = self._placement(self._view())
        rng = public_stream(self._asked.seed, "simulation", "kinds")
        counts = (asked.faults.byzantine, asked.faults.crashed, asked.faults.curious)
        kinds = np.repeat((BYZANTINE, CRASHED, CURIOUS), counts)
        many = int(np.count_nonzero(mask))
        if placements.entry(asked.placement).facts.get("on_average"):  # each of a kind by itself
            self.kinds[mask] = rng.choice(kinds, size=many) if len(kinds) else HONEST
        else:
            self.kinds[mask] = rng.permutation(kinds)
        self._shares = np.bincount(self.kinds, minlength=4) / self.n

    def _placement(self, view: PlacementView) -> NDArray[np.bool_]:
        asked = self._asked.question
        defaults = placements.entry(asked.placement).defaults
        told = {"moves": asked.moves} if "moves" in defaults and asked.moves else {}
        return placements.make(placements.resolve({"name": asked.placement, **told}))(view)

    def _place_again(self) -> None:
        """Move the faults on: those that come take over the kinds of those that are left, in an order drawn."""
        before = self.kinds != HONEST
        after = self._placement(replace(self._view(), previous=before))
        rng = public_stream(self._asked.seed, "simulation", "moved kinds", self.round_index)
        self.kinds[after & ~before] = rng.permutation(self.kinds[before & ~after])
        self.kinds[before & ~after] = HONEST

    def _churn(self) -> NDArray[np.int64]:
        asked, n = self._asked, self.n
        rng = churn_stream(asked.seed, self.round_index)
        leaving = departures(rng, n=n, share=asked.leaves, least=self._least)
        joining = leaving if asked.joins == asked.leaves else int(rng.binomial(n, asked.joins))
        leavers = rng.choice(n, size=leaving, replace=False)
        back = rng.permutation(self.kinds[leavers])[:joining]
        more = rng.choice(4, size=max(joining - leaving, 0), p=self._shares).astype(np.int8)
        joiners = np.concatenate([leavers[:joining], np.arange(n, n + len(more))])
        kept = self._seated(leavers, joiners, rng)
        kinds = np.concatenate([self.kinds, more])
        kinds[joiners] = np.concatenate([back, more])
        self.kinds, self.n = kinds[kept], len(kept)
        former = np.arange(n + len(more))
        former[joiners] = -1
        former = former[kept]
        if self.standing is not None:
            self.standing.renumber(former)
        self.churn.joined += joining
        self.churn.left += leaving
        return former

    def _seated(
        self, leavers: NDArray[np.int64], joiners: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.int64]:
        """Seat the joins and leaves in turn, unless clusters are formed anew anyhow; return the numbers that remain."""
        asked = self._asked
        remains = np.ones(self.n + max(len(joiners) - len(leavers), 0), dtype=np.bool_)
        remains[leavers[len(joiners) :]] = False
        kept = np.flatnonzero(remains)
        if not self._reseats or (asked.period and self.round_index % asked.period == 0):
            return kept
        if self._seats is None:
            self._seats = Seats(self.owner, cluster_size=self._least, rng=rng)
        seats = self._seats
        before = seats.moved
        turn_over(seats, leavers[: len(joiners)])
        for leaver in leavers[len(joiners) :].tolist():
            seats.leave(leaver)
        for joiner in joiners[len(leavers) :].tolist():
            seats.join(joiner)
        seats.renumber()
        self.owner = seats.home.copy()
        self._clustering = None
        self.churn.seated += len(joiners)
        self.churn.unseated += len(leavers)
        self.churn.moved += seats.moved - before
        return kept
