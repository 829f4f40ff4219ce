"""Old data only."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attacks.api import DataView, data_attack
from protocols import check


@data_attack(source="baseline: a process that collects nothing new", examples=({}, {"keep": 0.5}))
@dataclass(frozen=True, kw_only=True)
class StaleData:
    """Each Byzantine process trains on the first `keep` of its rows for ever: repeated in order, one at least."""

    keep: float = 0.05

    def __post_init__(self) -> None:
        check.fraction(keep=self.keep)

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        owners = view.owners.numpy()
        # Rows by owner, each owner's in order: place 0, 1, 2, ... within its own.
        order = np.argsort(owners, kind="stable")
        _, start, count = np.unique(owners[order], return_index=True, return_counts=True)
        kept = np.maximum(1, np.rint(self.keep * count)).astype(np.int64)
        place = np.arange(len(order)) - np.repeat(start, count)
        source = np.empty_like(order)
        source[order] = order[np.repeat(start, count) + place % np.repeat(kept, count)]
        rows = torch.from_numpy(source)
        return view.inputs[rows], view.labels[rows]

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """Each row's own label: nothing in particular is wanted."""
        return labels
