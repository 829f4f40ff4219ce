"""Which members fail and how, and how a fault is written in a line of text."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from pydantic import TypeAdapter, ValidationError

from protocols import check, faults
from protocols.check import CloisterError
from protocols.fault_values import KINDS
from protocols.faults import Combined, Fault
from protocols.network import BOARD

__all__ = ["FAULTS", "Placement", "fault_of", "random_placement", "written"]

FAULTS: Mapping[str, type[Any]] = {name: kind for name, kind in KINDS.items() if kind is not Combined}
"""The faults that a line can name; several faults of one rank are combined."""


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Which members fail and how, and which are curious; rank j is member j of every cluster.

    `faults` are by rank (or BOARD), several of one rank act one after the other. `curious` members send what they
    should and pool what they see.
    """

    faults: tuple[tuple[int, Fault], ...] = ()
    curious: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        both = self.curious & self.by_rank.keys()
        if both:
            raise CloisterError(f"members {sorted(both)} are curious and faulty; allowed: one of both")

    @property
    def by_rank(self) -> dict[int, Fault]:
        """One fault a faulty rank."""
        ranks: dict[int, list[Fault]] = {}
        for rank, fault in self.faults:
            ranks.setdefault(rank, []).append(fault)
        return {rank: each[0] if len(each) == 1 else Combined(faults=tuple(each)) for rank, each in ranks.items()}

    @property
    def byzantine(self) -> frozenset[int]:
        """The members with a Byzantine fault."""
        return frozenset(rank for rank, fault in self.faults if fault.kind == "byzantine" and rank != BOARD)

    @property
    def crashed(self) -> frozenset[int]:
        """The members whose only faults are crashes."""
        return frozenset(rank for rank, _ in self.faults if rank != BOARD) - self.byzantine

    @property
    def misdealing(self) -> frozenset[int]:
        """The Byzantine members that change what they send first, which may be nothing but another input."""
        return frozenset(rank for rank, fault in self.faults if fault.step == 0) & self.byzantine

    @property
    def board_fails(self) -> bool:
        """Whether the board has a fault."""
        return BOARD in self.by_rank

    @property
    def counts(self) -> tuple[int, int, int]:
        """(b, k, p): the numbers of Byzantine, crashed and curious members."""
        return len(self.byzantine), len(self.crashed), len(self.curious)


def written(fault: Fault) -> dict[str, Any]:
    """Return a fault as JSON knows it. Raises: CloisterError for a fault that is not in FAULTS."""
    name = type(fault).__name__
    check.one_of(FAULTS, fault=name)
    plain = json.loads(TypeAdapter[Any](FAULTS[name]).dump_json(fault))
    return {"fault": name, **{key: value for key, value in plain.items() if value is not None}}


def fault_of(plain: Mapping[str, Any]) -> Fault:
    """Return the fault that `written` wrote. Raises: CloisterError naming what is wrong with it."""
    given = dict(plain)
    name = str(given.pop("fault", None))
    check.one_of(FAULTS, fault=name)
    for key in given:
        check.one_of({f.name for f in fields(FAULTS[name])}, **{f"field of {name}": key})
    try:
        return TypeAdapter[Any](FAULTS[name]).validate_json(json.dumps(given))
    except ValidationError as error:
        raise CloisterError(f"fault {name} of {given} is not allowed: {error.errors()[0]['msg']}") from None


_LATE_S = 1e6  # virtual: far beyond any deadline
_MOST_STEPS = 8


def random_placement(stream: np.random.Generator, *, parties: int, clusters: int) -> Placement:
    """Return up to three random faults, one in sixteen of them the board's, and up to two curious members."""
    several = int(stream.integers(min(parties, 3), endpoint=True))
    ranks = [int(rank) for rank in stream.permutation(parties)]
    faulty = [BOARD if stream.random() < 1 / 16 else rank for rank in ranks[:several]]
    curious = ranks[several : several + int(stream.integers(3))]
    placed = [(rank, _random_fault(stream, parties, clusters)) for rank in faulty]
    return Placement(faults=tuple(placed), curious=frozenset(curious))


def _random_fault(stream: np.random.Generator, parties: int, clusters: int) -> Fault:
    def one_of(*choices: Any) -> Any:
        return choices[int(stream.integers(len(choices)))]

    step = int(stream.integers(_MOST_STEPS))
    delta = one_of(1, 2**16, int(stream.integers(1, 2**62)))
    peer = int(stream.integers(-1, parties))
    peers = frozenset(rank for rank in range(-1, parties) if stream.random() < 0.5)
    makers: tuple[Callable[[], Fault], ...] = (
        lambda: faults.Crash(step=step, after=one_of(None, 1, 2, 5)),
        lambda: faults.Mute(step=step, to=one_of(None, peer)),
        lambda: faults.Delay(step=step, seconds=one_of(1.0, _LATE_S)),
        lambda: faults.Duplicate(step=step),
        lambda: faults.Replay(step=step, batches_back=one_of(0, 1)),
        lambda: faults.Equivocate(step=step, delta=delta, to=peers),
        lambda: faults.Tamper(step=step, delta=delta, to=one_of(None, peer), word=one_of(None, 0, -1)),
        lambda: faults.Truncate(step=step),
        lambda: faults.Garbage(step=step, seed=step, excess_bytes=one_of(-1, 0, 0, 0, 1)),
        lambda: faults.WrongDtype(step=step, width=one_of("half", "same", "double")),
        lambda: faults.WrongCluster(step=step, clusters=max(clusters, 2)),
    )
    return one_of(*makers)()
