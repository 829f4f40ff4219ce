"""Each edge by itself, with the same probability."""

from dataclasses import dataclass

from protocols.check import CloisterError
from protocols.decentralised.graph import Graph
from protocols.decentralised.graphs import topologies
from protocols.decentralised.graphs._drawing import first_connected
from protocols.decentralised.graphs._networkx import binomial


@topologies.register(source="Gilbert 1959; Erdős and Rényi 1960; drawn by networkx", examples=({}, {"p": 1.0}))
@dataclass(frozen=True, kw_only=True)
class ErdosRenyi:
    """A connected graph drawn once, in which each pair of clusters exchanges with probability p, independently."""

    p: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.p <= 1:
            raise CloisterError(f"p = {self.p} is not allowed; allowed: a probability > 0 and <= 1")

    def __call__(self, *, m: int, seed: int) -> Graph:
        """See Topology. Raises: CloisterError where p is so small that 200 draws are not connected."""
        return first_connected("erdos_renyi", m, lambda attempt: binomial(m, self.p, seed, attempt))

    def unfit(self, m: int) -> str | None:
        """See Topology."""
        return None if m >= 2 else f"{m} cluster has nobody to exchange with; allowed: 2 clusters or more"
