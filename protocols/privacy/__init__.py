"""Differential privacy mechanisms, one a file: where the noise is added, and how much of it counts.

The unit of privacy is one process in one run: in neighbouring runs one process's clipped update is there or is
zero, in every round (add or remove one, with the number of processes public). Who takes part in a round is
public, so nothing is gained by subsampling: a process loses privacy in exactly the rounds in which it takes part.
"""

from typing import Protocol

import torch
from torch import Tensor

from protocols.norms import row_norms
from protocols.registry import Registry

__all__ = ["Mechanism", "clip_to_norm", "mechanisms"]


class Mechanism(Protocol):
    """Says how much each update is clipped and who adds how much Gaussian noise."""

    @property
    def clip_norm(self) -> float | None:
        """The L2 norm to which a member clips its update; None: not at all."""
        ...

    @property
    def delta(self) -> float | None:
        """The delta at which epsilon is stated; None without privacy."""
        ...

    def member_std(self, cluster_size: int) -> float:
        """Return the standard deviation of the noise that each member adds to each coordinate of its update."""
        ...

    def result_std(self, sensitivity: float | None, n: int) -> float:
        """Return the standard deviation of the noise added once to the aggregated update.

        `sensitivity` is the rule's (see Aggregator.sensitivity), per unit of the clip norm.
        """
        ...

    def noise_multiplier_of(self, cluster_size: int, honest: int, sensitivity: float | None) -> float | None:
        """Return noise std / clip norm that protects an honest member in one round; None: not supported.

        `honest` is the number of members of its cluster whose noise the adversary does not know.
        """
        ...


mechanisms: Registry[Mechanism] = Registry("privacy", ("protocols.privacy",), "cloister.mechanisms")


def clip_to_norm(updates: Tensor, clip_norm: float) -> Tensor:
    """Return float64 rows of `updates` (n, d), each scaled down to L2 norm <= clip_norm; `updates` itself if none is.

    Guarantees:
        No row is longer than clip_norm (1 + 1e-12), over all its coordinates together.
        A row that is not longer than clip_norm stays as it is.
    """
    rows = updates.to(torch.float64)
    norms = row_norms(rows)
    if not bool((norms > clip_norm).any()):
        return rows
    # Directions first: the norm of a row may itself be beyond float64.
    directions = rows / rows.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float64).tiny)
    return torch.where(norms > clip_norm, directions * (clip_norm / row_norms(directions)), rows)
