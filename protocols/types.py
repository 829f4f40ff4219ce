"""The small frozen types that every layer shares."""

from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError

__all__ = ["Clustering", "Cost", "Cover", "Hierarchy", "Traffic", "balanced_sizes"]


def balanced_sizes(n: int, cluster_size: int) -> tuple[int, ...]:
    """Return the sizes of floor(n / cluster_size) clusters: all >= cluster_size, differing by at most one.

    A small last cluster would have fewer honest members than promised, so the remainder is spread instead.
    """
    check.integer_at_least(1, n=n, cluster_size=cluster_size)
    if cluster_size > n:
        raise CloisterError(f"cluster_size = {cluster_size} does not fit n = {n} processes; allowed: 1 to {n}")
    m = n // cluster_size
    return tuple(n // m + (1 if j < n % m else 0) for j in range(m))


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Disjoint clusters of the processes 0..n-1, each a tuple of its members.

    Guarantees:
        Every process is in exactly one cluster, and no cluster is empty.
    """

    clusters: tuple[tuple[int, ...], ...]

    def __post_init__(self) -> None:
        members = sorted(process for cluster in self.clusters for process in cluster)
        if members != list(range(len(members))) or not all(self.clusters):
            raise CloisterError(f"clusters = {self.clusters!r} are not a partition of 0..n-1 into non-empty clusters")

    @property
    def n(self) -> int:
        """The number of processes."""
        return sum(self.sizes)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The size of each cluster."""
        return tuple(len(cluster) for cluster in self.clusters)

    def faulty_counts(self, faulty: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Return the number of faulty members of each cluster, given a mask over the n processes."""
        if faulty.shape != (self.n,):
            raise CloisterError(f"a mask of shape {faulty.shape} does not fit; allowed: one of {self.n} processes")
        return np.array([int(faulty[list(cluster)].sum()) for cluster in self.clusters], dtype=np.int64)


@dataclass(frozen=True, kw_only=True)
class Cover:
    """Several partitions of the same processes, so that each process is in as many clusters as there are partitions.

    Guarantees:
        Every process is in exactly one cluster of each partition.
    """

    partitions: tuple[Clustering, ...]

    def __post_init__(self) -> None:
        if len({partition.n for partition in self.partitions}) != 1:
            counts = [partition.n for partition in self.partitions]
            raise CloisterError(f"partitions of {counts} processes are no cover; allowed: one or more, all of the same")

    @property
    def membership(self) -> NDArray[np.int64]:
        """Which sums a process is in: 0/1 of shape (clusters of all partitions, n)."""
        clusters = [cluster for partition in self.partitions for cluster in partition.clusters]
        table = np.zeros((len(clusters), self.partitions[0].n), dtype=np.int64)
        for row, cluster in zip(table, clusters, strict=True):
            row[list(cluster)] = 1
        return table


@dataclass(frozen=True, kw_only=True)
class Hierarchy:
    """Clusters of processes, groups of these clusters, groups of these groups, ..: each level a partition of the last.

    Guarantees:
        Each level partitions the clusters of the level below it.
    """

    levels: tuple[Clustering, ...]

    def __post_init__(self) -> None:
        for below, above in pairwise(self.levels):
            if above.n != len(below.clusters):
                raise CloisterError(
                    f"a level groups {above.n} clusters of {len(below.clusters)}; allowed: all of the level below"
                )

    @property
    def leaves(self) -> Clustering:
        """The clusters of processes."""
        return self.levels[0]

    def processes(self, level: int) -> Clustering:
        """Return the processes of each group of a level; level 0 are the leaves."""
        formed = self.levels[0].clusters
        for above in self.levels[1 : level + 1]:
            formed = tuple(tuple(process for j in group for process in formed[j]) for group in above.clusters)
        return Clustering(clusters=formed)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What left the parties: bytes, messages, and rounds as the longest chain of dependent messages.

    `comparisons` are the lanes in which shared numbers are compared, each once for all parties: 64 a word, those of
    the last word that hold nothing among them, as they are computed like the others.
    """

    payload_bytes: int
    wire_bytes: int
    messages: int
    rounds: int
    comparisons: int = 0

    @classmethod
    def none(cls, *, rounds: int = 0, comparisons: int = 0) -> "Cost":
        """Return the cost of sending nothing."""
        return cls(payload_bytes=0, wire_bytes=0, messages=0, rounds=rounds, comparisons=comparisons)

    def beside(self, other: "Cost") -> "Cost":
        """Return the cost of both done at the same time: bytes add up, the longer chain of rounds counts."""
        return Cost(
            payload_bytes=self.payload_bytes + other.payload_bytes,
            wire_bytes=self.wire_bytes + other.wire_bytes,
            messages=self.messages + other.messages,
            rounds=max(self.rounds, other.rounds),
            comparisons=self.comparisons + other.comparisons,
        )

    def times(self, count: int) -> "Cost":
        """Return the cost of doing this so many times at the same time."""
        return reduce(Cost.beside, [self] * count, Cost.none())

    def then(self, other: "Cost") -> "Cost":
        """Return the cost of one after the other: bytes and rounds add up."""
        together = self.beside(other)
        return Cost(
            payload_bytes=together.payload_bytes,
            wire_bytes=together.wire_bytes,
            messages=together.messages,
            rounds=self.rounds + other.rounds,
            comparisons=together.comparisons,
        )


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """What a batch of secure sums sends: before the inputs are needed, among the members, from and to the board."""

    offline: Cost
    mpc: Cost
    upload: Cost

    @classmethod
    def none(cls) -> "Traffic":
        """Return the traffic of sending nothing."""
        return cls(offline=Cost.none(), mpc=Cost.none(), upload=Cost.none())

    @property
    def wire_bytes(self) -> int:
        """All bytes on the wire, headers included."""
        return self.offline.wire_bytes + self.mpc.wire_bytes + self.upload.wire_bytes

    @property
    def rounds(self) -> int:
        """The longest chain of dependent messages, offline included."""
        return self.offline.rounds + self.mpc.rounds + self.upload.rounds

    @property
    def comparisons(self) -> int:
        """The lanes in which shared numbers are compared; see Cost."""
        return self.offline.comparisons + self.mpc.comparisons + self.upload.comparisons

    def beside(self, other: "Traffic") -> "Traffic":
        """Return the traffic of both at the same time."""
        return Traffic(
            offline=self.offline.beside(other.offline),
            mpc=self.mpc.beside(other.mpc),
            upload=self.upload.beside(other.upload),
        )
