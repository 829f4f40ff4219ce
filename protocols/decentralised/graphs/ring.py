"""A circle."""

from dataclasses import dataclass

from protocols.decentralised.graph import Graph
from protocols.decentralised.graphs import topologies
from protocols.decentralised.graphs._networkx import circulant


@topologies.register(source="the sparsest regular graph that is connected; Lian et al. 2017, NeurIPS (D-PSGD)")
@dataclass(frozen=True, kw_only=True)
class Ring:
    """Cluster j exchanges with clusters j - 1 and j + 1, around the circle."""

    def __call__(self, *, m: int, seed: int) -> Graph:  # noqa: ARG002
        """See Topology."""
        return circulant(m, [1])

    def unfit(self, m: int) -> str | None:
        """See Topology."""
        return None if m >= 3 else f"a ring needs 3 clusters or more, and there are {m}"
