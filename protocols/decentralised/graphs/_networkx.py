"""The one import of networkx: its generators, as graphs of ours."""

from typing import Any, cast

import networkx

from protocols.decentralised.graph import Graph
from protocols.randomness import public_stream

__all__ = ["binomial", "circulant", "grid", "regular"]

# networkx annotates in part only.
_nx = cast(Any, networkx)


def circulant(m: int, offsets: list[int]) -> Graph:
    """Return the graph in which cluster i meets i + o for each offset o, around the circle."""
    return Graph.of(m, _nx.circulant_graph(m, offsets).edges())


def grid(rows: int, columns: int) -> Graph:
    """Return the grid whose opposite sides meet, in rows; both sides are at least 3 long."""
    edges = _nx.grid_2d_graph(rows, columns, periodic=True).edges()
    return Graph.of(rows * columns, ((a * columns + b, c * columns + d) for (a, b), (c, d) in edges))


def regular(m: int, degree: int, seed: int, attempt: int) -> list[tuple[int, int]]:
    """Return the edges of a random graph in which every cluster has `degree` neighbours; perhaps not connected."""
    return list(_nx.random_regular_graph(degree, m, seed=_number(seed, "random_regular", attempt)).edges())


def binomial(m: int, p: float, seed: int, attempt: int) -> list[tuple[int, int]]:
    """Return the edges of a graph that has each pair with probability p; perhaps not connected."""
    return list(_nx.gnp_random_graph(m, p, seed=_number(seed, "erdos_renyi", attempt)).edges())


def _number(seed: int, name: str, attempt: int) -> int:
    return int(public_stream(seed, "topology", name, attempt).integers(2**31))
