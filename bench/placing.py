"""Attacks that choose where the faulty processes sit, or lie about what they are."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks import attacks
from attacks.api import Claiming, ClaimView, Placing
from attacks.plan import specs_of
from bench.cell import Cell
from bench.setting import Federation
from protocols.check import CloisterError
from protocols.placements import FaultPlacement, PlacementView, knowledge, placements
from protocols.population import Population
from protocols.randomness import public_stream

__all__ = ["claimed", "placing", "unfit_placing"]


@dataclass(frozen=True, kw_only=True)
class _Chosen:
    """The placement of an attack that chooses it."""

    attack: Placing

    @property
    def needs(self) -> tuple[str, ...]:
        """See FaultPlacement."""
        return ()

    def __call__(self, view: PlacementView) -> NDArray[np.bool_]:
        """See FaultPlacement."""
        return self.attack.place(view)


def placing(cell: Cell) -> tuple[FaultPlacement, str]:
    """Return who chooses the faulty processes, an attack or the placement, and what it knows of the clusters."""
    for spec in specs_of(cell.attack):
        attack: Any = attacks.make(spec)
        if isinstance(attack, Placing):
            return _Chosen(attack=attack), "first"
    return placements.make(cell.placement), knowledge(placements.entry(cell.placement.name))


def claimed(federation: Federation) -> Population:
    """Return the population as the colluding processes describe themselves.

    Raises: CloisterError for an attack that claims another shape, or changes what honest processes are.
    """
    population = federation.population
    for number, part in enumerate(federation.parts):
        attack: Any = attacks.make(part.spec)
        if not isinstance(attack, Claiming) or not part.senders.any():
            continue
        true = population.fact("features", reader=f"attack {part.spec.name}")
        view = ClaimView(
            features=true.copy(),
            faulty=part.senders,
            cluster_size=federation.cluster_size,
            rng=public_stream(federation.seed, "claims", number),
        )
        found = attack.claim(view)
        if found.shape != true.shape or not np.array_equal(found[~part.senders], true[~part.senders]):
            raise CloisterError(
                f"attack {part.spec.name!r} changes features that are not its own, or their shape; "
                f"allowed: those of its own processes"
            )
        population = replace(population, features=found)
    return population


def unfit_placing(cell: Cell) -> str | None:
    """Return why attacks that choose or claim something make no sense with the rest of the cell."""
    made: list[tuple[str, Any]] = [(spec.name, attacks.make(spec)) for spec in specs_of(cell.attack)]
    choosing = [name for name, attack in made if isinstance(attack, Placing)]
    claiming = [name for name, attack in made if isinstance(attack, Claiming)]
    if len(choosing) > 1:
        return f"{choosing[0]} and {choosing[1]} both place the faulty processes"
    if choosing and cell.placement.name != "uniform":
        return f"{choosing[0]} places the faulty processes itself, and placement = {cell.placement.name}"
    if choosing and cell.participants < cell.n:
        return f"{choosing[0]} sees the clusters of all processes, and only {cell.participants} of {cell.n} take part"
    if claiming and placing(cell)[1] != "nothing":
        return f"{claiming[0]} changes the clusters by what it claims, and the faults are placed by the clusters"
    return None
