"""Group testing round by round in bounded memory: the decoders of protocols.tolerance.group_testing on arrays."""

import math

import numpy as np
from numpy.typing import NDArray

from bench.simulation.counting import Occupancy, Owner
from protocols import check
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.group_testing import Noise

__all__ = ["Screening", "tested_clusters"]

Counts = NDArray[np.int64]
Mask = NDArray[np.bool_]


def tested_clusters(counts: Occupancy, conditions: Conditions) -> Mask:
    """Return which clusters (m,) deliver a sum that can be tested, or abort by a Byzantine member's doing.

    A cluster that its crashed members alone stop says nothing about its members.
    """
    silent = np.zeros(len(counts.size), dtype=np.bool_)
    for size in np.unique(counts.size).tolist():
        at = np.flatnonzero(counts.size == size)
        silent[at] = conditions.lost(size, np.zeros(len(at), dtype=np.int64), counts.crashed[at])
    return ~silent


class Screening:
    """The tests of all rounds so far. Suspects are COMP's; with noise, those more likely Byzantine than not.

    Guarantees:
        Without noise `suspects` are those of GroupTests after the same tests, and `convicted` some of those.
        With noise `posterior` is that of GroupTests after the same tests.

    Raises: CloisterError unless 0 < share < 1, where there is noise.
    """

    def __init__(self, n: int, *, share: float, noise: Noise) -> None:
        self._noise = noise
        self._noisy = noise.false_alarm > 0 or noise.miss > 0
        self._share = share
        if self._noisy:
            check.fraction(share=share)
        self._prior = math.log(share) - math.log1p(-share) if self._noisy else 0.0
        self._odds = np.full(n, self._prior)
        self._cleared = np.zeros(n, dtype=np.bool_)
        self.convicted: Mask = np.zeros(n, dtype=np.bool_)
        self.rounds = 0
        self.first_right: int | None = None
        self.right_since: int | None = None

    @property
    def suspects(self) -> Mask:
        """Who may be (without noise) or probably is (with noise) Byzantine, bool (n,)."""
        return self._odds > 0 if self._noisy else ~self._cleared

    @property
    def posterior(self) -> NDArray[np.float64]:
        """The probability (n,) of being Byzantine, given each process's own tests; 0.5 where there is no noise."""
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-self._odds))

    def add(self, owner: Owner, size: Counts, tested: Mask, tainted: Mask) -> None:
        """Add the tests of a round: the cluster (n,) of each process, and for each cluster its size and its test."""
        self.rounds += 1
        if self._noisy:
            self._odds += np.where(tested, self._weights(size, tainted), 0.0)[owner]
            return
        self._cleared |= (tested & ~tainted)[owner]
        left = np.bincount(owner[~self._cleared], minlength=len(size))
        self.convicted |= (tested & tainted & (left == 1))[owner] & ~self._cleared

    def _weights(self, size: Counts, tainted: Mask) -> NDArray[np.float64]:
        others = 1 - (1 - self._share) ** (size - 1)
        guilty = 1 - self._noise.miss
        innocent = others * guilty + (1 - others) * self._noise.false_alarm
        return np.where(tainted, math.log(guilty) - _log(innocent), math.log(self._noise.miss) - _log(1 - innocent))

    def compare(self, byzantine: Mask) -> None:
        """Note whether the suspects are now exactly the Byzantine processes, bool (n,)."""
        if not np.array_equal(self.suspects, byzantine):
            self.right_since = None
            return
        self.right_since = self.rounds if self.right_since is None else self.right_since
        self.first_right = self.rounds if self.first_right is None else self.first_right

    def renumber(self, former: NDArray[np.int64]) -> None:
        """Give the processes new numbers; nothing is known of one that joined (-1)."""
        joined = former < 0
        self._odds = np.where(joined, self._prior, self._odds[former])
        self._cleared = self._cleared[former] & ~joined
        self.convicted = self.convicted[former] & ~joined


def _log(probability: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.log(np.maximum(probability, 1e-300))
