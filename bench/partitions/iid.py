"""Rows dealt at random, in equal parts."""

from dataclasses import dataclass

import numpy as np

from bench.partitions import check_request, partitions

__all__ = ["Iid"]


@partitions.register(
    source="McMahan, Moore, Ramage, Hampson and Agüera y Arcas 2017, Communication-Efficient Learning of Deep "
    "Networks from Decentralized Data, Section 3",
    examples=({},),
)
@dataclass(frozen=True, kw_only=True)
class Iid:
    """Rows dealt at random in equal parts, the same distribution for every process.

    Guarantees:
        The parts' sizes differ by at most one.
    """

    def __call__(
        self, labels: np.ndarray, groups: np.ndarray | None, n: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return each process's rows, sorted int64; CloisterError if there are fewer rows than processes."""
        check_request(labels, groups, n)
        order = rng.permutation(len(labels)).astype(np.int64)
        return [np.sort(part) for part in np.array_split(order, n)]

    def unfit(self, groups_count: int | None, n: int, classes: int) -> str | None:  # noqa: ARG002
        """Return None: it suits all data."""
        return None
