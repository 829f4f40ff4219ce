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

CHURNED = ("rejoined_processes", "new_processes", "reseated_processes")
"""The columns: how many times a process left and one joined, how many of these had never been there, and how many times
another one changed its cluster for that, between all rounds of a run."""


class Churning:
    """The clusters of each round: the policy's when it draws them, and in between those that churn makes of them.

    Before each later round a share of the processes leave on average, and as many join: drawn from those that wait in
    reserve and those that have just left, each with its data, its faults and what it remembers. Without a reserve they
    are the same ones, in an order drawn. All data are dealt before the first round: who has not joined yet holds its
    part, and nobody learns from it. Seats are those of bench.simulation, so that a training has the clusters that a
    simulation of its churn has.

    Guarantees:
        The clusters of a round do not depend on how often, or for which rounds first, they are asked for.
        Sizes differ by at most one, and none is below the size asked for.
        As many processes are there in every round.
    """

    def __init__(self, cell: Cell) -> None:
        policy = clusterings.make(cell.clustering)
        self._share = cell.churn
        self._seed = cell.seed
        self._least = policy.smallest_cluster(cell.cluster_size)
        self._period = _period(cell)
        everybody = public_stream(cell.seed, "reserve").permutation(cell.n) if cell.reserve else np.arange(cell.n)
        self._reserve: NDArray[np.int64] = np.sort(everybody[cell.n - cell.reserve :])
        self._who: NDArray[np.int64] = np.sort(everybody[: cell.n - cell.reserve])
        self._known = np.isin(np.arange(cell.n), self._who)
        self._rounds: list[tuple[NDArray[np.int64], Clustering]] = []
        self._seats: Seats | None = None
        self.rejoined = self.reseated = 0

    @property
    def columns(self) -> dict[str, int]:
        """The columns CHURNED."""
        new = int(self._known.sum()) - len(self._who)
        return dict(zip(CHURNED, (self.rejoined, new, self.reseated), strict=True))

    def advance(
        self,
        round_index: int,
        draw: Callable[[int, NDArray[np.int64]], Clustering],
        parts: tuple[Part, ...],
        population: Population,
    ) -> None:
        """Make the clusters up to a round; `parts` are the attacks that may use the churn, of all processes.

        `draw` gives the policy's clusters of those that are there, by their places among them.
        """
        while len(self._rounds) <= round_index:
            now = len(self._rounds)
            if now == 0 or (self._period and now % self._period == 0):
                self._seats, self._who = None, np.sort(self._who)
                self._rounds.append((self._who.copy(), draw(now, self._who)))
            else:
                self._rounds.append(self._turned(now, parts, population))

    def present(self, round_index: int) -> NDArray[np.int64]:
        """Return the numbers of the processes that are there in a round, in order."""
        return self._rounds[round_index][0]

    def clustering(self, round_index: int) -> Clustering:
        """Return the clusters of a round, by the places of those that are there."""
        return self._rounds[round_index][1]

    def _turned(
        self, now: int, parts: tuple[Part, ...], population: Population
    ) -> tuple[NDArray[np.int64], Clustering]:
        (present, before), n, rng = self._rounds[-1], len(self._who), churn_stream(self._seed, now)
        leaving = departures(rng, n=n, share=self._share, least=self._least)
        leavers = rng.choice(n, size=leaving, replace=False)
        for number, part in enumerate(parts):
            attack: Any = attacks.make(part.spec)
            if isinstance(attack, Rejoining) and part.strength(now):
                view = ChurnView(
                    clusters=before.clusters,
                    faulty=part.senders[present],
                    most=leaving,
                    features=None if population.features is None else population.features[present],
                    rng=public_stream(self._seed, "churn attack", now, number),
                )
                leavers = self._chosen(leavers, present[attack.leave(view)], part)
        order = rng.permutation(len(leavers))
        if self._seats is None:
            self._seats = Seats(owners_of(before), cluster_size=self._least, rng=rng)
        if not len(leavers):
            return present, before
        moved = self._seats.moved
        turn_over(self._seats, leavers)
        self._seats.renumber()
        self.rejoined += len(leavers)
        self.reseated += self._seats.moved - moved
        self._who[leavers] = self._joining(self._who[leavers], order, now)
        return self._seated(self._seats.home)

    def _joining(self, left: NDArray[np.int64], order: NDArray[np.int64], now: int) -> NDArray[np.int64]:
        """Return who joins, in the order of the seats of those that have left; the others wait in reserve."""
        if not len(self._reserve):
            return left[order]
        outside = np.sort(np.concatenate([left, self._reserve]))
        joining = public_stream(self._seed, "who joins", now).choice(outside, size=len(left), replace=False)
        self._reserve = np.setdiff1d(outside, joining)
        self._known[joining] = True
        return joining

    def _seated(self, owner: NDArray[np.int64]) -> tuple[NDArray[np.int64], Clustering]:
        """Return who is there, and the clusters by places; `owner` is the cluster of each seat."""
        present = np.sort(self._who)
        places = np.searchsorted(present, self._who)
        members = [np.sort(places[owner == j]) for j in range(int(owner.max()) + 1)]
        return present, Clustering(clusters=tuple(tuple(each.tolist()) for each in members))

    def _chosen(self, leavers: NDArray[np.int64], wanted: NDArray[np.int64], part: Part) -> NDArray[np.int64]:
        """Return the seats whose holders leave: those that the adversary wants to, then honest ones of the drawn.

        No more leave than were drawn; who is placed as the adversary wants it does not leave.

        Raises: CloisterError for an attack that has others leave than its own.
        """
        if not part.senders[wanted].all():
            raise CloisterError(f"attack {part.spec.name!r} has others leave; allowed: its own processes")
        seat_of = np.full(len(self._known), -1)
        seat_of[self._who] = np.arange(len(self._who))
        others = leavers[~part.senders[self._who[leavers]]]
        return np.concatenate([seat_of[wanted], others])[: len(leavers)]


def churning_of(cell: Cell) -> Churning | None:
    """Return the churn of a cell; None where nobody leaves."""
    return Churning(cell) if cell.churn else None


def unfit_churn(cell: Cell) -> str | None:
    """Return why processes cannot leave and join again between the rounds of a cell, in words, or None."""
    if cell.reserve and not cell.churn:
        return f"reserve = {cell.reserve}: nobody joins from it, as churn = 0 lets nobody leave"
    reason = next(_unfit_parts(cell), None) if cell.churn else None
    return None if reason is None else f"churn = {cell.churn:g}: {reason}"


def _unfit_parts(cell: Cell) -> Iterator[str]:
    policy, name = clusterings.make(cell.clustering), cell.clustering.name
    there = cell.n - cell.reserve
    sizes, least = policy.sizes(n=there, cluster_size=cell.cluster_size), policy.smallest_cluster(cell.cluster_size)
    if clusterings.entry(name).facts.get("keeps_company"):
        yield f"{name} keeps processes together, whom joins and leaves would part"
    if "reports" in policy.needs or _period(cell) == 1:
        yield f"{name} draws other clusters in every round, so that nobody is seated in between"
    if len(sizes) < 2 or least < 2 or sizes != balanced_sizes(there, least):
        yield f"{name} does not form several clusters, of two members or more, whose sizes differ by at most one"
    if cell.participants < there:
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
