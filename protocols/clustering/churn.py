"""Joins and leaves between re-clusterings: sizes stay balanced, and who joins does not choose its company.

Processes are 0..n-1: who joins gets the number n, and after a leave the larger numbers move down by one. A cluster is
formed half a cluster's worth of joins after one would have been dissolved, so that a process that comes and goes does
not form and dissolve one each time, and with it choose who is re-seated.
"""

import numpy as np

from protocols import check
from protocols.check import CloisterError
from protocols.clustering._hysteresis import even_sizes, too_few, too_many
from protocols.randomness import public_stream
from protocols.types import Clustering

__all__ = ["join", "leave"]

Clusters = list[list[int]]


def join(clustering: Clustering, *, cluster_size: int, seed: int, event: int, swaps: int = 2) -> Clustering:
    """Return the clusters after process n has joined, by the swap-cuckoo rule.

    It gets a free place, swaps it with a process drawn from all, and `swaps` members of its new cluster swap places
    with processes drawn from all. `event` numbers joins and leaves; each draws from a stream of its own.

    Guarantees:
        Sizes differ by at most one, and are from cluster_size to less than twice that (two and a half times, with one
            cluster).
        A cluster is formed with half a cluster's worth of processes to spare, so that as many leaves dissolve none.
        The place of the process that joins is uniform over all places.
        At most 1 + swaps pairs of processes change places, but for the members of a new cluster.

    Source: Awerbuch and Scheideler 2006, SPAA (cuckoo rule), with swaps instead of evictions, which keep sizes; cf.
    Sen and Freedman 2012, Commensal Cuckoo.
    """
    _check(clustering, cluster_size, swaps)
    rng = public_stream(seed, "clustering", "join", event)
    clusters = [list(cluster) for cluster in clustering.clusters]
    joining = clustering.n
    if too_many(joining + 1, len(clusters), cluster_size):
        clusters.append([*_taken(clusters, joining + 1, rng), joining])
    else:
        min(clusters, key=len).append(joining)
    _swap(clusters, joining, int(rng.integers(joining + 1)))
    # Its own place is uniform already, and stays so.
    _shake(clusters, [each for each in _home(clusters, joining) if each != joining], swaps, rng)
    return Clustering(clusters=tuple(map(tuple, clusters)))


def leave(
    clustering: Clustering, process: int, *, cluster_size: int, seed: int, event: int, swaps: int = 2
) -> Clustering:
    """Return the clusters after a process has left, its cluster filled up and stirred.

    A member of a largest cluster takes the place, and `swaps` members of the cluster that was left swap places with
    processes drawn from all. Where there are no longer enough for as many clusters, one drawn from all is dissolved
    instead.

    Guarantees:
        Sizes differ by at most one, and none is below cluster_size.
        Processes keep their order: numbers above the one that left move down by one.

    Raises: CloisterError for a process that is not there, or when too few would be left for one cluster.
    """
    _check(clustering, cluster_size, swaps)
    left = clustering.n - 1
    if not 0 <= process <= left or left < cluster_size:
        raise CloisterError(
            f"process = {process} of n = {left + 1} cannot leave clusters of {cluster_size}; allowed: 0 to {left}, "
            f"while more than {cluster_size} are there"
        )
    rng = public_stream(seed, "clustering", "leave", event)
    clusters = [list(cluster) for cluster in clustering.clusters]
    home = _home(clusters, process)
    home.remove(process)
    if too_few(left, len(clusters), cluster_size):
        _dissolve(clusters, rng)
    else:
        _fill(clusters, home, rng)
        _shake(clusters, home, swaps, rng)
    return Clustering(clusters=tuple(tuple(each - (each > process) for each in cluster) for cluster in clusters))


def _check(clustering: Clustering, cluster_size: int, swaps: int) -> None:
    check.integer_at_least(0, swaps=swaps)
    sizes = sorted(clustering.sizes, reverse=True)
    even = even_sizes(clustering.n, len(sizes))
    if sizes != even or sizes[-1] < cluster_size:
        raise CloisterError(
            f"clusters of {clustering.sizes} are not balanced for cluster_size = {cluster_size}; allowed: sizes of at "
            f"least {cluster_size} that differ by at most one, such as {even}"
        )


def _home(clusters: Clusters, process: int) -> list[int]:
    return next(cluster for cluster in clusters if process in cluster)


def _swap(clusters: Clusters, a: int, b: int) -> None:
    first, second = _home(clusters, a), _home(clusters, b)
    i, j = first.index(a), second.index(b)
    first[i], second[j] = second[j], first[i]


def _shake(clusters: Clusters, members: list[int], swaps: int, rng: np.random.Generator) -> None:
    """Swap some of the members, drawn from them, with processes drawn from all."""
    everyone = sorted(process for cluster in clusters for process in cluster)
    for member in rng.permutation(members)[:swaps]:
        _swap(clusters, int(member), everyone[int(rng.integers(len(everyone)))])


def _taken(clusters: Clusters, n: int, rng: np.random.Generator) -> list[int]:
    """Take from each cluster what one more cluster leaves it of n processes, drawn from its members."""
    taken: list[int] = []
    even = even_sizes(n, len(clusters) + 1)
    # The new cluster, who has one to come, is one of the smallest; the largest keep the most.
    for cluster, size in zip(sorted(clusters, key=len, reverse=True), even[:-1], strict=True):
        for member in rng.permutation(cluster)[size:]:
            cluster.remove(int(member))
            taken.append(int(member))
    return taken


def _fill(clusters: Clusters, home: list[int], rng: np.random.Generator) -> None:
    """Move one member of a largest cluster, both drawn, to the cluster that lost one, where sizes ask for it."""
    largest = max(map(len, clusters))
    if len(home) < largest - 1:
        donors = [cluster for cluster in clusters if len(cluster) == largest]
        donor = donors[int(rng.integers(len(donors)))]
        home.append(donor.pop(int(rng.integers(largest))))


def _dissolve(clusters: Clusters, rng: np.random.Generator) -> None:
    """Deal the members of a cluster drawn from all to the others, the smallest first."""
    for member in rng.permutation(clusters.pop(int(rng.integers(len(clusters))))):
        min(clusters, key=len).append(int(member))
