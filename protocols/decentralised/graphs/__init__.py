"""Topologies: which clusters exchange with which, one a file; `server` is the one without an exchange."""

from typing import Protocol

from protocols.decentralised.graph import Graph
from protocols.registry import Registry

__all__ = ["Topology", "topologies"]


class Topology(Protocol):
    """Says who exchanges with whom.

    It is registered with facts={"server": True} where clusters exchange nothing, because a server combines their
    aggregates; then its graph has no meaning and is never asked for.
    """

    def __call__(self, *, m: int, seed: int) -> Graph:
        """Return the graph of m clusters, the same for the same seed; only called where unfit() is None."""
        ...

    def unfit(self, m: int) -> str | None:
        """Return why there is no such graph of m clusters, or None."""
        ...


topologies: Registry[Topology] = Registry("topology", ("protocols.decentralised.graphs",), "cloister.topologies")
