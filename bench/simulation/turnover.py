"""Processes that leave and come back between rounds, in a simulation and in a training alike: who, and where to."""

import numpy as np
from numpy.typing import NDArray

from bench.simulation.seats import Seats
from protocols.randomness import public_stream
from protocols.types import Clustering

__all__ = ["churn_stream", "departures", "owners_of", "turn_over"]


def churn_stream(seed: int, round_index: int) -> np.random.Generator:
    """Return the stream of the joins and leaves before a round."""
    return public_stream(seed, "simulation", "churn", round_index)


def departures(rng: np.random.Generator, *, n: int, share: float, least: int) -> int:
    """Return how many of n processes leave, a share of them on average, while more than a smallest cluster stay."""
    return min(int(rng.binomial(n, share)), max(0, n - least - 1))


def turn_over(seats: Seats, leavers: NDArray[np.int64]) -> None:
    """Let as many join as leave, in turn; who joins takes over the number of the one that leaves, at a place drawn.

    First the join: at n = m c a leave would dissolve a cluster, and n is the same afterwards.
    """
    spare = len(seats.home)
    for leaver in leavers.tolist():
        seats.join(spare)
        seats.leave(leaver)
        seats.rename(spare, leaver)


def owners_of(clustering: Clustering) -> NDArray[np.int64]:
    """Return the cluster (n,) of each process."""
    owner = np.empty(clustering.n, dtype=np.int64)
    members = np.concatenate([np.array(cluster, dtype=np.int64) for cluster in clustering.clusters])
    owner[members] = np.repeat(np.arange(len(clustering.clusters)), clustering.sizes)
    return owner
