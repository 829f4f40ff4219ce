"""Exchange rules: what a cluster makes of what it hears from its neighbours, one a file."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.decentralised.heard import Heard
from protocols.registry import Registry

__all__ = ["ExchangeRule", "Exchanged", "exchanges", "minority", "tolerated"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Exchanged:
    """What the clusters hold after an exchange, float64 (m, d), and which messages it took.

    `links[i, j]`, bool (m, m): cluster i asked cluster j for its value. `ignored[i, j]`, bool (m, m): it did, and gave
    it no weight, or less than a neighbour's. `pulled`: a message is sent only after a request for it.
    """

    values: Tensor
    links: Tensor
    ignored: Tensor
    pulled: bool = False


class ExchangeRule(Protocol):
    """Makes each cluster's next value from its own and its neighbours', some of which are Byzantine."""

    def __call__(self, heard: Heard, tolerate: int, rng: np.random.Generator) -> Exchanged:
        """Return what the clusters hold next; `tolerate` Byzantine neighbours are expected around each of them.

        A cluster that can withstand fewer, because it has few neighbours, withstands what it can. `rng` is the
        exchange's own stream. Raises: CloisterError for a negative `tolerate`.
        """
        ...

    def breakdown(self, degree: int) -> int:
        """Return how many Byzantine ones among its neighbours a cluster with `degree` of them withstands."""
        ...

    def reach(self, degree: int) -> float:
        """Return how far a cluster is moved at most, in units of its distance to the farthest honest neighbour.

        That holds for an honest cluster with no more Byzantine neighbours than it was told and withstands, whatever
        they tell it, and be it something else than they tell others. Infinity where nothing is promised.
        """
        ...


exchanges: Registry[ExchangeRule] = Registry("exchange", ("protocols.decentralised.rules",), "cloister.exchanges")


def minority(degree: int) -> int:
    """Return how many of `degree` neighbours can be Byzantine so that most of them and oneself are not."""
    return degree // 2


def tolerated(rule: ExchangeRule, heard: Heard, tolerate: int) -> Tensor:
    """Return how many Byzantine neighbours each cluster reckons with, int64 (m,).

    Raises: CloisterError for a negative `tolerate`.
    """
    if tolerate < 0:
        raise CloisterError(f"tolerate = {tolerate} Byzantine neighbours is not allowed; allowed: 0 or more")
    return torch.tensor([min(tolerate, rule.breakdown(degree)) for degree in heard.graph.degrees])
