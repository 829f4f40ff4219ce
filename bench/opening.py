"""Opening the sums of all clusters of a round: batches of one size, and no cluster takes another one with it."""

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from bench.handing import Handed
from bench.inside import Inside, computed
from bench.numbering import batch_number
from bench.seating import Sitting, at_work, seated
from bench.setting import Federation
from protocols.faults import Crash
from protocols.faulty_link import Fault
from protocols.network import CheatingDetectedError, NetworkError
from protocols.parties import NO_FAULTS, OpenedSums, Parties
from protocols.types import Clustering, Traffic

__all__ = ["Opened", "named_in", "open_sums"]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The means (m, d) of the clusters `numbers` (m,) that opened, whose words are in each, and what they cost.

    `exact` (m,) says of each whether the opened words are the ring's sum of its contributors' words, or the robust
    statistic of its members' words. `named` are the processes that were named as cheats; `lost` is the part of the
    traffic that opened nothing; `faulty` are the clusters, opened or not, in which somebody misbehaved. `empty` are
    those that opened that nobody's update passed their check, and so have no mean. `excluded` are the members whose
    updates a check of inputs did not pass, whoever made it so; None where there is no check. Only who is also `named`
    has surely cheated.
    Where cluster sums stay hidden, only the rule's result opened, `aggregate` (d,) plus `noise` (d,), of which nobody
    faulty knows `protection` times what the mechanism asks for. The means are then what nobody saw; `told` are the
    processes whose updates the result, or sums and inputs that colluding delegates hold, tell the colluding ones, or
    may have told before nothing opened. `stopped`: somebody who misbehaves kept all from opening anything, wrong or
    right.
    """

    numbers: list[int]
    means: Tensor
    contributors: list[tuple[int, ...]]
    exact: list[bool]
    traffic: Traffic
    named: frozenset[int] = frozenset()
    lost: Traffic = field(default_factory=Traffic.none)
    faulty: frozenset[int] = frozenset()
    empty: frozenset[int] = frozenset()
    excluded: frozenset[int] | None = None
    aggregate: Tensor | None = None
    noise: Tensor | None = None
    protection: float = 1.0
    told: frozenset[int] = frozenset()
    stopped: bool = False

    @property
    def added(self) -> Tensor:
        """How many processes' words are in each mean, int64 (m,)."""
        return torch.tensor([len(each) for each in self.contributors], dtype=torch.int64)

    def left_out(self, clustering: Clustering) -> frozenset[int]:
        """Return the members of clusters that opened a sum without their words."""
        members = frozenset(process for j in self.numbers for process in clustering.clusters[j])
        return members - frozenset(process for each in self.contributors for process in each)


def open_sums(
    federation: Federation,
    words: Tensor,
    clustering: Clustering,
    parties: Parties,
    misconduct: Mapping[int, Fault] = NO_FAULTS,
    *,
    round_index: int,
    handed: Handed | None = None,
) -> Opened:
    """Open every cluster's sum; a cluster that fails leaves the round, and its members the mean.

    Clusters of one size run as one batch. A batch that fails is run again cluster by cluster, so that a failing
    cluster takes no other one with it. A cluster with crashed members, or with some that misbehave, runs alone. Who
    crashes, in whatever exchange, is back in the next batch. `misconduct` says what processes do to the messages that
    they send; where it is more than a crash, the federation's `hire` says who plays the cluster. Clusters whose members
    swap messages run together, and fail together. `handed` says which models the processes hold: a cluster in which
    somebody holds another one than is announced runs alone as well.

    Raises: NetworkError when no cluster can open its sum although none has a faulty member.
    """
    gone = frozenset(np.flatnonzero(federation.crashed).tolist())
    doings = at_work(clustering, gone, misconduct)
    found = _Found(in_range=federation.in_range)
    misled = frozenset[int]() if handed is None else frozenset(np.flatnonzero(handed.misled).tolist())
    waiting = deque(seated(clustering, gone, doings, misled=misled))
    faulty = bool(misled) or any(sitting.misbehaves for sitting in waiting)
    while waiting:
        sitting = waiting.popleft()
        members = words[torch.tensor(sitting.seats)]
        group = _chosen_parties(federation, sitting, parties)
        number = batch_number(
            seed=federation.seed, round_index=round_index, attempt=sitting.attempt, cluster=sitting.numbers[0]
        )
        try:
            models = None if handed is None else handed.of_batch(sitting.seats)
            opened = group.open_sums(federation.protocol, members, number=number, faults=sitting.faults, models=models)
        except NetworkError as error:
            found.failure = error
            if len(sitting.numbers) > 1 and not sitting.misbehaves:
                waiting += sitting.alone
            else:
                found.lose(sitting, named_in(error), group.spent)
            continue
        found.add(sitting, computed(federation.protocol, federation.ring, members, opened), opened)
    if found.failure is not None and not found.results and not found.empty and not faulty:
        raise found.failure
    there = sorted(found.results)
    return Opened(
        numbers=there,
        means=torch.stack([found.results[j].mean for j in there]) if there else words[:0].double(),
        contributors=[found.results[j].contributors for j in there],
        exact=[found.results[j].exact for j in there],
        traffic=found.traffic.beside(found.lost),
        named=frozenset(found.named),
        lost=found.lost,
        faulty=frozenset(j for j, members in enumerate(clustering.clusters) if (doings.keys() | misled) & set(members)),
        empty=frozenset(found.empty),
        excluded=None if found.excluded is None else frozenset(found.excluded),
    )


@dataclass(kw_only=True)
class _Found:
    """What the batches of a round have opened, who was named in them, and what they cost.

    Where only inputs `in_range` are added, who is left out has entered what no honest member enters, unless somebody
    misbehaves, who may have others left out.
    """

    in_range: bool
    results: dict[int, Inside] = field(default_factory=dict[int, Inside])
    empty: set[int] = field(default_factory=set[int])
    excluded: set[int] | None = None
    named: set[int] = field(default_factory=set[int])
    traffic: Traffic = field(default_factory=Traffic.none)
    lost: Traffic = field(default_factory=Traffic.none)
    failure: NetworkError | None = None

    def add(self, sitting: Sitting, inside: Sequence[Inside], opened: OpenedSums) -> None:
        """Take over what a batch has opened."""
        if len(sitting.numbers) == 1 or sitting.misbehaves:
            self._name(sitting, opened.suspects)
        for number, members, each in zip(sitting.numbers, sitting.seats, inside, strict=True):
            contributors = tuple(members[place] for place in each.contributors)
            if contributors:
                self.results[number] = replace(each, contributors=contributors)
            else:
                self.empty.add(number)
            if opened.kept is not None:
                self._exclude({members[place] for place in opened.contributors} - set(contributors))
                if self.in_range and contributors and not sitting.misbehaves:
                    self.named.update(set(members) - set(contributors))
        self.traffic = self.traffic.beside(opened.traffic)

    def _exclude(self, processes: Collection[int]) -> None:
        self.excluded = {*(self.excluded or ()), *processes}

    def lose(self, sitting: Sitting, suspects: Collection[int], spent: Traffic) -> None:
        """Take note of a batch that opened nothing."""
        self._name(sitting, suspects)
        self.lost = self.lost.beside(spent)

    def _name(self, sitting: Sitting, places: Collection[int]) -> None:
        self.named.update(process for place in places for process in sitting.members(place))


def named_in(error: NetworkError) -> frozenset[int]:
    """Return whom an error names as a cheat: one of several suspects is nobody in particular."""
    suspects = error.suspects if isinstance(error, CheatingDetectedError) else frozenset[int]()
    return suspects if len(suspects) == 1 else frozenset()


def _chosen_parties(federation: Federation, sitting: Sitting, parties: Parties) -> Parties:
    """Return who opens a batch; where members do worse than crash, those do who remember what they sent in it."""
    if all(isinstance(fault, Crash) for fault in sitting.faults.values()):
        return parties
    company = tuple(int(federation.numbers[process]) for members in sitting.seats for process in members)
    if company not in federation.companies:
        federation.companies[company] = federation.hire(len(sitting.seats[0]))
    return federation.companies[company]
