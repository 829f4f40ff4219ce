"""The exact law of a beacon's sum among three processes, one of them the adversary's, over a tiny field.

The adversary follows the protocol until, in one of its exchanges, it does something else: it may choose when and what
by all that it has seen, which is what the others have sent to it and to the board, in this exchange as well (it
rushes). All that one honest process draws is enumerated, everything else is held. For each thing that the adversary
can do the beacon itself is run, on all the draws at once, and then the strategy is found, among all functions from
what was seen to what is done, that opens a given value most often. Counts are exact, so there is no false alarm.

Where no strategy opens any value more often than the uniform law does, every strategy leaves the law uniform.

Messages of bytes (hashes) are taken as ideal, and the challenge of the proofs is held: see protocols.testing._taped.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import product
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from protocols.beacons import beacons
from protocols.faults import Crash, Duplicate, Garbage, Mute, Replay, Tamper, Truncate, WrongDtype
from protocols.faulty_link import Batches, Fault, Kind, Messages
from protocols.network import BOARD, NetworkError
from protocols.playable import playable
from protocols.registry import Spec
from protocols.testing._taped import Script, opened_by, record
from protocols.testing.invariants.contract import Evidence, Violation

__all__ = ["ADVERSARY", "PARTIES", "Law", "is_unbiased", "law_of"]

PARTIES = 3
ADVERSARY = 0
"""The first place: of rows that nobody checks, its is among those that count."""
_ENUMERATED = 1
_HELD_SEED = 0
_TINY = MappingProxyType({"name": "shared", "elements": 1, "modulus": 5, "checks": 1})

Words = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Law:
    """What the adversary can do to the law of a beacon's sum.

    `best` is the highest probability with which some strategy has some value opened, `uniform` what it is without an
    adversary; `aborts` are the deviations that end in an error; `cases` counts the runs, one for each of the draws.
    """

    best: Fraction
    uniform: Fraction
    aborts: tuple[str, ...]
    deviations: int
    cases: int


@dataclass(frozen=True, kw_only=True)
class _Spy:
    """Changes nothing, and keeps what its process sends in each exchange."""

    kind: ClassVar[Kind] = "crash"
    step: int = 0
    sent: list[dict[int, Tensor]] = field(default_factory=list[dict[int, Tensor]], compare=False, repr=False)

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:  # noqa: ARG002
        """See Fault."""
        self.sent.append({peer: tensor.clone() for peer, tensor in outgoing.items()})
        return [outgoing]


def is_unbiased(spec: Spec | None = None) -> Evidence:
    """Return how many cases show that no strategy moves the law of a beacon over a tiny field; by default `shared`'s.

    Raises: Violation with the best strategy's chance where one does.
    """
    spec = beacons.resolve(_TINY) if spec is None else spec
    law = law_of(spec)
    replay = f"protocols.testing.invariants.beacons.law_of({spec.canonical()})"
    if law.aborts:
        raise Violation(f"{spec}: one faulty process of {PARTIES} stops it by {law.aborts[0]}", replay=replay)
    if law.best != law.uniform:
        raise Violation(f"{spec}: one faulty process of {PARTIES} opens a value with chance {law.best}", replay=replay)
    text = (
        f"no strategy over {law.deviations} deviations of one process of {PARTIES} opens any value of "
        f"{law.uniform.denominator} with another chance than {law.uniform}"
    )
    return Evidence(how="exact", cases=law.cases, text=text)


def law_of(spec: Spec, *, thorough: bool = True) -> Law:
    """Return the law of the sum under all strategies; with fewer kinds of deviations unless `thorough`.

    The beacon must add one element a process, of a small field.
    """
    script = record(spec, PARTIES)
    modulus = playable(spec).ring.modulus
    inputs, digits = _enumerated(script, modulus)
    spies = {rank: _Spy() for rank in range(PARTIES)}
    honest = opened_by(replace(script, faults=spies), inputs, digits)[:, 0] % modulus
    views = _views([spy for rank, spy in spies.items() if rank != ADVERSARY], len(inputs))
    aborts: list[str] = []
    outcomes: dict[int, list[Words]] = {}
    deviations = list(_deviations(spies[ADVERSARY].sent, modulus, thorough=thorough))
    for deviation in deviations:
        try:
            opened = opened_by(replace(script, faults={ADVERSARY: deviation}), inputs, digits)[:, 0] % modulus
        except NetworkError:
            aborts.append(str(deviation))
            continue
        outcomes.setdefault(deviation.step, []).append(opened)
    best = max(_best_chance(views, honest, outcomes, target) for target in range(modulus))
    return Law(
        best=best,
        uniform=Fraction(1, modulus),
        aborts=tuple(aborts),
        deviations=len(deviations),
        cases=(len(deviations) + 1 - len(aborts)) * len(inputs),
    )


def _enumerated(script: Script, modulus: int) -> tuple[Words, Words]:
    """Return inputs (rows, PARTIES, 1) and digits (rows, columns): all values of what one honest process draws."""
    held = script.random_tapes(1, _HELD_SEED)[0]
    free = [column for column, holders in enumerate(script.holders) if holders == frozenset({_ENUMERATED})]
    values = np.array(list(product(range(modulus), repeat=1 + len(free))), dtype=np.int64)
    inputs = np.ones((len(values), PARTIES, 1), dtype=np.int64)
    inputs[:, _ENUMERATED, 0] = values[:, 0]
    digits = np.tile(held, (len(values), 1))
    digits[:, free] = values[:, 1:]
    return inputs, digits


def _views(spies: Sequence[_Spy], clusters: int) -> list[Words]:
    """Return, for each exchange, which clusters look alike up to then: the number (clusters,) of their group."""
    seen: list[Words] = []
    groups: list[Words] = []
    for step in range(max(len(spy.sent) for spy in spies)):
        sent = [spy.sent[step] for spy in spies if step < len(spy.sent)]
        seen += [
            tensor.reshape(clusters, -1).numpy()
            for messages in sent
            for peer, tensor in messages.items()
            if peer in (ADVERSARY, BOARD) and tensor.dtype == torch.int64 and tensor.shape[0] == clusters
        ]
        columns = np.concatenate([np.zeros((clusters, 1), dtype=np.int64), *seen], axis=1)
        groups.append(np.unique(columns, axis=0, return_inverse=True)[1].reshape(-1))
    return groups


def _deviations(sent: Sequence[Mapping[int, Tensor]], modulus: int, *, thorough: bool) -> Iterator[Fault]:
    """Yield what the adversary can do in each exchange in which it sends something."""
    for step, messages in enumerate(sent):
        if not messages:
            continue
        yield from (Crash(step=step), Mute(step=step), Tamper(step=step, delta=1))
        if not thorough:
            continue
        yield from (Garbage(step=step, excess_bytes=0), Truncate(step=step), Replay(step=step), Duplicate(step=step))
        yield from (Tamper(step=step, delta=delta, word=0) for delta in range(1, modulus))
        yield Tamper(step=step, delta=1, word=-1)
        yield from (Mute(step=step, to=peer) for peer in messages)
        yield from (Tamper(step=step, delta=1, to=peer) for peer in messages)
        yield from (Crash(step=step, after=count) for count in range(1, len(messages)))
        yield WrongDtype(step=step)


def _best_chance(
    views: Sequence[Words], honest: Words, outcomes: Mapping[int, Sequence[Words]], target: int
) -> Fraction:
    """Return the highest probability with which a strategy has the target opened, by induction from the last exchange.

    In each group of clusters that look alike the adversary does what opens the target in most of them, or goes on.
    """
    steps = min(len(views), max(outcomes, default=0) + 1)
    following = (honest == target).astype(np.int64)  # for each cluster alone: nothing is hidden at the end
    groups = np.arange(len(honest))
    for step in reversed(range(steps)):
        coarser = views[step]
        first = np.unique(groups, return_index=True)[1]  # a cluster of each finer group, in their order
        best = np.bincount(coarser[first], weights=following).astype(np.int64)
        for opened in outcomes.get(step, ()):
            hits = np.bincount(coarser, weights=opened == target).astype(np.int64)
            best = np.maximum(best, hits)
        groups, following = coarser, best
    return Fraction(int(following.sum()), len(honest))
