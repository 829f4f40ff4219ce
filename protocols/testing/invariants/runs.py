"""One run that a check looks at, and the same on other inputs; what a protocol says that it tolerates."""

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice
from typing import Any
from unittest import mock

import numpy as np
from torch import Tensor

from protocols import in_process
from protocols.check import CloisterError
from protocols.faults import Replay
from protocols.faulty_link import Fault
from protocols.in_process import InProcessParties
from protocols.in_process_link import InProcessLink
from protocols.network import CheatingDetectedError, NetworkError
from protocols.parties import run_member
from protocols.registry import Spec
from protocols.secure_sum import Party, secure_sums
from protocols.testing.arrivals import Order
from protocols.testing.invariants.contract import Violation
from protocols.testing.keyrings import replayable_keyring
from protocols.testing.outcomes import digests
from protocols.testing.scenarios import Placement, Scenario
from protocols.tolerance.conditions import Conditions
from protocols.types import Traffic

__all__ = [
    "Observation",
    "Pair",
    "Watched",
    "conditions_at",
    "observe",
    "observe_pair",
    "promises_secrecy",
    "rounds_for",
    "scenario_of",
    "size_with_an_absence",
    "sizes",
    "steps_of",
    "suite_line",
    "tolerates",
    "watching",
]

_DEADLINE_S = 60.0  # virtual
CLUSTERS = 2
COORDINATES = 3
_LARGEST = 16
_MOST_EXCHANGES = 2000


@dataclass(frozen=True, kw_only=True)
class Observation:
    """How one run ended: `kind` is "opened" or the name of the error, `typed` whether that is a network error.

    `offset` are the sums less the words of the contributors that are not Byzantine; `flags` the errors in which
    members ended, by rank; `exchanges` the largest number of exchanges of one party; `sent` what each has sent.
    """

    scenario: Scenario
    kind: str
    error: str
    typed: bool
    suspects: frozenset[int]
    contributors: tuple[int, ...]
    sums: Tensor | None
    offset: Tensor | None
    flags: Mapping[int, str]
    exchanges: int
    shape: str
    sent: Mapping[int, Sequence[tuple[int, Tensor]]]

    @property
    def opened(self) -> bool:
        """Whether sums were opened."""
        return self.kind == "opened"

    def violation(self, text: str) -> Violation:
        """Return a violation with the line that replays this run."""
        return Violation(
            f"{self.scenario.protocol}, {self.scenario.parties} members: {text}", replay=self.scenario.line()
        )


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The same faults, keys and schedule, with two different inputs of the members that are not Byzantine."""

    first: Observation
    second: Observation

    @property
    def placement(self) -> Placement:
        """Who fails, and how."""
        return self.first.scenario.placement

    @property
    def counts(self) -> tuple[int, int]:
        """The numbers of Byzantine and of crashed members."""
        return self.placement.counts[:2]


def scenario_of(spec: Spec, parties: int, *, seed: int = 1, faults: Sequence[tuple[int, Fault]] = ()) -> Scenario:
    """Return a run of two clusters and three coordinates, after one without faults where a fault replays that one."""
    return Scenario(
        protocol=spec,
        parties=parties,
        clusters=CLUSTERS,
        coordinates=COORDINATES,
        words_seed=seed,
        schedule=seed,
        placement=Placement(faults=tuple(faults)),
        rounds=rounds_for(faults),
    )


def rounds_for(faults: Sequence[tuple[int, Fault]]) -> int:
    """Return how many rounds a run needs for its faults, which act in the last."""
    return 1 + max((fault.batches_back for _, fault in faults if isinstance(fault, Replay)), default=0)


def suite_line(spec: Spec, invariant: str) -> str:
    """Return the command line that checks one invariant of a spec again."""
    module = secure_sums.entry(spec.name).factory.__module__
    imported = "" if module.startswith("protocols.") else f"--import {module} "
    return f"python -m protocols.testing.suite {imported}'{spec.canonical()}' {invariant}"


def observe(scenario: Scenario, *, words: Tensor | None = None, order: Order | None = None) -> Observation:
    """Run a scenario, on other words and in another order than its own where given; faults act in its last round."""
    if order is None and scenario.order is not None:
        order = Order(scenario.order)
    given = scenario.words() if words is None else words
    flags: dict[int, str] = {}
    watched = Watched()
    active: dict[int, Fault] = {}
    with mock.patch.object(in_process, "run_member", _flagging(flags)), watching(watched):
        parties = InProcessParties(
            scenario.parties,
            deadline_s=_DEADLINE_S,
            faults=active if scenario.placement.faults else None,
            schedule=scenario.schedule,
            keyring=replayable_keyring(scenario.schedule),
            links=None if order is None else order.links,
        )
        kind, text, suspects, opened, network = "opened", "", frozenset[int](), None, True
        try:
            for index in range(scenario.rounds - 1):
                parties.open_sums(scenario.protocol, scenario.words(round_index=index))
            watched.exchanges.clear()
            watched.sent.clear()
            active.update(scenario.placement.by_rank)
            opened = parties.open_sums(scenario.protocol, given)
        except NetworkError as error:
            kind, text = type(error).__name__, str(error)
            suspects = error.suspects if isinstance(error, CheatingDetectedError) else suspects
        except Exception as error:  # a mistake in the protocol's code is an outcome too
            kind, text, network = type(error).__name__, str(error), False
    ring = scenario.ring
    honest = [r for r in opened.contributors if r not in scenario.placement.byzantine] if opened else []
    return Observation(
        scenario=scenario,
        kind=kind,
        error=text,
        typed=network,
        suspects=opened.suspects if opened else suspects,
        contributors=opened.contributors if opened else (),
        sums=opened.sums if opened else None,
        offset=ring.wrap(opened.sums - ring.wrap(given[:, honest].sum(dim=1))) if opened else None,
        flags=flags,
        exchanges=max(watched.exchanges.values(), default=0),
        shape=digests(parties.transcripts)[1],
        sent=watched.sent,
    )


def observe_pair(scenario: Scenario) -> Pair:
    """Run a scenario twice; in the second run all but the Byzantine members hold other words."""
    first, other = scenario.words(), Scenario.words(_reseeded(scenario))
    byzantine = sorted(scenario.placement.byzantine)
    other[:, byzantine] = first[:, byzantine]
    return Pair(first=observe(scenario), second=observe(scenario, words=other))


def _reseeded(scenario: Scenario) -> Scenario:
    return Scenario(
        protocol=scenario.protocol,
        parties=scenario.parties,
        clusters=scenario.clusters,
        coordinates=scenario.coordinates,
        words_seed=scenario.words_seed + 10**6,
    )


def _flagging(flags: dict[int, str]) -> Callable[[Spec, Party, Tensor], Traffic]:
    def member(spec: Spec, party: Party, words: Tensor) -> Traffic:
        try:
            return run_member(spec, party, words)
        except BaseException as error:
            flags[party.rank] = type(error).__name__
            raise

    return member


class _EndlessError(RuntimeError):
    """A party exchanges messages without end."""


@dataclass(kw_only=True)
class Watched:
    """How many exchanges each party has made, and what it has sent: (receiver, message), in order."""

    exchanges: Counter[int] = field(default_factory=Counter[int])
    sent: dict[int, list[tuple[int, Tensor]]] = field(default_factory=dict[int, list[tuple[int, Tensor]]])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, rank: int, outgoing: Mapping[int, Tensor]) -> None:
        """Keep what one party sends in one exchange."""
        with self.lock:
            self.exchanges[rank] += 1
            self.sent.setdefault(rank, []).extend((peer, tensor.clone()) for peer, tensor in outgoing.items())
        if self.exchanges[rank] > _MOST_EXCHANGES:
            raise _EndlessError(f"party {rank} makes more than {_MOST_EXCHANGES} exchanges")


def watching(watched: Watched) -> Any:
    """Return a context in which all links in this process tell `watched` what they do."""
    exchange, try_exchange = InProcessLink.exchange, InProcessLink.try_exchange

    def watched_exchange(self: InProcessLink, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]) -> None:
        watched.note(self.rank, outgoing)
        exchange(self, outgoing, incoming)

    def watched_try(
        self: InProcessLink, outgoing: Mapping[int, Tensor], incoming: Mapping[int, Tensor]
    ) -> Mapping[int, NetworkError]:
        watched.note(self.rank, outgoing)
        return try_exchange(self, outgoing, incoming)

    return mock.patch.multiple(InProcessLink, exchange=watched_exchange, try_exchange=watched_try)


def sizes(spec: Spec, most: int, *, least: int = 1) -> list[int]:
    """Return the sizes of clusters that the protocol accepts, else the smallest one beyond `most`."""
    protocol = secure_sums.make(spec)

    def accepts(parties: int) -> bool:
        try:
            protocol.check_size(parties=parties)
        except CloisterError:
            return False
        return True

    accepted = list(filter(accepts, range(least, most + 1)))
    return accepted or list(islice(filter(accepts, range(most + 1, _LARGEST + 1)), 1))


def size_with_an_absence(spec: Spec) -> int | None:
    """Return the smallest cluster of 3 to 9 members that goes on without one of them, if any does."""
    return next((c for c in sizes(spec, 9, least=3) if tolerates(spec, c, 0, 1)[1]), None)


@lru_cache(maxsize=256)
def steps_of(spec: Spec, parties: int) -> int:
    """Return in how many exchanges the busiest member takes part when nobody is faulty."""
    watched = Watched()
    with watching(watched):
        try:
            InProcessParties(parties, keyring=replayable_keyring(1)).open_sums(spec, scenario_of(spec, parties).words())
        except _EndlessError as error:
            raise Violation(f"{spec}: {error} although nobody is faulty", replay=suite_line(spec, "I34")) from None
    return max((count for rank, count in watched.exchanges.items() if rank >= 0), default=0)


def conditions_at(spec: Spec) -> Conditions:
    """Return what the protocol says that it tolerates."""
    return secure_sums.make(spec).conditions


def tolerates(spec: Spec, parties: int, b: int, k: int) -> tuple[bool, bool]:
    """Return whether the sharing stays right, and whether sums come, with b Byzantine and k crashed members."""
    conditions = conditions_at(spec)
    many, few = np.array([b]), np.array([k])
    wrong = conditions.scheme.wrong(many, few, parties, conditions.threshold_at(parties))
    return not bool(wrong[0]), not bool(conditions.lost(parties, many, few)[0])


def promises_secrecy(spec: Spec, parties: int, coalition: int = 0) -> bool:
    """Return whether a coalition of that size with the board may learn nothing."""
    return not bool(conditions_at(spec).exposed(parties, np.array([coalition]), np.array([0]))[0])
