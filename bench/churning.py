"""Clusters of a training whose processes leave and join again between rounds."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks import attacks
from attacks.api import ChurnView, Rejoining
from attacks.plan import Part
from bench.cell import Cell
from bench.simulation.seats import Seats
from bench.simulation.turnover import churn_stream, departures, owners_of, turn_over
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.placements import knowledge, placements
from protocols.population import Population
from protocols.randomness import public_stream
from protocols.types import Clustering, balanced_sizes

__all__ = ["CHURNED", "Churning", "churning_of", "unfit_churn"]

CHURNED = ("rejoined_processes", "reseated_processes")
"""The columns: how many times a process left and joined again, and how many times another one changed its cluster for
that, between all rounds of a run."""


class Churning:
    """The clusters of each round: the policy's when it draws them, and in between those that churn makes of them.

    Before each later round a share of the processes leave on average, and as many join: the same ones, in an order
    drawn, each with its data, its faults and what it remembers. Seats are those of bench.simulation, so that a training
    has the clusters that a simulation of its churn has.

    Guarantees:
        The clusters of a round do not depend on how often, or for which rounds first, they are asked for.
        Sizes differ by at most one, and none is below the size asked for.
    """

    def __init__(self, cell: Cell) -> None:
        policy = clusterings.make(cell.clustering)
        self._share = cell.churn
        self._seed = cell.seed
        self._least = policy.smallest_cluster(cell.cluster_size)
        self._period = _period(cell)
        self._rounds: list[Clustering] = []
        self._seats: Seats | None = None
        self._who: NDArray[np.int64] = np.arange(cell.n)
        self.rejoined = self.reseated = 0

    @property
    def columns(self) -> dict[str, int]:
        """The columns CHURNED."""
        return dict(zip(CHURNED, (self.rejoined, self.reseated), strict=True))

    def clustering(
        self, round_index: int, draw: Callable[[int], Clustering], parts: tuple[Part, ...], population: Population
    ) -> Clustering:
        """Return the clusters of a round; `draw` gives the policy's, `parts` are the attacks that may use the churn."""
        while len(self._rounds) <= round_index:
            now = len(self._rounds)
            if now == 0 or (self._period and now % self._period == 0):
                self._seats, self._who = None, np.arange(population.n)
                self._rounds.append(draw(now))
            else:
                self._rounds.append(self._turned(now, parts, population))
        return self._rounds[round_index]

    def _turned(self, now: int, parts: tuple[Part, ...], population: Population) -> Clustering:
        before, n, rng = self._rounds[-1], len(self._who), churn_stream(self._seed, now)
        leaving = departures(rng, n=n, share=self._share, least=self._least)
        leavers = rng.choice(n, size=leaving, replace=False)
        for number, part in enumerate(parts):
            attack: Any = attacks.make(part.spec)
            if isinstance(attack, Rejoining) and part.strength(now):
                view = ChurnView(
                    clusters=before.clusters,
                    faulty=part.senders,
                    most=leaving,
                    features=population.features,
                    rng=public_stream(self._seed, "churn attack", now, number),
                )
                leavers = self._chosen(leavers, attack.leave(view), part)
        order = rng.permutation(len(leavers))
        if self._seats is None:
            self._seats = Seats(owners_of(before), cluster_size=self._least, rng=rng)
        if not len(leavers):
            return before
        moved = self._seats.moved
        turn_over(self._seats, leavers)
        self._seats.renumber()
        self.rejoined += len(leavers)
        self.reseated += self._seats.moved - moved
        self._who[leavers] = self._who[leavers][order]
        owner = self._seats.home
        members = [np.sort(self._who[owner == j]) for j in range(int(owner.max()) + 1)]
        return Clustering(clusters=tuple(tuple(each.tolist()) for each in members))

    def _chosen(self, leavers: NDArray[np.int64], wanted: NDArray[np.int64], part: Part) -> NDArray[np.int64]:
        """Return the seats whose holders leave: those that the adversary wants to, then honest ones of the drawn.

        No more leave than were drawn; who is placed as the adversary wants it does not leave.

        Raises: CloisterError for an attack that has others leave than its own.
        """
        if not part.senders[wanted].all():
            raise CloisterError(f"attack {part.spec.name!r} has others leave; allowed: its own processes")
        seat_of = np.argsort(self._who)
        others = leavers[~part.senders[self._who[leavers]]]
        return np.concatenate([seat_of[wanted], others])[: len(leavers)]


def churning_of(cell: Cell) -> Churning | None:
    """Return the churn of a cell; None where nobody leaves."""
    return Churning(cell) if cell.churn else None


def unfit_churn(cell: Cell) -> str | None:
    """Return why processes cannot leave and join again between the rounds of a cell, in words, or None."""
    reason = next(_unfit_parts(cell), None) if cell.churn else None
    return None if reason is None else f"churn = {cell.churn:g}: {reason}"


def _unfit_parts(cell: Cell) -> Iterator[str]:
    policy, name = clusterings.make(cell.clustering), cell.clustering.name
    sizes, least = policy.sizes(n=cell.n, cluster_size=cell.cluster_size), policy.smallest_cluster(cell.cluster_size)
    if clusterings.entry(name).facts.get("keeps_company"):
        yield f"{name} keeps processes together, whom joins and leaves would part"
    if "reports" in policy.needs or _period(cell) == 1:
        yield f"{name} draws other clusters in every round, so that nobody is seated in between"
    if len(sizes) < 2 or least < 2 or sizes != balanced_sizes(cell.n, least):
        yield f"{name} does not form several clusters, of two members or more, whose sizes differ by at most one"
    if cell.participants < cell.n:
        yield f"all processes are seated, and only {cell.participants} of {cell.n} take part"
    if cell.decentralised:
        yield f"with {cell.topology.name} clusters keep their models, and joins and leaves change who is in them"
    if knowledge(placements.entry(cell.placement.name)) != "nothing":
        yield f"{cell.placement.name} places faults by their clusters, which joins and leaves change"


def _period(cell: Cell) -> int:
    """Return after how many rounds the policy draws other clusters; 0: never."""
    entry, every = clusterings.entry(cell.clustering.name), dict(cell.clustering.parameters).get("every")
    if isinstance(every, int):
        return every
    return 1 if entry.facts.get("drawn") else 0
