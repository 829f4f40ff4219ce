"""What a policy that learns from reports remembers of them, in bounded memory."""

import numpy as np
from numpy.typing import NDArray

from bench.simulation.counting import Owner

__all__ = ["Standing"]


class Standing:
    """The clean and flagged rounds (n,) of each process, the past weighing `memory` times as much each round.

    Guarantees:
        `score` is that of protocols.clustering.reputation after the same reports.
    """

    def __init__(self, n: int, memory: float) -> None:
        self._memory = memory
        self._clean = np.zeros(n)
        self._flagged = np.zeros(n)

    def add(self, owner: Owner, flagged: NDArray[np.bool_]) -> None:
        """Add the report of a round: the cluster (n,) of each process, and which clusters (m,) were flagged."""
        bad = flagged[owner]
        self._clean = self._clean * self._memory + ~bad
        self._flagged = self._flagged * self._memory + bad

    @property
    def score(self) -> NDArray[np.float64]:
        """The score (n,) of each process, in (0, 1); 0.5 where nothing is known."""
        return (1 + self._clean) / (2 + self._clean + self._flagged)

    def renumber(self, former: NDArray[np.int64]) -> None:
        """Give the processes new numbers; of one that joined (-1) nothing is known."""
        self._clean = np.where(former < 0, 0.0, self._clean[former])
        self._flagged = np.where(former < 0, 0.0, self._flagged[former])
