"""Which clusters' sums run as one batch, who sits at which place of it, and what the places do to their messages."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from protocols.faults import Crash, WrongCluster
from protocols.faulty_link import Fault
from protocols.types import Clustering

__all__ = ["Sitting", "at_work", "seated"]


@dataclass(frozen=True, kw_only=True)
class Sitting:
    """One batch: the clusters `numbers`, the processes of each by their places, and the faults of places.

    Place j of all clusters is played by one party, whose fault is that of all who sit there.
    """

    numbers: tuple[int, ...]
    seats: tuple[tuple[int, ...], ...]
    faults: Mapping[int, Fault] = field(default_factory=lambda: MappingProxyType({}))
    attempt: int = 0

    @property
    def misbehaves(self) -> bool:
        """Whether somebody in it is gone or misbehaves."""
        return bool(self.faults)

    def members(self, place: int) -> tuple[int, ...]:
        """Return who sits at this place of each cluster."""
        return tuple(seats[place] for seats in self.seats)

    @property
    def alone(self) -> "list[Sitting]":
        """Each cluster by itself, for another attempt; for batches in which nobody misbehaves."""
        return [
            Sitting(numbers=(number,), seats=(members,), attempt=self.attempt + 1)
            for number, members in zip(self.numbers, self.seats, strict=True)
        ]


def at_work(clustering: Clustering, gone: Collection[int], misconduct: Mapping[int, Fault]) -> Mapping[int, Fault]:
    """Return the misconduct without that of members who would swap messages with another cluster and cannot."""
    swapped = {process for pair in _pairs(clustering, gone, misconduct) for process in pair.swappers}
    return {
        process: fault
        for process, fault in misconduct.items()
        if not isinstance(fault, WrongCluster) or process in swapped
    }


def seated(
    clustering: Clustering,
    gone: Collection[int],
    misconduct: Mapping[int, Fault],
    *,
    misled: Collection[int] = frozenset(),
) -> list[Sitting]:
    """Return the batches of a round, in the order of their first clusters.

    Clusters of one size are one batch, but a cluster in which somebody is `gone`, misbehaves or is `misled` sits alone,
    or with the one whose members swap messages with its own.
    """
    pairs = _pairs(clustering, gone, misconduct)
    found = [pair.sitting(clustering) for pair in pairs]
    paired = {number for sitting in found for number in sitting.numbers}
    by_size: dict[int, list[int]] = defaultdict(list)
    for number, members in enumerate(clustering.clusters):
        faults = _faults_of(members, gone, misconduct)
        if number not in paired and (faults or not set(members).isdisjoint(misled)):
            found.append(Sitting(numbers=(number,), seats=(members,), faults=faults))
        elif number not in paired:
            by_size[len(members)].append(number)
    for numbers in by_size.values():
        seats = tuple(clustering.clusters[number] for number in numbers)
        found.append(Sitting(numbers=tuple(numbers), seats=seats))
    return sorted(found, key=lambda sitting: sitting.numbers)


def _faults_of(members: Sequence[int], gone: Collection[int], misconduct: Mapping[int, Fault]) -> dict[int, Fault]:
    """Return the faults by place; who swaps messages with nobody follows the protocol."""
    faults = {
        place: misconduct[process]
        for place, process in enumerate(members)
        if process in misconduct and not isinstance(misconduct[process], WrongCluster)
    }
    return faults | {place: Crash(step=0) for place, process in enumerate(members) if process in gone}


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """Two clusters, and the members of each (as many in one as in the other) that swap their messages."""

    numbers: tuple[int, int]
    members: tuple[tuple[int, ...], tuple[int, ...]]
    fault: Fault

    @property
    def swappers(self) -> tuple[int, ...]:
        return (*self.members[0], *self.members[1])

    def sitting(self, clustering: Clustering) -> Sitting:
        """Return their batch: the second cluster sits so that those who swap share places with the first one's."""
        first, second = (clustering.clusters[number] for number in self.numbers)
        places = [first.index(process) for process in self.members[0]]
        others = iter(process for process in second if process not in self.members[1])
        counterparts = dict(zip(places, self.members[1], strict=True))
        seats = tuple(counterparts[place] if place in counterparts else next(others) for place in range(len(second)))
        return Sitting(numbers=self.numbers, seats=(first, seats), faults=dict.fromkeys(places, self.fault))


def _pairs(clustering: Clustering, gone: Collection[int], misconduct: Mapping[int, Fault]) -> list[_Pair]:
    """Return the clusters whose members swap messages, two by two in their order."""
    alike: dict[tuple[int, Fault], list[int]] = defaultdict(list)
    for number, members in enumerate(clustering.clusters):
        faults = [misconduct[process] for process in members if process in misconduct]
        swaps = bool(faults) and isinstance(faults[0], WrongCluster) and all(each == faults[0] for each in faults)
        if swaps and not set(members) & set(gone):
            alike[len(members), faults[0]].append(number)
    return [
        _pair(clustering, first, second, misconduct, fault)
        for (_, fault), numbers in alike.items()
        for first, second in zip(numbers[::2], numbers[1::2], strict=False)
    ]


def _pair(clustering: Clustering, first: int, second: int, misconduct: Mapping[int, Fault], fault: Fault) -> _Pair:
    senders = [
        [process for process in clustering.clusters[number] if process in misconduct] for number in (first, second)
    ]
    both = min(map(len, senders))
    return _Pair(numbers=(first, second), members=(tuple(senders[0][:both]), tuple(senders[1][:both])), fault=fault)
