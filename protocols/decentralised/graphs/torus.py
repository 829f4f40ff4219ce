"""A grid whose opposite sides meet."""

import math
from dataclasses import dataclass

from protocols.decentralised.graph import Graph
from protocols.decentralised.graphs import topologies
from protocols.decentralised.graphs._networkx import grid

_SHORTEST = 3  # a shorter side would join two clusters twice


@topologies.register(source="He, Karimireddy, Jaggi 2022, arXiv:2202.01545 (ClippedGossip), among its topologies")
@dataclass(frozen=True, kw_only=True)
class Torus:
    """The most square grid of m clusters in which each has four neighbours, around both ways."""

    def __call__(self, *, m: int, seed: int) -> Graph:  # noqa: ARG002
        """See Topology."""
        rows = _rows(m)
        return grid(rows, m // rows)

    def unfit(self, m: int) -> str | None:
        """See Topology."""
        if _rows(m) >= _SHORTEST:
            return None
        return f"{m} clusters form no torus; allowed: rows x columns of them, both {_SHORTEST} or more, such as 9 or 12"


def _rows(m: int) -> int:
    """Return the largest divisor of m that is not above its square root."""
    return max((rows for rows in range(1, math.isqrt(m) + 1) if m % rows == 0), default=0)
