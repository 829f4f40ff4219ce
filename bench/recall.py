"""What clients and the server keep from round to round."""

from collections.abc import Sequence

import torch
from torch import Tensor

from protocols.aggregators import hostile_rows

__all__ = ["Recall"]

Clusters = tuple[tuple[int, ...], ...]


class Recall:
    """The memory of one cell: `worker` belongs to the workers' plug-in, errors to the clients, the rest to the server.

    `residue` (k,) is what the server has received and not decoded, None where it decodes all.

    Guarantees:
        A cluster's history is the sum of its means since the clusters were formed.
    """

    def __init__(self) -> None:
        self.worker: dict[str, Tensor] = {}
        self.residue: Tensor | None = None
        self._errors: Tensor | None = None
        self._clusters: Clusters = ()
        self._sums: Tensor | None = None

    def history(self, clusters: Clusters, opened: Sequence[int], means: Tensor) -> Tensor:
        """Return the sums (m, d) of the past means of the opened clusters, zero where they are new."""
        if self._sums is None or self._clusters != clusters:
            return torch.zeros_like(means)
        return self._sums[list(opened)]

    def add(self, clusters: Clusters, opened: Sequence[int], means: Tensor) -> None:
        """Add the means (m, d) of the opened clusters; numbers that cannot be computed with count as zero."""
        if self._sums is None or self._clusters != clusters:
            self._clusters, self._sums = clusters, means.new_zeros(len(clusters), means.shape[1])
        self._sums[list(opened)] += torch.where(hostile_rows(means)[:, None], 0.0, means)

    def errors(self, everybody: int, updates: Tensor) -> Tensor:
        """Return what the messages of all processes have left out so far, (everybody, d), for the caller to change.

        At first it is zero, and of the type of the updates (n, d).
        """
        if self._errors is None:
            self._errors = updates.new_zeros(everybody, updates.shape[1])
        return self._errors
