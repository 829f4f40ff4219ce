"""Joins and leaves between re-clusterings: sizes stay balanced, and who joins does not choose its company.

Processes are 0..n-1: who joins gets the number n, and after a leave the larger numbers move down by one.
"""

import numpy as np

from protocols import check
from protocols.check import CloisterError
from protocols.randomness import public_stream
from protocols.types import Clustering, balanced_sizes

__all__ = ["join", "leave"]

Clusters = list[list[int]]


def join(clustering: Clustering, *, cluster_size: int, seed: int, event: int, swaps: int = 2) -> Clustering:
    """Return the clusters after process n has joined, by the swap-cuckoo rule.

    It gets a free place, swaps it with a process drawn from all, and `swaps` members of its new cluster swap places
    with processes drawn from all. `event` numbers joins and leaves; each draws from a stream of its own.

    Guarantees:
        The sizes stay those of balanced_sizes(n + 1, cluster_size), with a new cluster once there are enough.
        The place of the process that joins is uniform over all places.
        At most 1 + swaps pairs of processes change places, but for the members of a new cluster.

    Source: Awerbuch and Scheideler 2006, SPAA (cuckoo rule), with swaps instead of evictions, which keep sizes; cf.
    Sen and Freedman 2012, Commensal Cuckoo.
    """
    _check(clustering, cluster_size, swaps)
    rng = public_stream(seed, "clustering", "join", event)
    clusters = [list(cluster) for cluster in clustering.clusters]
    joining = clustering.n
    if (joining + 1) // cluster_size > len(clusters):
        clusters.append([*_taken(clusters, cluster_size, rng), joining])
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
        The sizes stay those of balanced_sizes(n - 1, cluster_size).
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
    if left // cluster_size < len(clusters):
        _dissolve(clusters, rng)
    else:
        _fill(clusters, home, rng)
        _shake(clusters, home, swaps, rng)
    return Clustering(clusters=tuple(tuple(each - (each > process) for each in cluster) for cluster in clusters))


def _check(clustering: Clustering, cluster_size: int, swaps: int) -> None:
    check.integer_at_least(0, swaps=swaps)
    if sorted(clustering.sizes, reverse=True) != list(balanced_sizes(clustering.n, cluster_size)):
        raise CloisterError(
            f"clusters of {clustering.sizes} are not balanced for cluster_size = {cluster_size}; allowed: "
            f"{balanced_sizes(clustering.n, cluster_size)} in any order"
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


def _taken(clusters: Clusters, cluster_size: int, rng: np.random.Generator) -> list[int]:
    """Take from each cluster what it has beyond the cluster size, drawn from its members."""
    taken: list[int] = []
    for cluster in clusters:
        for member in rng.permutation(cluster)[cluster_size:]:
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
