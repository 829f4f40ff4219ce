"""Where the faulty processes sit, one placement a file: from bad luck to the adversary's best."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.population import Population
from protocols.registry import Entry, Registry
from protocols.tolerance.conditions import Conditions
from protocols.types import Clustering

__all__ = ["FaultPlacement", "PlacementView", "knowledge", "placements"]

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class PlacementView:
    """What a placement may look at; `clustering` and `previous` are None unless it is registered to know them.

    `clustering` are the clusters of round 0, or of this round; `previous` is the mask (n,) of the round before;
    `conditions` say what the protocol tolerates in a cluster, `tolerate` is the number F of clusters that the outer
    rule withstands.
    """

    population: Population
    f: int
    conditions: Conditions
    tolerate: int
    seed: int
    round_index: int = 0
    clustering: Clustering | None = None
    previous: Mask | None = None

    def __post_init__(self) -> None:
        check.integer_at_least(0, f=self.f, seed=self.seed, round_index=self.round_index)
        if self.f >= self.population.n:
            raise CloisterError(
                f"f = {self.f} faulty of n = {self.population.n} processes is not allowed; "
                f"allowed: 0 to {self.population.n - 1}"
            )
        if self.clustering is not None and self.clustering.n != self.population.n:
            raise CloisterError(
                f"clusters of {self.clustering.n} processes do not fit n = {self.population.n}; allowed: all of them"
            )

    def clusters(self, *, reader: str) -> Clustering:
        """Return the clusters; CloisterError where the placement is not shown them."""
        if self.clustering is None:
            raise CloisterError(f"{reader} needs the clusters, which are not known; give PlacementView(clustering=...)")
        return self.clustering


class FaultPlacement(Protocol):
    """Chooses the faulty processes.

    It is registered with facts={"knows": ...}: "nothing" of the clusters, the "first" clusters (of round 0; the
    faults then stay where they are), or "each" (it is asked again before every round, and shown its last answer). One
    whose number of faulty processes is f only on average adds "on_average": True.
    """

    @property
    def needs(self) -> tuple[str, ...]:
        """The facts of a Population that it cannot do without."""
        ...

    def __call__(self, view: PlacementView) -> Mask:
        """Return which of the n processes are faulty, bool (n,): f of them, unless its docstring says otherwise.

        The same view gives the same mask. Raises: CloisterError for a missing fact.
        """
        ...


placements: Registry[FaultPlacement] = Registry("placement", ("protocols.placements",), "cloister.placements")

_KNOWLEDGE = ("nothing", "first", "each")


def knowledge(entry: Entry) -> str:
    """Return what a registered placement knows of the clusters; CloisterError where it does not say."""
    found = entry.facts.get("knows")
    if found not in _KNOWLEDGE:
        raise CloisterError(
            f"placement {entry.name!r} is registered with knows = {found!r}; allowed: facts={{'knows': ...}} with one "
            f"of {', '.join(_KNOWLEDGE)}"
        )
    return str(found)
