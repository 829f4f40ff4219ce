"""The verdict on one placement: which clusters are exposed, tainted or lost, what holds for the whole, and why."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.conditions import Conditions
from protocols.types import Clustering

__all__ = ["ClusterVerdict", "FaultyProcesses", "Verdict", "verdict"]

_MOST_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class FaultyProcesses:
    """Who of the processes 0..n-1 is faulty, and how; a process has one kind of fault at most.

    Raises: CloisterError for a process that does not exist or has two kinds.
    """

    n: int
    byzantine: frozenset[int] = frozenset()
    crashed: frozenset[int] = frozenset()
    curious: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        check.integer_at_least(1, n=self.n)
        kinds = {"byzantine": self.byzantine, "crashed": self.crashed, "curious": self.curious}
        for kind, processes in kinds.items():
            strange = sorted(processes - set(range(self.n)))
            if strange:
                raise CloisterError(f"{kind} = {strange} are no processes; allowed: 0 to {self.n - 1}")
        if sum(map(len, kinds.values())) > len(self.byzantine | self.crashed | self.curious):
            twice = sorted((self.byzantine & self.crashed) | ((self.byzantine | self.crashed) & self.curious))
            raise CloisterError(f"processes {twice} have two kinds of fault; allowed: one each")

    @property
    def colluding(self) -> frozenset[int]:
        """The processes that pool what they see."""
        return self.byzantine | self.curious


@dataclass(frozen=True, kw_only=True)
class ClusterVerdict:
    """What the faults in one cluster can do: False where they can; `why` has one sentence for each False.

    `correct`: no other mean is taken for the cluster's, be it by a Byzantine input (`tainted`) or by a wrong message.
    """

    members: tuple[int, ...]
    private: bool
    correct: bool
    live: bool
    tainted: bool
    why: tuple[str, ...]

    @property
    def broken(self) -> bool:
        """Whether a threshold is exceeded: more than a Byzantine input is wrong."""
        return not (self.private and self.live and (self.correct or self.tainted))


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a placement does to a round at worst.

    `tolerate` is F, how many clusters that are wrong or lost the outer rule withstands (-1: too few clusters for it).
    """

    clusters: tuple[ClusterVerdict, ...]
    tolerate: int
    private: bool
    correct: bool
    live: bool
    why: tuple[str, ...]

    @property
    def safe(self) -> bool:
        """Whether the placement is tolerated on all three sides."""
        return self.private and self.correct and self.live

    def _numbers(self, chosen: Sequence[bool]) -> tuple[int, ...]:
        return tuple(j for j, each in enumerate(chosen) if each)

    @property
    def exposed(self) -> tuple[int, ...]:
        """The clusters in which colluding members learn more than they should."""
        return self._numbers([not cluster.private for cluster in self.clusters])

    @property
    def tainted(self) -> tuple[int, ...]:
        """The clusters whose mean is not, or may not be, that of honest inputs."""
        return self._numbers([not cluster.correct for cluster in self.clusters])

    @property
    def lost(self) -> tuple[int, ...]:
        """The clusters that may deliver nothing."""
        return self._numbers([not cluster.live for cluster in self.clusters])


def verdict(
    clustering: Clustering,
    faulty: FaultyProcesses,
    conditions: Conditions,
    breakdown: int,
    *,
    tolerate: int | None = None,
    numbers: Sequence[int] | None = None,
) -> Verdict:
    """Return the verdict; `breakdown` is what the outer rule withstands of the m clusters (`Aggregator.breakdown(m)`).

    `tolerate` is how many wrong clusters the rule was told to withstand, where that is less. `numbers` are the
    processes' numbers in the reasons, where they are not 0..n-1.

    Guarantees:
        Its three sides fail on exactly the share of uniformly random placements that `analyse` computes.
        What it calls safe, no attack on messages, inputs or views breaks.

    Raises: CloisterError where clusters and faulty processes are not of the same processes.

    Source: design notes 2.1 and 2.2.
    """
    if clustering.n != faulty.n:
        raise CloisterError(f"n = {faulty.n} does not fit clusters of {clustering.n} processes; allowed: the same n")
    said = list(range(faulty.n)) if numbers is None else list(numbers)
    clusters = tuple(_of_cluster(members, faulty, conditions, said) for members in clustering.clusters)
    told = breakdown if tolerate is None else min(breakdown, tolerate)
    lost = [j for j, each in enumerate(clusters) if not each.live]
    wrong = [j for j, each in enumerate(clusters) if not each.correct]
    failed = sorted({*lost, *wrong})
    return Verdict(
        clusters=clusters,
        tolerate=breakdown,
        private=all(each.private for each in clusters),
        correct=len(failed) <= breakdown and len(wrong) <= told,
        live=len(lost) <= breakdown,
        why=(*_exposures(clusters), *_failures(wrong, lost, told, breakdown, len(clusters))),
    )


def _exposures(clusters: Sequence[ClusterVerdict]) -> list[str]:
    exposed = [j for j, each in enumerate(clusters) if not each.private]
    why = [f"cluster {j} {clusters[j].why[0]}" for j in exposed[:_MOST_NAMED]]
    if len(exposed) > _MOST_NAMED:
        why.append(f"{len(exposed) - _MOST_NAMED} more clusters are exposed")
    return why


def _failures(wrong: Sequence[int], lost: Sequence[int], told: int, breakdown: int, m: int) -> list[str]:
    if breakdown < 0:
        return [f"the rule is not defined for {m} clusters"]
    events = (
        (sorted({*wrong, *lost}), breakdown, "wrong or lost", "withstands"),
        (lost, breakdown, "lost", "withstands"),
        (wrong, told, "wrong", "was told to withstand"),
    )
    whys: dict[tuple[int, ...], str] = {}
    for failed, most, how, does in events:
        if len(failed) > most:
            which = f"clusters {_named(failed)} are" if len(failed) > 1 else f"cluster {failed[0]} is"
            reason = f"{which} {how}, {len(failed)} of {m}; the rule {does} {most}"
            whys.setdefault(tuple(failed), reason)
    return list(whys.values())


def _named(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:_MOST_NAMED]))
    return f"{shown} and {len(numbers) - _MOST_NAMED} more" if len(numbers) > _MOST_NAMED else shown


def _of_cluster(
    members: tuple[int, ...], faulty: FaultyProcesses, conditions: Conditions, numbers: Sequence[int]
) -> ClusterVerdict:
    c, within = len(members), set(members)
    b, k, p = (len(within & kind) for kind in (faulty.byzantine, faulty.crashed, faulty.curious))
    colluding, crashed = np.array([b + p]), np.array([k])
    private = not _at(conditions.exposed(c, colluding, crashed))
    live = not _at(conditions.lost(c, np.array([b]), np.array([k])))
    correct = not _at(conditions.tainted(c, np.array([b]), np.array([k])))
    why: list[str] = []
    if not private:
        why.append(_exposure(members, faulty, conditions, numbers))
    if not correct:
        liars = sorted(numbers[process] for process in within & faulty.byzantine)
        why.append(f"has {b} Byzantine of {c} members, process{'es' if b > 1 else ''} {_named(liars)}")
    if not live:
        why.append(f"may deliver nothing with {b} Byzantine and {k} crashed of {c} members")
    return ClusterVerdict(
        members=members,
        private=private,
        correct=correct,
        live=live,
        tainted=b > 0 and not conditions.checked_inputs,
        why=tuple(why),
    )


def _at(mask: np.ndarray) -> bool:
    return bool(np.asarray(mask).reshape(-1)[0])


def _exposure(members: tuple[int, ...], faulty: FaultyProcesses, conditions: Conditions, numbers: Sequence[int]) -> str:
    honest = [numbers[process] for process in members if process not in faulty.colluding]
    if conditions.revealed and len(honest) == 1:
        return f"opens its sum with one honest member, process {honest[0]}"
    if conditions.opens_inputs:
        return "sends its inputs in the clear"
    if _at(conditions.exposed(len(members), np.array([0]), np.array([0]))):
        return "may open one member's input whole"
    if not honest:
        return "has nothing but colluding members"
    together = len(members) - len(honest)
    if not _at(conditions.exposed(len(members), np.array([together]), np.array([0]))):
        return "may open its sum with one honest member, once its crashed members are not in it"
    return (
        f"has {together} colluding of {len(members)} members, who can open the others' inputs, process {_named(honest)}"
    )
