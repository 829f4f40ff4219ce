"""What faulty members do to the messages of their clusters' secure sums, and what became of it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from attacks import attacks
from attacks.api import MessageView
from attacks.plan import specs_of
from bench.cell import Cell
from bench.compressing import combined_rows, updates_of
from bench.hidden import in_order, protocol_of, result_in_the_clear
from bench.hiring import Threads
from bench.inside import means_in_the_clear
from bench.setting import Federation
from protocols.faults import Combined
from protocols.faulty_link import Batches, Fault, Kind, Messages
from protocols.in_process import InProcessParties
from protocols.playable import cluster_protocols
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.types import Clustering

__all__ = ["MISCONDUCT", "misconduct", "misconduct_among", "misconduct_columns", "unfit_misconduct"]

MISCONDUCT = ("identified_culprits", "framed_processes", "bytes_aborted")
"""The columns: how many Byzantine processes were named as cheats, in the whole run, and how many honest ones, which
must be none; and the bytes of secure sums that opened nothing."""


@dataclass(frozen=True, kw_only=True)
class _Moment:
    words: Tensor
    clustering: Clustering
    previous: Tensor | None
    round_index: int


def misconduct(
    federation: Federation, words: Tensor, clustering: Clustering, previous: Tensor | None, round_index: int
) -> Mapping[int, Fault]:
    """Return the fault of each process that misbehaves in this round, by its place among those that take part.

    `words` (n, k) are what the processes put into the sums, `previous` (d,) the last step of the model.
    """
    moment = _Moment(words=words, clustering=clustering, previous=previous, round_index=round_index)
    faults: dict[int, list[Fault]] = {}
    for number, part in enumerate(federation.parts):
        if part.facts["surface"] != "message" or not part.strength(round_index):
            continue
        for members in _companies(federation, clustering):
            for process, fault in _in_cluster(federation, number, members, moment):
                faults.setdefault(process, []).append(fault)
    return {process: each[0] if len(each) == 1 else Combined(faults=tuple(each)) for process, each in faults.items()}


def _companies(federation: Federation, clustering: Clustering) -> Sequence[tuple[int, ...]]:
    """Return who plays a protocol together, by place: the members of a cluster or, where sums stay hidden, of all."""
    if not federation.hidden:
        return clustering.clusters
    return [tuple(process for j in in_order(clustering) for process in clustering.clusters[j])]


def _in_cluster(
    federation: Federation, number: int, members: Sequence[int], moment: _Moment
) -> Iterator[tuple[int, Fault]]:
    part, names = federation.parts[number], federation.numbers
    colluding = frozenset(place for place, process in enumerate(members) if part.senders[process])
    if not colluding:
        return
    attack: Any = attacks.make(part.spec)
    mean = _mean(federation, members, moment) if part.facts["reads_mean"] else None
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


def _mean(federation: Federation, members: Sequence[int], moment: _Moment) -> Tensor | None:
    """Return what a cluster is about to open (d,) of its members' words, none of which a crashed one sends.

    Where sums stay hidden, it is what the rule makes of all of them.
    """
    if federation.hidden:
        return result_in_the_clear(federation, moment.words, moment.clustering)
    there = [process for process in members if not federation.crashed[process]]
    gone = np.array([len(members) - len(there)])
    if bool(federation.conditions.lost(len(members), np.zeros_like(gone), gone)[0]):
        return None
    alone = Clustering(clusters=(tuple(range(len(there))),))
    means, _ = means_in_the_clear(federation.protocol, federation.ring, moment.words[there], alone, federation.centre)
    return updates_of(federation, combined_rows(federation, means))[0] if len(means) else None


def misconduct_among(federation: Federation) -> str:
    """Return who plays where somebody misbehaves: "threads", in virtual time, "processes", over TCP, or "": nobody."""
    if not any(part.facts["surface"] == "message" and part.senders.any() for part in federation.parts):
        return ""
    return Threads.name if federation.hidden else federation.hire.name


def unfit_misconduct(cell: Cell, sizes: Sequence[int]) -> str | None:
    """Return why an attack on messages would do nothing in clusters of these sizes: its exchange never comes.

    Or, where faulty members of two clusters act together, they cannot.
    """
    on_messages = [spec for spec in specs_of(cell.attack) if attacks.entry(spec.name).facts["surface"] == "message"]
    for spec in on_messages:
        if attacks.entry(spec.name).facts["swaps"] and (why := _unfit_swap(cell, sizes, on_messages)):
            return f"{spec.name} swaps messages of faulty members of two clusters, and {why}"
        step = dict(spec.parameters).get("step")
        if not isinstance(step, int):
            continue
        together = {sum(sizes)} if cluster_protocols.is_hidden(cell.protocol.name) else set(sizes)
        last = max(_exchanges(protocol_of(cell, sizes), size) for size in together) - 1
        if step > last:
            return f"{spec.name} acts in exchange {step}, and the last one of {cell.protocol.name} is exchange {last}"
    return None


def _unfit_swap(cell: Cell, sizes: Sequence[int], on_messages: Sequence[Spec]) -> str | None:
    if len(on_messages) > 1:
        return f"it goes with no other attack on messages; here are {', '.join(each.name for each in on_messages)}"
    if cell.f < 2:
        return f"f = {cell.f}"
    return None if len(set(sizes)) < len(sizes) else f"of clusters of {list(sizes)} members no two are of one size"


@dataclass(kw_only=True)
class _Counting:
    """A fault that changes nothing, and counts the exchanges of its party."""

    kind: ClassVar[Kind] = "crash"
    step: int = 0
    count: int = 0

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> Sequence[Messages]:  # noqa: ARG002
        self.count = step + 1
        return [outgoing]


@lru_cache(maxsize=256)
def _exchanges(protocol: Spec, size: int) -> int:
    """Return in how many exchanges of a cluster's batch its busiest member takes part; their number is public."""
    counting = {rank: _Counting() for rank in range(size)}
    words = torch.zeros(1, size, size, dtype=torch.int64)
    InProcessParties(size, faults=dict(counting)).open_sums(protocol, words)
    return max(each.count for each in counting.values())


def misconduct_columns(
    named: Sequence[frozenset[int]], aborted_bytes: Sequence[int], byzantine: Sequence[frozenset[int]]
) -> dict[str, int]:
    """Return the columns MISCONDUCT, from whom each round named, what it lost, and who was Byzantine in it."""
    culprits = frozenset[int]().union(*(who & bad for who, bad in zip(named, byzantine, strict=True)))
    framed = frozenset[int]().union(*(who - bad for who, bad in zip(named, byzantine, strict=True)))
    return dict(zip(MISCONDUCT, (len(culprits), len(framed), int(np.sum(aborted_bytes))), strict=True))
