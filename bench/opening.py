"""Opening the sums of all clusters of a round: batches of one size, and no cluster takes another one with it."""

from collections import defaultdict
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.setting import Federation
from protocols.faults import Crash
from protocols.in_process import InProcessParties
from protocols.network import NetworkError
from protocols.parties import OpenedSums, Parties
from protocols.types import Clustering, Traffic

__all__ = ["Opened", "open_sums"]


@dataclass(frozen=True, kw_only=True)
class Opened:
    """The sums (m, d) of the clusters `numbers` (m,) that opened, whose words are in each, and what they cost.

    `exact` (m,) says of each whether it is the ring's sum of its contributors' words.
    """

    numbers: list[int]
    sums: Tensor
    contributors: list[tuple[int, ...]]
    exact: list[bool]
    traffic: Traffic

    @property
    def added(self) -> Tensor:
        """How many processes' words are in each sum, int64 (m,)."""
        return torch.tensor([len(each) for each in self.contributors], dtype=torch.int64)


@dataclass(frozen=True, kw_only=True)
class _Result:
    sums: Tensor
    contributors: tuple[int, ...]
    exact: bool


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
    results: dict[int, _Result] = {}
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
        results |= _results(federation, clustering, chosen, members, opened)
        traffic = traffic.beside(opened.traffic)
    if failure is not None and not results and not crashing:
        raise failure
    there = sorted(results)
    return Opened(
        numbers=there,
        sums=torch.stack([results[j].sums for j in there]) if there else words[:0],
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


def _results(
    federation: Federation, clustering: Clustering, chosen: list[int], members: Tensor, opened: OpenedSums
) -> dict[int, _Result]:
    expected = federation.ring.wrap(members[:, list(opened.contributors)].sum(dim=1))
    return {
        j: _Result(
            sums=sums,
            contributors=tuple(clustering.clusters[j][place] for place in opened.contributors),
            exact=torch.equal(sums, right),
        )
        for j, sums, right in zip(chosen, opened.sums, expected, strict=True)
    }
