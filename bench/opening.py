"""Opening the sums of all clusters of a round: batches of one size, and no cluster takes another one with it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.handing import Handed
from bench.inside import Inside, computed
from bench.setting import Federation
from protocols.faults import Crash
from protocols.faulty_link import Fault
from protocols.in_process import InProcessParties
from protocols.network import CheatingDetectedError, NetworkError
from protocols.parties import Parties
from protocols.types import Clustering, Traffic

__all__ = ["Opened", "open_sums"]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The means (m, d) of the clusters `numbers` (m,) that opened, whose words are in each, and what they cost.

    `exact` (m,) says of each whether the opened words are the ring's sum of its contributors' words, or the robust
    statistic of its members' words. `named` are the processes that were named as cheats; `lost` is the part of the
    traffic that opened nothing; `faulty` are the clusters, opened or not, in which somebody misbehaved. `empty` are
    those that opened that nobody's update passed their check, and so have no mean.
    Where cluster sums stay hidden, only the rule's result opened, `aggregate` (d,) plus `noise` (d,), of which nobody
    faulty knows `protection` times what the mechanism asks for. The means are then what nobody saw; `told` are the
    processes whose updates the result, or sums that colluding delegates know, tell the colluding ones.
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
    aggregate: Tensor | None = None
    noise: Tensor | None = None
    protection: float = 1.0
    told: frozenset[int] = frozenset()

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
    misconduct: Mapping[int, Fault] = MappingProxyType({}),
    *,
    handed: Handed | None = None,
) -> Opened:
    """Open every cluster's sum; a cluster that fails leaves the round, and its members the mean.

    Clusters of one size run as one batch. A batch that fails is run again cluster by cluster, so that a failing
    cluster takes no other one with it. A cluster with crashed members, or with some that misbehave, runs alone, among
    threads of this process: by the same code, with the same words and the same bytes, but no party process has to die
    for it. `misconduct` says what processes do to the messages that they send, and `handed` which models they hold: a
    cluster whose members hold different ones runs alone as well.

    Raises: NetworkError when no cluster can open its sum although none has a faulty member.
    """
    failing = federation.crashed.copy()
    failing[list(misconduct)] = True
    misled = np.zeros_like(failing) if handed is None else handed.misled
    failing |= misled
    crashing = [j for j, members in enumerate(clustering.clusters) if failing[list(members)].any()]
    by_size: dict[int, list[int]] = defaultdict(list)
    for j, size in enumerate(clustering.sizes):
        if j not in crashing:
            by_size[size].append(j)
    results: dict[int, Inside] = {}
    traffic, lost, failure = Traffic.none(), Traffic.none(), None
    named: set[int] = set()
    empty: set[int] = set()
    batches = [*by_size.values(), *([j] for j in crashing)]
    while batches:
        chosen = batches.pop()
        batch = [clustering.clusters[j] for j in chosen]
        members = words[torch.tensor(batch)]
        group = _chosen_parties(federation, batch[0], parties, misconduct, misled)
        try:
            opened = group.open_sums(federation.protocol, members, None if handed is None else handed.of_batch(batch))
        except NetworkError as error:
            failure = error
            batches += [[j] for j in chosen] if len(chosen) > 1 else []
            if len(chosen) == 1:
                named |= {clustering.clusters[chosen[0]][place] for place in _named(error)}
                lost = lost.beside(group.spent if isinstance(group, InProcessParties) else Traffic.none())
            continue
        if len(chosen) == 1:
            named |= {clustering.clusters[chosen[0]][place] for place in opened.suspects}
        for j, inside in zip(chosen, computed(federation.protocol, federation.ring, members, opened), strict=True):
            if not inside.contributors:
                empty.add(j)
            else:
                results[j] = replace(inside, contributors=_processes(clustering, j, inside.contributors))
        traffic = traffic.beside(opened.traffic)
    if failure is not None and not results and not empty and not crashing:
        raise failure
    there = sorted(results)
    return Opened(
        numbers=there,
        means=torch.stack([results[j].mean for j in there]) if there else words[:0].double(),
        contributors=[results[j].contributors for j in there],
        exact=[results[j].exact for j in there],
        traffic=traffic.beside(lost),
        named=frozenset(named),
        lost=lost,
        faulty=frozenset(
            j for j in crashing if any(each in misconduct or misled[each] for each in clustering.clusters[j])
        ),
        empty=frozenset(empty),
    )


def _named(error: NetworkError) -> frozenset[int]:
    """Return whom an error names as a cheat: one of several suspects is nobody in particular."""
    suspects = error.suspects if isinstance(error, CheatingDetectedError) else frozenset[int]()
    return suspects if len(suspects) == 1 else frozenset()


def _chosen_parties(
    federation: Federation,
    members: tuple[int, ...],
    parties: Parties,
    misconduct: Mapping[int, Fault],
    misled: NDArray[np.bool_],
) -> Parties:
    """Return who opens the sum of a cluster; one with faulty members keeps its parties, who remember what they sent."""
    faults: dict[int, Fault] = {place: misconduct[each] for place, each in enumerate(members) if each in misconduct}
    faults |= {place: Crash(step=0) for place, process in enumerate(members) if federation.crashed[process]}
    if not faults and not misled[list(members)].any():
        return parties
    company = tuple(int(federation.numbers[process]) for process in members)
    if company not in federation.companies:
        shared: dict[int, Fault] = {}
        federation.companies[company] = InProcessParties(len(members), faults=shared), shared
    group, present = federation.companies[company]
    present.clear()
    present.update(faults)
    return group


def _processes(clustering: Clustering, number: int, places: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(clustering.clusters[number][place] for place in places)
