"""Joins and leaves between drawings, on arrays: the rule of protocols.clustering.churn for 10^5 processes and more."""

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.clustering._hysteresis import too_few, too_many

__all__ = ["Seats"]

Counts = NDArray[np.int64]
Owner = NDArray[np.int64]
_NOBODY = -1


class Seats:
    """Who sits where in balanced clusters; `home` (room,) is the cluster of each process, -1 for one that left.

    An event touches the members of a few clusters and no others. `moved` counts the present processes that changed
    cluster, over all events. Processes keep their numbers until `renumber`.

    Guarantees:
        After every event sizes differ by at most one, and none is below cluster_size.
        The place of a process that joins is uniform over all places.
        A join or leave moves at most 2 (1 + swaps) others, but for a cluster that is formed or dissolved.

    Raises: CloisterError for clusters that are not balanced.

    Source: as protocols.clustering.churn (Awerbuch and Scheideler 2006, SPAA), with other draws of the same law.
    """

    def __init__(self, owner: Owner, *, cluster_size: int, rng: np.random.Generator, swaps: int = 2) -> None:
        check.integer_at_least(1, cluster_size=cluster_size)
        check.integer_at_least(0, swaps=swaps)
        self.n = len(owner)
        self.moved = 0
        self._swapped = False
        self._c = cluster_size
        self._swaps = swaps
        self._rng = rng
        sizes = np.bincount(owner)
        self._m = len(sizes)
        if sizes.min() < cluster_size or sizes.max() - sizes.min() > 1:
            raise CloisterError(
                f"clusters of {sizes.min()} to {sizes.max()} members are not balanced for cluster_size = "
                f"{cluster_size} and n = {self.n}; allowed: sizes of at least {cluster_size} that differ by 1 at most"
            )
        self._size: Counts = np.concatenate([sizes, np.zeros(8, dtype=np.int64)])
        self._table = np.full((self._m + 8, max(int(sizes.max()), 5 * cluster_size // 2) + 8), _NOBODY, dtype=np.int64)
        order = np.argsort(owner, kind="stable")
        ends = np.cumsum(sizes)
        self._seat: Counts = np.empty(self.n, dtype=np.int64)
        self._seat[order] = np.arange(self.n) - np.repeat(ends - sizes, sizes)
        self.home: Owner = owner.astype(np.int64, copy=True)
        self._table[self.home, self._seat] = np.arange(self.n)

    @property
    def sizes(self) -> Counts:
        """The size (m,) of each cluster."""
        return self._size[: self._m]

    def join(self, process: int) -> None:
        """Seat a process that is not there: its number is one that left, or the next one."""
        if process >= len(self.home):
            self._grow(process + 1)
        if self.home[process] != _NOBODY:
            raise CloisterError(f"process = {process} is there already; allowed: one that has left, or a new one")
        if too_many(self.n + 1, self._m, self._c):
            self._form(process)
        else:
            self._put(process, int(np.argmin(self.sizes)))
        self.n += 1
        self._swap(process, self._anybody())
        self.moved -= 1 if self._swapped else 0  # the one that joins has not moved
        self._shake(int(self.home[process]), spared=process)

    def leave(self, process: int) -> None:
        """Take a process away; its cluster is filled up and stirred, or one drawn from all is dissolved."""
        if not 0 <= process < len(self.home) or self.home[process] == _NOBODY or self.n <= self._c:
            raise CloisterError(
                f"process = {process} of n = {self.n} cannot leave clusters of {self._c}; allowed: one that is there, "
                f"while more than {self._c} are"
            )
        j = int(self.home[process])
        self._take(process)
        self.n -= 1
        if too_few(self.n, self._m, self._c):
            self._dissolve(int(self._rng.integers(self._m)))
            return
        largest = int(self.sizes.max())
        if self._size[j] < largest - 1:
            donors = np.flatnonzero(self.sizes == largest)
            donor = int(donors[self._rng.integers(len(donors))])
            self._move(int(self._table[donor, self._rng.integers(largest)]), j)
        self._shake(j, spared=_NOBODY)

    def rename(self, process: int, number: int) -> None:
        """Give a process the number of one that has left."""
        if self.home[number] != _NOBODY or self.home[process] == _NOBODY:
            raise CloisterError(f"number = {number} is taken, or process = {process} is not there; allowed: a free one")
        self.home[number], self._seat[number] = self.home[process], self._seat[process]
        self.home[process] = self._seat[process] = _NOBODY
        self._table[self.home[number], self._seat[number]] = number

    def renumber(self) -> NDArray[np.int64]:
        """Close the gaps that leaves left in the numbers; return the former number (n,) of each process."""
        kept = np.flatnonzero(self.home != _NOBODY)
        self.home, self._seat = self.home[kept], self._seat[kept]
        self._table[self.home, self._seat] = np.arange(len(kept))
        return kept

    def _grow(self, room: int) -> None:
        more = np.full(max(room - len(self.home), 0), _NOBODY, dtype=np.int64)
        self.home, self._seat = np.concatenate([self.home, more]), np.concatenate([self._seat, more])

    def _anybody(self) -> int:
        while True:  # few numbers are those of processes that have left
            process = int(self._rng.integers(len(self.home)))
            if self.home[process] != _NOBODY:
                return process

    def _put(self, process: int, j: int) -> None:
        place = int(self._size[j])
        self._table[j, place] = process
        self.home[process], self._seat[process] = j, place
        self._size[j] += 1

    def _take(self, process: int) -> None:
        j, place = int(self.home[process]), int(self._seat[process])
        last = int(self._size[j]) - 1
        other = int(self._table[j, last])
        self._table[j, place], self._seat[other] = other, place
        self._table[j, last] = self.home[process] = self._seat[process] = _NOBODY
        self._size[j] = last

    def _move(self, process: int, j: int) -> None:
        self._take(process)
        self._put(process, j)
        self.moved += 1

    def _swap(self, a: int, b: int) -> None:
        i, j, s, t = int(self.home[a]), int(self.home[b]), int(self._seat[a]), int(self._seat[b])
        self._table[i, s], self._table[j, t] = b, a
        self.home[a], self.home[b], self._seat[a], self._seat[b] = j, i, t, s
        self._swapped = i != j
        self.moved += 2 if i != j else 0

    def _shake(self, j: int, *, spared: int) -> None:
        members = self._table[j, : self._size[j]]
        members = members[members != spared]
        chosen = self._rng.choice(members, size=min(self._swaps, len(members)), replace=False, shuffle=False)
        for member in chosen.tolist():
            self._swap(member, self._anybody())

    def _form(self, process: int) -> None:
        """A new cluster of what the others are to give up, drawn from their members, and the process."""
        new = self._m
        if new == len(self._size):
            self._size = np.concatenate([self._size, np.zeros_like(self._size)])
            self._table = np.concatenate([self._table, np.full_like(self._table, _NOBODY)])
        self._m += 1
        fewest, more = divmod(self.n + 1, self._m)
        keep = np.full(new, fewest)
        keep[np.argsort(-self._size[:new], kind="stable")[:more]] += 1
        for j in np.flatnonzero(self._size[:new] > keep).tolist():
            for member in self._rng.permutation(self._table[j, : self._size[j]])[keep[j] :].tolist():
                self._move(member, new)
        self._put(process, new)

    def _dissolve(self, j: int) -> None:
        """Deal the members to the others, the smallest first; the last cluster takes its number."""
        members = self._rng.permutation(self._table[j, : self._size[j]]).tolist()
        last = self._m - 1
        self._table[j], self._size[j] = self._table[last], self._size[last]
        self._table[last], self._size[last] = _NOBODY, 0
        self.home[self._table[j, : self._size[j]]] = j
        self._m = last
        for member in members:
            self._put(member, int(np.argmin(self.sizes)))
            self.moved += 1
