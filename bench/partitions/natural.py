"""Processes that follow the data's natural groups."""

from dataclasses import dataclass

import numpy as np

from bench.partitions import apportion, check_request, partitions

__all__ = ["Natural"]


@partitions.register(
    source="Ogier du Terrail et al. 2022, FLamby: Datasets and Benchmarks for Cross-Silo Federated Learning in "
    "Realistic Healthcare Settings, Section 3",
    examples=({},),
)
@dataclass(frozen=True, kw_only=True)
class Natural:
    """Each process holds rows of one natural group, such as a hospital; large groups are shared by processes.

    With as many processes as groups, process i holds all of the i-th group. With more, they are allotted to the
    groups in proportion to their rows, at least one each, in the order of the groups, and a group's rows are dealt
    to its processes at random in equal parts.

    Guarantees:
        No process holds rows of two groups.
        The parts' sizes within one group differ by at most one.
    """

    def __call__(
        self, labels: np.ndarray, groups: np.ndarray | None, n: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return each process's rows, sorted int64; CloisterError if there are no groups or more than processes."""
        present, rows_of_group = np.unique(np.empty(0) if groups is None else groups, return_counts=True)
        check_request(labels, groups, n, self.unfit(None if groups is None else len(present), n, 1))
        parts: list[np.ndarray] = []
        for group, share in zip(present, apportion(n, rows_of_group), strict=True):
            parts += np.array_split(rng.permutation(np.flatnonzero(groups == group)), share)
        return [np.sort(part).astype(np.int64) for part in parts]

    def unfit(self, groups_count: int | None, n: int, classes: int) -> str | None:  # noqa: ARG002
        """Return a reason if the data have no groups, or more groups than there are processes."""
        if groups_count is None:
            return "natural needs data with natural groups, and these have none"
        if n < groups_count:
            return f"natural gives each of the {groups_count} groups a process of its own, so n = {n} is too small"
        return None
