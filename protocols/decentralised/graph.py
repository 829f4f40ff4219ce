"""Who exchanges with whom, the weights of plain gossip on it, and how fast that agrees."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocols import check
from protocols.check import CloisterError

__all__ = ["Graph", "contraction", "metropolis_weights"]


@dataclass(frozen=True, kw_only=True)
class Graph:
    """An undirected graph of the clusters 0..m-1: each edge once, the smaller number first, in order.

    Guarantees:
        Every cluster is reached from every other one.
        No edge joins a cluster to itself, and none is there twice.

    Raises: CloisterError for edges that are not so.
    """

    m: int
    edges: tuple[tuple[int, int], ...]

    def __post_init__(self) -> None:
        check.integer_at_least(1, m=self.m)
        if list(self.edges) != sorted(set(self.edges)) or not all(0 <= a < b < self.m for a, b in self.edges):
            raise CloisterError(
                f"edges = {self.edges!r} are not allowed; allowed: pairs a < b of 0..{self.m - 1}, in order, each once"
            )
        if not self._connected():
            raise CloisterError(
                f"a graph of {self.m} clusters with {len(self.edges)} edges is not connected; allowed: one in which "
                f"every cluster is reached from every other one; add edges"
            )

    @classmethod
    def of(cls, m: int, edges: Iterable[tuple[int, int]]) -> "Graph":
        """Return the graph with these edges, given in any order and direction."""
        return cls(m=m, edges=tuple(sorted({(min(a, b), max(a, b)) for a, b in edges})))

    @cached_property
    def adjacency(self) -> Tensor:
        """Which clusters are neighbours, bool (m, m), symmetric, False on the diagonal."""
        table = torch.zeros(self.m, self.m, dtype=torch.bool)
        for a, b in self.edges:
            table[a, b] = table[b, a] = True
        return table

    @cached_property
    def degrees(self) -> tuple[int, ...]:
        """How many neighbours each cluster has."""
        ends = Counter(end for edge in self.edges for end in edge)
        return tuple(ends[cluster] for cluster in range(self.m))

    def _connected(self) -> bool:
        reached = torch.zeros(self.m, dtype=torch.bool)
        reached[0] = True
        for _ in range(self.m):
            wider = reached | self.adjacency[reached].any(dim=0)
            if torch.equal(wider, reached):
                break
            reached = wider
        return bool(reached.all())


def metropolis_weights(graph: Graph) -> Tensor:
    """Return W (m, m) float64: 1 / (1 + the larger degree) on each edge, and the rest of each row on the diagonal.

    Guarantees:
        W is symmetric, no entry is negative, and each row and column adds up to 1.

    Source: Xiao, Boyd, Kim 2007, Distributed average consensus with least-mean-square deviation, JPDC 67(1).
    """
    degrees = torch.tensor(graph.degrees, dtype=torch.float64)
    larger = torch.maximum(degrees[:, None], degrees[None, :])
    weights = torch.where(graph.adjacency, 1.0 / (1.0 + larger), 0.0)
    return weights + torch.diag(1.0 - weights.sum(dim=1))


def contraction(weights: Tensor) -> float:
    """Return the factor by which one step x -> W x shrinks the distance to the average, at least: 1 - spectral gap.

    It is the second largest modulus of an eigenvalue of the symmetric, doubly stochastic `weights` (m, m).
    """
    deviation: NDArray[np.float64] = (weights - 1.0 / len(weights)).numpy()
    return float(np.abs(np.linalg.eigvalsh(deviation)).max())
