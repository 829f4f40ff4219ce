"""All with all."""

from dataclasses import dataclass

from protocols.decentralised.graph import Graph
from protocols.decentralised.graphs import topologies
from protocols.decentralised.graphs._networkx import circulant


@topologies.register(source="the densest graph: what MoNNA assumes (Farhadkhani et al. 2023, ICML)")
@dataclass(frozen=True, kw_only=True)
class Complete:
    """Every cluster exchanges with every other one."""

    def __call__(self, *, m: int, seed: int) -> Graph:  # noqa: ARG002
        """See Topology."""
        return circulant(m, list(range(1, m // 2 + 1)))

    def unfit(self, m: int) -> str | None:
        """See Topology."""
        return None if m >= 2 else f"a complete graph of {m} cluster has no edge; allowed: 2 clusters or more"
