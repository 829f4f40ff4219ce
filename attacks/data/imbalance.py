"""Missing classes."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from attacks.api import DataView, data_attack
from protocols import check


@data_attack(source="Hsieh et al. 2020, ICML (skewed labels)", examples=({}, {"drop": 0.9}))
@dataclass(frozen=True, kw_only=True)
class Imbalance:
    """Each Byzantine process drops a share `drop` of its classes, drawn for each by itself, but keeps one at least.

    Other rows of its own, drawn at random, take the place of the dropped ones, so that it keeps its number of rows.
    """

    drop: float = 0.5

    def __post_init__(self) -> None:
        check.fraction(drop=self.drop)

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        labels, owners = view.labels.numpy(), view.owners.numpy()
        source = np.arange(len(labels))
        for owner in np.unique(owners):  # once a cell, and every process has its own classes
            mine = np.flatnonzero(owners == owner)
            present = view.rng.permutation(np.unique(labels[mine]))
            lost = present[: min(round(self.drop * len(present)), len(present) - 1)]
            dropped = np.isin(labels[mine], lost)
            source[mine[dropped]] = view.rng.choice(mine[~dropped], size=int(dropped.sum()))
        rows = torch.from_numpy(source)
        return view.inputs[rows], view.labels[rows]

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """Each row's own label: nothing in particular is wanted."""
        return labels
