"""What faulty members do to the messages of their clusters' secure sums, and what became of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from attacks import attacks
from attacks.api import MessageView
from bench.inside import means_in_the_clear
from bench.setting import Federation
from protocols.faults import Combined
from protocols.faulty_link import Fault
from protocols.randomness import public_stream
from protocols.types import Clustering

__all__ = ["MISCONDUCT", "misconduct", "misconduct_columns"]

MISCONDUCT = ("identified_culprits", "framed_processes", "bytes_aborted")
"""The columns: how many Byzantine processes were named as cheats, in the whole run, and how many honest ones, which
must be none; and the bytes of secure sums that opened nothing."""


@dataclass(frozen=True, kw_only=True)
class _Moment:
    words: Tensor
    previous: Tensor | None
    round_index: int


def misconduct(
    federation: Federation, words: Tensor, clustering: Clustering, previous: Tensor | None, round_index: int
) -> Mapping[int, Fault]:
    """Return the fault of each process that misbehaves in this round, by its place among those that take part.

    `words` (n, d) are what the processes put into the sums, `previous` (d,) the last step of the model.
    """
    moment = _Moment(words=words, previous=previous, round_index=round_index)
    faults: dict[int, list[Fault]] = {}
    for number, part in enumerate(federation.parts):
        if part.facts["surface"] != "message" or not part.strength(round_index):
            continue
        for members in clustering.clusters:
            for process, fault in _in_cluster(federation, number, members, moment):
                faults.setdefault(process, []).append(fault)
    return {process: each[0] if len(each) == 1 else Combined(faults=tuple(each)) for process, each in faults.items()}


def _in_cluster(
    federation: Federation, number: int, members: Sequence[int], moment: _Moment
) -> Iterator[tuple[int, Fault]]:
    part, names = federation.parts[number], federation.numbers
    colluding = frozenset(place for place, process in enumerate(members) if part.senders[process])
    if not colluding:
        return
    attack: Any = attacks.make(part.spec)
    mean = _mean(federation, members, moment.words) if part.facts["reads_mean"] else None
    for place in sorted(colluding):
        name = int(names[members[place]])
        view = MessageView(
            place=place,
            members=tuple(int(names[each]) for each in members),
            colluding=colluding,
            mean=mean,
            previous=moment.previous,
            round_index=moment.round_index,
            rng=public_stream(federation.seed, "message attack", moment.round_index, number, name),
        )
        fault: Fault | None = attack(view)
        if fault is not None:
            yield members[place], fault


def _mean(federation: Federation, members: Sequence[int], words: Tensor) -> Tensor | None:
    """Return what a cluster is about to open (d,) of its members' words, none of which a crashed one sends."""
    there = [process for process in members if not federation.crashed[process]]
    gone = np.array([len(members) - len(there)])
    if bool(federation.conditions.lost(len(members), np.zeros_like(gone), gone)[0]):
        return None
    alone = Clustering(clusters=(tuple(range(len(there))),))
    means, _ = means_in_the_clear(federation.protocol, federation.ring, words[there], alone)
    return means[0] if len(means) else None


def misconduct_columns(
    named: Sequence[frozenset[int]], aborted_bytes: Sequence[int], byzantine: Sequence[frozenset[int]]
) -> dict[str, int]:
    """Return the columns MISCONDUCT, from whom each round named, what it lost, and who was Byzantine in it."""
    culprits = frozenset[int]().union(*(who & bad for who, bad in zip(named, byzantine, strict=True)))
    framed = frozenset[int]().union(*(who - bad for who, bad in zip(named, byzantine, strict=True)))
    return dict(zip(MISCONDUCT, (len(culprits), len(framed), int(np.sum(aborted_bytes))), strict=True))
