"""Each class dealt in random proportions from a Dirichlet distribution."""

from dataclasses import dataclass

import numpy as np

from bench.partitions import check_request, partitions, parts_of
from protocols.check import CloisterError, integer_at_least, positive

__all__ = ["Dirichlet"]

# Above this the proportions are equal to within rounding, and far above it NumPy's draws overflow to zero.
_LARGEST_ALPHA = 1e12


@partitions.register(
    source="Hsu, Qi and Brown 2019, Measuring the Effects of Non-Identical Data Distribution for Federated Visual "
    "Classification, Section 3; drawn per class as in Yurochkin et al. 2019, Bayesian Nonparametric Federated "
    "Learning of Neural Networks, Section 4",
    examples=({}, {"alpha": 0.1}, {"alpha": 10.0, "min_rows": 1}),
)
@dataclass(frozen=True, kw_only=True)
class Dirichlet:
    """Each class dealt in Dirichlet(alpha) proportions: skewed labels and sizes, the more so the smaller alpha.

    Hsu et al. draw the class proportions of each process and give all processes equally many rows; here, as in most
    later work, the proportions over the processes are drawn per class, so every row is used and sizes differ.
    A process with fewer than `min_rows` rows is filled up from the largest.

    Guarantees:
        Every process has at least min_rows rows.
        A large alpha gives every process the same number of rows of a class, to within one.
        A small alpha gives nearly all rows of a class to one process.
    """

    alpha: float = 0.5
    min_rows: int = 2

    def __post_init__(self) -> None:
        positive(alpha=self.alpha)
        integer_at_least(1, min_rows=self.min_rows)

    def __call__(
        self, labels: np.ndarray, groups: np.ndarray | None, n: int, rng: np.random.Generator
    ) -> list[np.ndarray]:
        """Return each process's rows, sorted int64; CloisterError if there are fewer than n * min_rows rows."""
        check_request(labels, groups, n)
        if n * self.min_rows > len(labels):
            raise CloisterError(
                f"min_rows = {self.min_rows} for n = {n} processes needs {n * self.min_rows} training rows; "
                f"allowed: at most {len(labels)}, all there are"
            )
        owner = self._owners(labels, n, rng)
        _fill_up(owner, n, self.min_rows)
        return parts_of(owner, n)

    def unfit(self, groups_count: int | None, n: int, classes: int) -> str | None:  # noqa: ARG002
        """Return None: it suits all data with enough rows."""
        return None

    def _owners(self, labels: np.ndarray, n: int, rng: np.random.Generator) -> np.ndarray:
        owner = np.empty(len(labels), dtype=np.int64)
        for label in np.unique(labels):
            rows = rng.permutation(np.flatnonzero(labels == label))
            ends = np.cumsum(rng.dirichlet(np.full(n, min(self.alpha, _LARGEST_ALPHA))))
            # The last end is 1 but for rounding; without it every row has an owner.
            owner[rows] = np.searchsorted(np.round(ends[:-1] * len(rows)), np.arange(len(rows)), side="right")
        return owner


def _fill_up(owner: np.ndarray, n: int, min_rows: int) -> None:
    """Move rows in place, each from the process that is then the largest, until none has fewer than min_rows."""
    sizes = np.bincount(owner, minlength=n)
    given = np.zeros(n, dtype=np.int64)
    takers = np.repeat(np.arange(n), np.maximum(min_rows - sizes, 0))
    for _ in takers:
        largest = np.argmax(sizes - given)
        given[largest] += 1
    moved = [np.flatnonzero(owner == giver)[-given[giver] :] for giver in np.flatnonzero(given)]
    if moved:
        owner[np.concatenate(moved)] = takers
