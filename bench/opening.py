"""Opening the sums of all clusters of a round: batches of one size, and no cluster takes another one with it."""

from collections import defaultdict
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from bench.inside import Inside, computed
from bench.setting import Federation
from protocols.faults import Crash
from protocols.in_process import InProcessParties
from protocols.network import NetworkError
from protocols.parties import Parties
from protocols.types import Clustering, Traffic

__all__ = ["Opened", "open_sums"]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The means (m, d) of the clusters `numbers` (m,) that opened, whose words are in each, and what they cost.

    `exact` (m,) says of each whether the opened words are the ring's sum of its contributors' words, or the robust
    statistic of its members' words.
    """

    numbers: list[int]
    means: Tensor
    contributors: list[tuple[int, ...]]
    exact: list[bool]
    traffic: Traffic

    @property
    def added(self) -> Tensor:
        """How many processes' words are in each mean, int64 (m,)."""
        return torch.tensor([len(each) for each in self.contributors], dtype=torch.int64)


def open_sums(federation: Federation, words: Tensor, clustering: Clustering, parties: Parties) -> Opened:
    """Open every cluster's sum; a cluster that fails leaves the round, and its members the mean.

    Clusters of one size run as one batch. A batch that fails is run again cluster by cluster, so that a failing
    cluster takes no other one with it. A cluster with crashed members runs alone, among threads of this process: by
    the same code, with the same words and the same bytes, but no party process has to die for it.

    Raises: NetworkError when no cluster can open its sum although none has a crashed member.
    """
    crashing = [j for j, members in enumerate(clustering.clusters) if federation.crashed[list(members)].any()]
    by_size: dict[int, list[int]] = defaultdict(list)
    for j, size in enumerate(clustering.sizes):
        if j not in crashing:
            by_size[size].append(j)
    results: dict[int, Inside] = {}
    traffic, failure = Traffic.none(), None
    batches = [*by_size.values(), *([j] for j in crashing)]
    while batches:
        chosen = batches.pop()
        members = words[torch.tensor([clustering.clusters[j] for j in chosen])]
        try:
            opened = _chosen_parties(federation, clustering, chosen[0], parties).open_sums(federation.protocol, members)
        except NetworkError as error:
            failure = error
            batches += [[j] for j in chosen] if len(chosen) > 1 else []
            continue
        for j, inside in zip(chosen, computed(federation.protocol, federation.ring, members, opened), strict=True):
            if inside.contributors:  # nobody's update passed a check: nothing counts
                results[j] = replace(inside, contributors=_processes(clustering, j, inside.contributors))
        traffic = traffic.beside(opened.traffic)
    if failure is not None and not results and not crashing:
        raise failure
    there = sorted(results)
    return Opened(
        numbers=there,
        means=torch.stack([results[j].mean for j in there]) if there else words[:0].double(),
        contributors=[results[j].contributors for j in there],
        exact=[results[j].exact for j in there],
        traffic=traffic,
    )


def _chosen_parties(federation: Federation, clustering: Clustering, number: int, parties: Parties) -> Parties:
    members = clustering.clusters[number]
    crashed = [place for place, process in enumerate(members) if federation.crashed[process]]
    if not crashed:
        return parties
    return InProcessParties(len(members), faults={place: Crash(step=0) for place in crashed})


def _processes(clustering: Clustering, number: int, places: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(clustering.clusters[number][place] for place in places)
