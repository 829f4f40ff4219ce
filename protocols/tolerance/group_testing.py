"""Group testing: which processes are Byzantine, from which of their clusters were tainted, round after round."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.binomial import Floats, log_binomial, log_hypergeometric
from protocols.tolerance.disclosure import Clusters

__all__ = ["Accusation", "GroupTests", "Noise", "accusation", "rounds_until_identified"]

Counts = NDArray[np.int64]
_MOST_ROUNDS = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Noise:
    """How tests err: a cluster without Byzantine members is called tainted with probability `false_alarm`, one with
    some is called clean with probability `miss`.

    Raises: CloisterError unless both are >= 0 and their sum is below 1 (else a test says nothing).
    """

    false_alarm: float = 0.0
    miss: float = 0.0

    def __post_init__(self) -> None:
        check.non_negative(false_alarm=self.false_alarm, miss=self.miss)
        if self.false_alarm + self.miss >= 1:
            raise CloisterError(
                f"false_alarm + miss = {self.false_alarm + self.miss:g} is not allowed; allowed: below 1, "
                f"or a tainted test says nothing"
            )


class GroupTests:
    """The tests of all rounds so far: each cluster of a clustering is one, tainted or not.

    Guarantees:
        Where every cluster with a Byzantine member is called tainted, no Byzantine process is ever cleared.
        Where no other is, a process that is convicted is Byzantine.
        More tests never add a suspect and never take a conviction away.
    """

    def __init__(self, *, n: int) -> None:
        check.integer_at_least(1, n=n)
        self.n = n
        self.tests: Counts = np.zeros(n, dtype=np.int64)
        self.positives: Counts = np.zeros(n, dtype=np.int64)
        self._cleared = np.zeros(n, dtype=np.bool_)
        self._tainted: set[frozenset[int]] = set()
        self._rows: list[tuple[Counts, bool]] = []
        self.rounds = 0

    def add(self, clustering: Clusters, tainted: Sequence[bool]) -> None:
        """Add one round: tainted[j] says what was found of cluster j (absent members may be left out of clusters).

        Raises: CloisterError where flags and clusters differ in number, or a process does not exist.
        """
        clusters = clustering.clusters
        if len(tainted) != len(clusters):
            raise CloisterError(
                f"tainted has {len(tainted)} flags for {len(clusters)} clusters; allowed: one for each cluster"
            )
        for cluster, flag in zip(clusters, tainted, strict=True):
            if any(not 0 <= process < self.n for process in cluster):
                raise CloisterError(f"a cluster names a process beyond n = {self.n}; allowed: 0 to {self.n - 1}")
            members = np.array(cluster, dtype=np.int64)
            self.tests[members] += 1
            self.positives[members] += bool(flag)
            self._rows.append((members, bool(flag)))
            if flag:
                self._tainted.add(frozenset(cluster))
            else:
                self._cleared[members] = True
        self.rounds += 1

    def suspects(self) -> frozenset[int]:
        """Return COMP's answer: all who were in no clean test.

        Guarantees:
            Without misses it holds every Byzantine process (and perhaps honest ones).
        Source: Kautz and Singleton 1964; the name is Chan, Che, Jaggi, Saligrama 2011 (combinatorial orthogonal
            matching pursuit).
        """
        return frozenset(np.flatnonzero(~self._cleared).tolist())

    def convicted(self) -> frozenset[int]:
        """Return DD's answer: the only suspect of some tainted test.

        Guarantees:
            Without misses and false alarms it holds Byzantine processes only (and perhaps not all).
        Source: Aldridge, Baldassini, Johnson 2014, IEEE Trans. Inf. Theory 60 (definite defectives).
        """
        left = self.suspects()
        alone = (left & test for test in self._tainted)
        return frozenset(process for few in alone if len(few) == 1 for process in few)

    def contradicted(self) -> bool:
        """Return whether some tainted test has no suspect left: then tests err."""
        left = self.suspects()
        return any(not left & test for test in self._tainted)

    def identified(self) -> bool:
        """Return whether the Byzantine processes are known: those tested are all either cleared or convicted.

        Guarantees:
            Without errors of the tests, `convicted` is then exactly the Byzantine processes.
        """
        return self.rounds > 0 and not self.contradicted() and self.suspects() == self.convicted()

    def posterior(self, share: float, noise: Noise) -> Floats:
        """Return each process's probability (n,) of being Byzantine, given its own tests: others count as unknown.

        `share` is the prior probability of each process. A reputation may use it: 1 - posterior is a trust score.
        Exact for one process alone; processes' values are not jointly exact.
        Raises: CloisterError unless 0 < share < 1.
        """
        check.fraction(share=share)
        odds = np.full(self.n, math.log(share) - math.log1p(-share))
        for members, flag in self._rows:
            others = 1 - (1 - share) ** (len(members) - 1)
            guilty = 1 - noise.miss
            innocent = others * (1 - noise.miss) + (1 - others) * noise.false_alarm
            odds[members] += _log(guilty if flag else 1 - guilty) - _log(innocent if flag else 1 - innocent)
        with np.errstate(over="ignore"):
            return 1 / (1 + np.exp(-odds))

    def accused(self, rule: "Accusation") -> frozenset[int]:
        """Return those whose clusters were tainted in at least `rule.least` of its rounds (or their share of them)."""
        needed = np.ceil(self.tests * rule.least / rule.rounds - 1e-9)
        return frozenset(np.flatnonzero((self.tests > 0) & (self.positives >= needed)).tolist())


def _log(probability: float) -> float:
    # A test that cannot err decides, but a contradiction of two such must not make a number that is none.
    return math.log(max(probability, 1e-300))


@dataclass(frozen=True, kw_only=True)
class Accusation:
    """Accuse whoever was in a tainted cluster in at least `least` of `rounds` rounds.

    `error` bounds the probability that anybody of the n is judged wrongly.
    """

    rounds: int
    least: int
    error: float


def _rates(n: int, faulty: int, cluster_size: int, noise: Noise) -> tuple[float, float]:
    """P(a test is positive) for a Byzantine member and, at most, for an honest one."""
    size = min(cluster_size, n)
    # None of the size - 1 others of an honest member is Byzantine.
    none = math.exp(float(log_hypergeometric([np.zeros(())], n - 1, (faulty,), size - 1))) if n > 1 else 1.0
    return 1 - noise.miss, (1 - none) * (1 - noise.miss) + none * noise.false_alarm


def accusation(*, n: int, faulty: int, cluster_size: int, rounds: int, noise: Noise) -> Accusation:
    """Return the rule with the least bound on its error, for fresh random partitions with clusters up to a size.

    A process is in one test a round, and rounds are drawn independently, so its positives are binomial: at a rate of
    1 - miss if it is Byzantine, else at most at that of an honest member of the largest cluster. Union over all n.

    Guarantees:
        Somebody is judged wrongly with probability at most `error`.
    Source: thresholding as in Chan, Che, Jaggi, Saligrama 2011, Allerton (noisy COMP), with exact binomial tails.
    """
    _check_tests(n, faulty, cluster_size)
    check.integer_at_least(1, rounds=rounds)
    guilty, innocent = _rates(n, faulty, cluster_size, noise)
    if guilty == 1:  # COMP: who was ever in a negative test is honest, and no other rule has a lower bound
        error = (n - faulty) * innocent**rounds
        return Accusation(rounds=rounds, least=rounds, error=min(1.0, error))
    count = np.arange(rounds + 1, dtype=np.float64)
    missed = np.concatenate([[0.0], np.cumsum(np.exp(log_binomial(count, np.asarray(float(rounds)), guilty)))])
    alarms = np.exp(log_binomial(count, np.asarray(float(rounds)), innocent))[::-1].cumsum()[::-1]
    errors = faulty * missed[:-1] + (n - faulty) * alarms
    least = int(np.argmin(errors))
    return Accusation(rounds=rounds, least=least, error=min(1.0, float(errors[least])))


def rounds_until_identified(
    *, n: int, faulty: int, cluster_size: int, noise: Noise, error: float = 1e-6
) -> Accusation | None:
    """Return the rule with the fewest rounds whose error is at most `error`; None where a million do not suffice.

    Raises: CloisterError unless 0 < error < 1.
    """
    check.fraction(error=error)
    high = 1
    while accusation(n=n, faulty=faulty, cluster_size=cluster_size, rounds=high, noise=noise).error > error:
        if high >= _MOST_ROUNDS:
            return None
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        found = accusation(n=n, faulty=faulty, cluster_size=cluster_size, rounds=middle, noise=noise)
        low, high = (low, middle) if found.error <= error else (middle, high)
    return accusation(n=n, faulty=faulty, cluster_size=cluster_size, rounds=high, noise=noise)


def _check_tests(n: int, faulty: int, cluster_size: int) -> None:
    check.integer_at_least(1, n=n, cluster_size=cluster_size)
    check.integer_at_least(0, faulty=faulty)
    if faulty >= n:
        raise CloisterError(f"faulty = {faulty} leaves no honest process of n = {n}; allowed: 0 to {n - 1}")
    if cluster_size > n:
        raise CloisterError(f"cluster_size = {cluster_size} does not fit n = {n} processes; allowed: 1 to {n}")
