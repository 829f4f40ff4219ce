"""A few classes per process."""

from dataclasses import dataclass

import numpy as np

from bench.partitions import apportion, check_request, partitions
from protocols.check import integer_at_least

__all__ = ["ByClass"]


@partitions.register(
    source="McMahan, Moore, Ramage, Hampson and Agüera y Arcas 2017, Communication-Efficient Learning of Deep "
    "Networks from Decentralized Data, Section 3 (pathological non-IID)",
    examples=({}, {"k": 1}),
)
@dataclass(frozen=True, kw_only=True)
class ByClass:
    """At most k classes per process: each process gets k shards, each shard holds rows of one class.

    The n * k shards are allotted to the classes in proportion to their rows, at least one each, and dealt at random.
    McMahan et al. cut the rows, sorted by class, into equal shards; with classes of equal size and n * k a multiple
    of their number this is the same, otherwise shards of theirs would straddle classes.

    Guarantees:
        No process holds more than k classes.
        The shards of one class differ in size by at most one.
    """

    k: int = 2

    def __post_init__(self) -> None:
        integer_at_least(1, k=self.k)

    def __call__(
        self, labels: np.ndarray, groups: np.ndarray | None, n: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return each process's rows, sorted int64; CloisterError if unfit or there are fewer than n * k rows."""
        names, rows_of_class = np.unique(labels, return_counts=True)
        check_request(labels, groups, n, self.unfit(None, n, len(names)) or self._short(n, len(labels)))
        shards: list[np.ndarray] = []
        for name, share in zip(names, apportion(n * self.k, rows_of_class), strict=True):
            shards += np.array_split(rng.permutation(np.flatnonzero(labels == name)), share)
        hands = rng.permutation(n * self.k).reshape(n, self.k)
        return [np.sort(np.concatenate([shards[shard] for shard in hand])).astype(np.int64) for hand in hands]

    def unfit(self, groups_count: int | None, n: int, classes: int) -> str | None:  # noqa: ARG002
        """Return a reason if there are fewer than k classes, or more than n processes can hold."""
        if self.k > classes:
            return f"by_class with k = {self.k} classes per process needs as many classes, and the data have {classes}"
        if n * self.k < classes:
            return f"by_class with k = {self.k} leaves {n} processes at most {n * self.k} of the {classes} classes"
        return None

    def _short(self, n: int, rows: int) -> str | None:
        needed = n * self.k
        return (
            f"by_class with k = {self.k} and n = {n} needs {needed} rows, and there are {rows}"
            if needed > rows
            else None
        )
