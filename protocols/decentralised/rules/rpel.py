"""Robust Pull-based Epidemic Learning."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protocols import check
from protocols.decentralised.heard import Heard
from protocols.decentralised.rules import Exchanged, exchanges, minority, tolerated

_BLOCK = 4096  # coordinates at a time: what s others say of them stays near the cache


@exchanges.register(
    source="El Mrini, Farhadkhani, Guerraoui 2025, Robust and Efficient Collaborative Learning, arXiv:2510.08311",
    examples=({}, {"samples": 1}),
)
@dataclass(frozen=True, kw_only=True)
class Rpel:
    """Each cluster pulls the values of `samples` neighbours, drawn anew each time, and combines them with its own.

    It combines them by the coordinate-wise trimmed mean without the `tolerate` largest and smallest, one of the
    robust rules that the paper's analysis is for. On a complete graph it is the paper's; a cluster with fewer
    neighbours than `samples` pulls all their values. Messages grow with m x samples, not with the edges.

    Guarantees:
        Every neighbour is as likely as any other to be pulled from, and none is pulled from twice in a round.
        With no more than `tolerate` Byzantine ones pulled, each coordinate lies between those of honest clusters.
        A message that is not finite, or too large to square, counts as the cluster's own value.
    """

    samples: int = 4

    def __post_init__(self) -> None:
        check.integer_at_least(1, samples=self.samples)

    def __call__(self, heard: Heard, tolerate: int, rng: np.random.Generator) -> Exchanged:
        """See ExchangeRule."""
        expected, m = tolerated(self, heard, tolerate), heard.graph.m
        adjacency = heard.graph.adjacency
        keys = torch.where(adjacency, torch.from_numpy(rng.random((m, m))), torch.inf)
        order = keys.argsort(dim=1)
        count = torch.tensor(heard.graph.degrees).clamp(max=self.samples)
        links = torch.zeros_like(adjacency)
        values = heard.values.clone()
        for s in {min(degree, self.samples) for degree in heard.graph.degrees}:  # those with as many go together
            rows = (count == s).nonzero().flatten()
            links[rows[:, None], order[rows, :s]] = True
            values[rows] = _trimmed(heard, rows, order[rows, :s], int(expected[rows[0]]))
        values = torch.where(heard.usable.diagonal()[:, None], values, heard.values)
        return Exchanged(values=values, links=links, ignored=links & ~heard.usable, pulled=True)

    def breakdown(self, degree: int) -> int:
        """Fewer than half of those it pulls from and itself, even if all Byzantine neighbours are among them."""
        return minority(min(degree, self.samples))

    def reach(self, degree: int) -> float:
        """Root of the number pulled from: in each coordinate it is no farther than one of them."""
        return math.sqrt(min(degree, self.samples))


def _trimmed(heard: Heard, rows: Tensor, places: Tensor, tolerate: int) -> Tensor:
    """Return the trimmed mean (rows, d) of what clusters `rows` hold and heard from `places` (rows, s)."""
    d = heard.values.shape[1]
    parts: list[Tensor] = []
    for start in range(0, d, _BLOCK):
        block = slice(start, min(start + _BLOCK, d))
        known = torch.cat([heard.values[rows, None, block], heard.pulled(rows, places, block)], dim=1)
        parts.append(known.sort(dim=1).values[:, tolerate : known.shape[1] - tolerate].mean(dim=1))
    return torch.cat(parts, dim=1)
