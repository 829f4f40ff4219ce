"""What the figures of the page are made of: curves over cluster sizes, and a map."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from protocols.check import CloisterError
from protocols.tolerance.design import distinct_sizes

__all__ = ["SHARES", "Curve", "Heat", "curve_of", "sizes_of"]

SHARES = tuple(round(share, 3) for share in np.linspace(0.02, 0.40, 20).tolist())
"""The shares of faulty processes that a map shows."""


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One line of a panel: `values` over `sizes`; `side` is private or correct, or what the panel shows."""

    panel: str
    side: str
    name: str
    sizes: tuple[int, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class Heat:
    """P(fail) over shares of faults (rows) and cluster sizes (columns), float64; nan where it cannot run."""

    shares: tuple[float, ...]
    sizes: tuple[int, ...]
    fail: np.ndarray


def sizes_of(n: int, count: int) -> list[int]:
    """Return some of the different sizes that leave three clusters or more, evenly on a logarithmic scale."""
    every = [size for size in distinct_sizes(n) if size <= max(1, n // 3)]
    wanted = np.geomspace(1, every[-1], count)
    return sorted({min(every, key=lambda size: abs(size - each)) for each in wanted.tolist()})


def curve_of(panel: str, side: str, name: str, sizes: Sequence[int], at: Callable[[int], float]) -> Curve:
    """Return the curve of what is found at these sizes; one that cannot run is left out."""
    found: dict[int, float] = {}
    for size in sizes:
        try:
            found[size] = at(size)
        except CloisterError:
            continue  # a threshold that clusters of this size cannot have
    return Curve(panel=panel, side=side, name=name, sizes=tuple(found), values=tuple(found.values()))
