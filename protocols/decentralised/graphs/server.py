"""Not decentralised: a server combines what the clusters opened."""

from dataclasses import dataclass

from protocols.check import CloisterError
from protocols.decentralised.graph import Graph
from protocols.decentralised.graphs import topologies


@topologies.register(source="McMahan et al. 2017, AISTATS (federated averaging)", facts={"server": True})
@dataclass(frozen=True, kw_only=True)
class Server:
    """No exchange between clusters: a server combines their means by the aggregator, and all get the same model."""

    def __call__(self, *, m: int, seed: int) -> Graph:  # noqa: ARG002
        """There is none."""
        raise CloisterError("topology 'server' has no graph; allowed: one of the others, such as 'ring'")

    def unfit(self, m: int) -> str | None:  # noqa: ARG002
        """Any number of clusters."""
        return None
