"""What every cluster holds and what it hears from its neighbours, some of whom tell each of them something else."""

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.decentralised.graph import Graph

__all__ = ["LARGEST", "Heard"]

LARGEST = 1e140
"""A number beyond this, or one that is not finite, is no value: squares of it would not add up in float64."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Heard:
    """What m clusters hold, float64 (m, d), and what they hear along the edges of a graph.

    Cluster j tells all its neighbours `values[j]`, unless it is one of the `liars`, int64 (b,): the l-th of them tells
    cluster i `told[l, i]`, float64 (b, m, d). So memory is O(m d + m^2), and more only for those who equivocate.

    A message is unusable where one of its numbers is not finite or beyond LARGEST: whoever hears it knows that it is
    none of an honest cluster's, and is as wise as if it had heard nothing.

    Raises: CloisterError for shapes or types that do not fit.
    """

    values: Tensor
    graph: Graph
    liars: Tensor
    told: Tensor

    def __post_init__(self) -> None:
        m, b = self.graph.m, len(self.liars)
        d = self.values.shape[-1]
        fits = self.values.shape == (m, d) and self.told.shape == (b, m, d) and self.liars.shape == (b,)
        types = self.values.dtype == self.told.dtype == torch.float64 and self.liars.dtype == torch.int64
        if not fits or not types or not bool(self.liars.sort().values.diff().all()):
            raise CloisterError(
                f"values {tuple(self.values.shape)} {self.values.dtype}, liars {self.liars.numpy()} and told "
                f"{tuple(self.told.shape)} {self.told.dtype} do not fit {m} clusters; allowed: float64 (m, d), b "
                f"different clusters, float64 (b, m, d)"
            )

    @classmethod
    def alike(cls, values: Tensor, graph: Graph) -> "Heard":
        """Return what is heard where every cluster tells all its neighbours the same (m, d)."""
        nobody = torch.empty(0, dtype=torch.int64)
        return cls(values=values, graph=graph, liars=nobody, told=values.new_empty((0, *values.shape)))

    @cached_property
    def usable(self) -> Tensor:
        """Whether cluster i holds or heard something usable of cluster j, bool (m, m): its own, or a neighbour's."""
        good = _good(self.values).expand(self.graph.m, -1).clone()
        good[:, self.liars] = _good(self.told).T
        itself = torch.eye(self.graph.m, dtype=torch.bool)
        return torch.where(itself, _good(self.values), good & self.graph.adjacency)

    @cached_property
    def distances(self) -> Tensor:
        """How far what cluster i heard from cluster j is from its own value, float64 (m, m); 0 to itself.

        Infinity where it heard nothing usable. Differences are squared, not products subtracted, so that no distance
        is lost by cancellation where models differ little. (torch.cdist: O(m^2 d) work, O(m^2) memory)
        """
        own = self._clean_values
        found = torch.cdist(own, own, compute_mode="donot_use_mm_for_euclid_dist")
        found[:, self.liars] = (self._clean_told - own).square().sum(dim=2).sqrt().T
        found[~self.usable] = torch.inf
        return found.fill_diagonal_(0.0)

    def mixed(self, weights: Tensor) -> Tensor:
        """Return the values (m, d) of which row i is the sum of weights[i, j] times what i heard from j.

        The weight of what is not usable goes to the cluster's own value; one whose own value is not usable keeps it.
        """
        weights = self.kept(weights)
        honest = weights.clone()
        honest[:, self.liars] = torch.where(self._itself[:, self.liars], weights[:, self.liars], 0.0)
        lied = torch.where(self._itself, 0.0, weights)[:, self.liars]
        result = honest @ self._clean_values + torch.einsum("il,lid->id", lied, self._clean_told)
        return torch.where(_good(self.values)[:, None], result, self.values)

    def kept(self, weights: Tensor) -> Tensor:
        """Return the weights (m, m) with those of unusable messages on the diagonal instead."""
        good = torch.where(self.usable, weights, 0.0)
        return good + torch.diag(weights.sum(dim=1) - good.sum(dim=1))

    def pulled(self, rows: Tensor, places: Tensor, coordinates: slice) -> Tensor:
        """Return what clusters `rows` (r,) heard from `places` (r, s), other clusters' numbers: float64 (r, s, k).

        `coordinates` says which k of the d. What is unusable is the cluster's own value instead.
        """
        liar = torch.full((self.graph.m,), -1)
        liar[self.liars] = torch.arange(len(self.liars))
        who, listener = liar[places], rows[:, None].expand_as(places)
        own = self._clean_values[:, coordinates]
        found, lied = own[places], who >= 0
        found[lied] = self._clean_told[who[lied], listener[lied], coordinates]
        return torch.where(self.usable[listener, places][:, :, None], found, own[rows, None])

    @cached_property
    def _itself(self) -> Tensor:
        return torch.eye(self.graph.m, dtype=torch.bool)

    @cached_property
    def _clean_values(self) -> Tensor:
        return torch.where(_good(self.values)[:, None], self.values, 0.0)

    @cached_property
    def _clean_told(self) -> Tensor:
        return torch.where(_good(self.told)[:, :, None], self.told, 0.0)


def _good(rows: Tensor) -> Tensor:
    return (rows.abs() <= LARGEST).all(dim=-1)  # False for NaN as well
