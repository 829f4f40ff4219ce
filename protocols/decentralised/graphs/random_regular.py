"""A random graph in which all have equally many neighbours."""

from dataclasses import dataclass

from protocols import check
from protocols.decentralised.graph import Graph
from protocols.decentralised.graphs import topologies
from protocols.decentralised.graphs._drawing import first_connected
from protocols.decentralised.graphs._networkx import regular


@topologies.register(
    source="Steger and Wormald 1999, Generating random regular graphs quickly; drawn by networkx",
    examples=({}, {"degree": 3}),
)
@dataclass(frozen=True, kw_only=True)
class RandomRegular:
    """A connected graph drawn once, in which every cluster exchanges with `degree` others."""

    degree: int = 4

    def __post_init__(self) -> None:
        check.integer_at_least(2, degree=self.degree)

    def __call__(self, *, m: int, seed: int) -> Graph:
        """See Topology."""
        return first_connected("random_regular", m, lambda attempt: regular(m, self.degree, seed, attempt))

    def unfit(self, m: int) -> str | None:
        """See Topology."""
        if m > self.degree and m * self.degree % 2 == 0:
            return None
        return (
            f"{m} clusters form no graph of degree {self.degree}; allowed: more clusters than the degree, and one of "
            f"the two even"
        )
