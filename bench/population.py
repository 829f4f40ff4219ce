"""The public facts about a cell's processes, and where its faulty ones sit: synthetic, from the cell's seed.

Process i of n is in failure domain i x domains // n: neighbours in number share a domain, as machines of a site do,
and domains differ by at most one process. Trust is uniform over [0, 1] for faulty processes; for honest ones it is
the power (1 - q) / q of a uniform number, so that an honest process is trusted more than a faulty one with
probability q = `trust_quality`: 0.5 says nothing, 1 all. Positions put each domain at a random place of a square of
100 ms, and its processes about 5 ms around it. Features are the parts of each class among a process's rows, as they
were dealt to it. Reports are of the rounds that were run.
"""

import numpy as np
from numpy.typing import NDArray

from bench.cell import Cell
from protocols.check import CloisterError
from protocols.placements import FaultPlacement, PlacementView
from protocols.population import Population
from protocols.randomness import public_stream

__all__ = ["label_shares", "make_population", "place", "with_trust"]

_SQUARE_S = 0.1
_AROUND_S = 0.005


def make_population(cell: Cell, labels: NDArray[np.int64], parts: list[NDArray[np.int64]], classes: int) -> Population:
    """Return the facts that do not depend on who is faulty: trust says nothing yet."""
    rng = public_stream(cell.seed, "positions")
    domains = np.arange(cell.n, dtype=np.int64) * cell.domains // cell.n
    sites = rng.uniform(0.0, _SQUARE_S, size=(cell.domains, 2))
    return Population(
        n=cell.n,
        domains=domains,
        trust=public_stream(cell.seed, "trust").random(cell.n),
        positions=sites[domains] + rng.normal(0.0, _AROUND_S, size=(cell.n, 2)),
        features=label_shares(labels, parts, classes),
        reports=(),
    )


def label_shares(labels: NDArray[np.int64], parts: list[NDArray[np.int64]], classes: int) -> NDArray[np.float64]:
    """Return the share (n, classes) of each class among each process's rows."""
    counts = np.stack([np.bincount(labels[part], minlength=classes) for part in parts])
    return counts / counts.sum(axis=1, keepdims=True)


def with_trust(population: Population, faulty: NDArray[np.bool_], quality: float) -> NDArray[np.float64]:
    """Return the trust scores (n,) that tell honest from faulty processes with this quality.

    Guarantees:
        An honest process is trusted more than a faulty one with probability `quality`.
        Quality 0.5 leaves the scores as they are.
    """
    scores = population.fact("trust", reader="trust_quality")
    return np.where(faulty, scores, scores ** ((1.0 - quality) / quality))


def place(placement: FaultPlacement, view: PlacementView) -> NDArray[np.bool_]:
    """Return the placement's mask; CloisterError where it makes no sense, or leaves nobody honest."""
    mask = placement(view)
    if mask.shape != (view.population.n,) or mask.dtype != np.bool_:
        raise CloisterError(
            f"the placement gives shape {mask.shape} of {mask.dtype}; allowed: ({view.population.n},) of bool"
        )
    if mask.all():
        raise CloisterError("the placement makes every process faulty, by chance; take another seed or a smaller f")
    return mask
