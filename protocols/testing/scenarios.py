"""Scenarios: who fails how in a batch of secure sums, as one line of text that replays it word for word.

python -m protocols.testing.scenarios 'cloister-replay {"protocol":{"name":"additive"},"parties":3,...}'
python -m protocols.testing.scenarios --import my_package '<a line of a protocol that my_package registers>'
python -m protocols.testing.scenarios --count 1000
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.faults import Fault
from protocols.in_process import InProcessParties
from protocols.network import (
    BOARD,
    CheatingDetectedError,
    OutOfStepError,
    PartyCrashedError,
    PartyTimeoutError,
    TooFewPartiesError,
)
from protocols.parties import check_batch
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.ring import FixedPoint
from protocols.secure_sum import secure_sums
from protocols.testing import examples_of, refusal
from protocols.testing.arrivals import Order, order_of
from protocols.testing.commands import import_first, in_one_line
from protocols.testing.keyrings import replayable_keyring
from protocols.testing.outcomes import Outcome, digests, opened_outcome
from protocols.testing.placements import Placement, fault_of, random_placement, written

__all__ = [
    "Outcome",
    "Placement",
    "Scenario",
    "contradiction",
    "fitting_sizes",
    "main",
    "random_scenario",
    "registered_specs",
    "throughput",
]

_PREFIX = "cloister-replay "
_DEADLINE_S = 60.0  # virtual


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One run of a protocol with faults in its last round; the rounds before follow the protocol.

    `words_seed` 0 gives the words 1, 2, 3, ...; `schedule` seeds the time of each message and all keys. `order`: which
    message arrives next wherever several may, see protocols.testing.arrivals; None: in the order of their times.

    Guarantees:
        The same scenario gives the same outcome and shape, and the same trace where all of the protocol's
        randomness comes from its keyring.
        parse(line()) is the scenario.
    """

    protocol: Spec
    parties: int
    clusters: int = 1
    coordinates: int = 1
    words_seed: int = 0
    placement: Placement = field(default_factory=Placement)
    schedule: int = 0
    rounds: int = 1
    order: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check.integer_at_least(
            1, parties=self.parties, clusters=self.clusters, coordinates=self.coordinates, rounds=self.rounds
        )
        ranks = {*self.placement.by_rank, *self.placement.curious}
        outside = sorted(ranks - {BOARD, *range(self.parties)})
        if outside:
            raise CloisterError(
                f"ranks {outside} are not in a cluster of {self.parties}; allowed: 0 to {self.parties - 1}, {BOARD}"
            )

    @property
    def ring(self) -> FixedPoint:
        """The ring of the protocol's words."""
        return secure_sums.make(self.protocol).ring

    def words(self, *, round_index: int | None = None) -> Tensor:
        """Return the int64 words (clusters, members, coordinates) of a round, by default the last."""
        shape = (self.clusters, self.parties, self.coordinates)
        count = self.clusters * self.parties * self.coordinates
        number = self.rounds - 1 if round_index is None else round_index
        if self.words_seed == 0:
            return self.ring.wrap(torch.arange(1, count + 1).view(shape) + number * count)
        stream = public_stream(self.words_seed, "words", number)
        least, most = -(self.ring.modulus // 2), (self.ring.modulus - 1) // 2
        uniform = stream.integers(least, most, size=count, dtype=np.int64, endpoint=True)
        edges = stream.choice(np.array([0, 1, -1, least, most], dtype=np.int64), size=count)
        words = np.where(stream.random(count) < 0.25, edges, uniform)
        return self.ring.wrap(torch.from_numpy(words).view(shape))

    def run(self) -> Outcome:
        """Return how it ends. Raises: CloisterError where the protocol cannot run in such a cluster."""
        words = [self.words(round_index=index) for index in range(self.rounds)]
        check_batch(self.protocol, words[0], self.parties)
        active: dict[int, Fault] = {}
        parties = InProcessParties(
            self.parties,
            deadline_s=_DEADLINE_S,
            faults=active,
            schedule=self.schedule,
            keyring=replayable_keyring(self.schedule),
            links=None if self.order is None else Order(self.order).links,
        )
        try:
            for before in words[:-1]:
                parties.open_sums(self.protocol, before)
            active.update(self.placement.by_rank)
            opened = parties.open_sums(self.protocol, words[-1])
        except Exception as error:  # a mistake in the protocol's code is an outcome too, and no replay should hide it
            suspects = error.suspects if isinstance(error, CheatingDetectedError) else frozenset[int]()
            trace, shape = digests(parties.transcripts)
            return Outcome(kind=type(error).__name__, suspects=suspects, error=str(error), trace=trace, shape=shape)
        return opened_outcome(opened, words[-1], self.placement.byzantine, self.ring, parties.transcripts)

    def line(self) -> str:
        """Return one line that `parse` understands, without quotes that a shell would take away."""
        config: dict[str, object] = {"protocol": _changed_parameters(self.protocol)}
        numbers = {f.name: getattr(self, f.name) for f in fields(self) if f.type is int}
        defaults = {f.name: f.default for f in fields(self)}
        config.update({name: number for name, number in numbers.items() if number != defaults[name]})
        if self.placement.faults:
            config["faults"] = [[rank, written(fault)] for rank, fault in self.placement.faults]
        if self.placement.curious:
            config["curious"] = sorted(self.placement.curious)
        if self.order is not None:
            config["order"] = self.order
        return _PREFIX + json.dumps(config, separators=(",", ":")).replace("'", "\\u0027")

    @classmethod
    def parse(cls, line: str) -> "Scenario":
        """Return the scenario of a line, with or without its first word. Raises: CloisterError with the reason."""
        config = _loaded(line)
        known = {"protocol", "faults", "curious", "order"} | {f.name for f in fields(cls) if f.type is int}
        for key in config:
            check.one_of(known, field=key)
        missing = sorted({"protocol", "parties"} - config.keys())
        if missing:
            raise CloisterError(f"a replay line without {', '.join(missing)} is not allowed; allowed: lines of line()")
        placed = tuple((rank, fault_of(fault)) for rank, fault in config.pop("faults", ()))
        placement = Placement(faults=placed, curious=frozenset(config.pop("curious", ())))
        order = order_of(config.pop("order", None))
        spec = secure_sums.resolve(config.pop("protocol"))
        return cls(protocol=spec, placement=placement, order=order, **config)


def _loaded(line: str) -> dict[str, Any]:
    try:
        config = json.loads(line.strip().removeprefix(_PREFIX))
    except json.JSONDecodeError as error:
        raise CloisterError(f"{line!r} is no replay line: {error}; allowed: what Scenario.line() returns") from None
    if not isinstance(config, dict):
        raise CloisterError(f"{line!r} is no replay line; allowed: what Scenario.line() returns")
    return cast(dict[str, Any], config)


def _changed_parameters(spec: Spec) -> dict[str, Any]:
    defaults = secure_sums.entry(spec.name).defaults
    return {"name": spec.name, **{key: value for key, value in spec.parameters if value != defaults[key]}}


def contradiction(scenario: Scenario, outcome: Outcome) -> str | None:
    """Return why the outcome cannot be, given what the protocol says that it tolerates, or None.

    A Byzantine member may choose its input, so that sums which are off are no contradiction where a contributor
    changes what it sends first; a board that fails excuses every error and every sum.
    """
    if not outcome.opened and outcome.kind not in _NETWORK_ERRORS:
        return f"the run ended with {outcome.kind}, which is no network error"
    if scenario.placement.board_fails:
        return None
    return next((said for said in _contradictions(scenario, outcome) if said), None)


_NETWORK_ERRORS = {
    kind.__name__
    for kind in (CheatingDetectedError, OutOfStepError, PartyCrashedError, PartyTimeoutError, TooFewPartiesError)
}


def _contradictions(scenario: Scenario, outcome: Outcome) -> Iterator[str | None]:
    conditions = secure_sums.make(scenario.protocol).conditions
    c, placement = scenario.parties, scenario.placement
    b, k = (np.array([count]) for count in placement.counts[:2])
    may_stop = bool(conditions.lost(c, b, k)[0])
    may_be_wrong = bool(conditions.scheme.wrong(b, k, c, conditions.threshold_at(c))[0])
    honest = set(range(c)) - placement.byzantine - placement.crashed
    if not outcome.opened:
        yield None if may_stop else f"{outcome.kind} although {placement.counts} of {c} may fail"
        framed = outcome.suspects and not outcome.suspects & placement.byzantine
        yield f"none of the suspects {sorted(outcome.suspects)} is Byzantine" if framed else None
        return
    explained = bool(placement.misdealing & set(outcome.contributors))
    if outcome.kind == "wrong" and not may_be_wrong and not explained:
        yield f"the sums of {outcome.contributors} are off by {outcome.honest_offset}"
    yield None if outcome.suspects <= placement.byzantine else f"suspects {sorted(outcome.suspects)} are innocent"
    strangers = sorted(set(outcome.contributors) - set(range(c)))
    yield f"contributors {strangers} are no members" if strangers else None
    missing = sorted(honest - set(outcome.contributors))
    yield f"the words of {missing}, who follow the protocol, are left out" if missing and not may_be_wrong else None


def random_scenario(seed: int, *, protocols: Sequence[Spec] = (), max_parties: int = 8) -> Scenario:
    """Return the scenario of a seed: 1 to `max_parties` members, few clusters and coordinates, up to three faults.

    `protocols` are by default all registered ones with their examples.
    """
    stream = public_stream(seed, "scenario")
    chosen = protocols or registered_specs()
    parties, clusters = int(stream.integers(1, max_parties, endpoint=True)), int(stream.integers(1, 4))
    fitting = [spec for spec in chosen if parties in fitting_sizes(spec, max_parties)]
    return Scenario(
        protocol=fitting[int(stream.integers(len(fitting)))],
        parties=parties,
        clusters=clusters,
        coordinates=int(stream.integers(1, 5)),
        words_seed=int(stream.integers(2**31)),
        placement=random_placement(stream, parties=parties, clusters=clusters),
        schedule=int(stream.integers(2**31)),
        rounds=int(stream.integers(1, 3)),
    )


@cache
def registered_specs() -> tuple[Spec, ...]:
    """Return all registered protocols with their defaults and with each of their examples."""
    return tuple(examples_of(secure_sums))


@cache
def fitting_sizes(spec: Spec, most: int) -> tuple[int, ...]:
    """Return the sizes 1..most of clusters that can run the protocol."""
    protocol = secure_sums.make(spec)
    return tuple(c for c in range(1, most + 1) if refusal(lambda c=c: protocol.check_size(parties=c)) is None)


def throughput(count: int, *, seed: int = 0) -> tuple[float, list[str]]:
    """Run `count` random scenarios; return how many a minute of one core's time allows, and what went wrong.

    The scenarios from `seed` on are run one after the other; each text has a line that replays it.
    """
    check.integer_at_least(1, count=count)
    random_scenario(seed).run()  # imports are not what is measured
    start_s, failures = time.process_time(), list[str]()
    for number in range(seed, seed + count):
        scenario = random_scenario(number)
        outcome = scenario.run()
        if said := contradiction(scenario, outcome):
            failures.append(f"{said}: {outcome}\n{scenario.line()}")
    return 60.0 * count / (time.process_time() - start_s), failures


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay one line, or run random scenarios; return 1 where an outcome contradicts its protocol's conditions."""
    parser = argparse.ArgumentParser(prog="protocols.testing.scenarios", description="Replay a scenario, or run many.")
    parser.add_argument("line", nargs="*", help="what Scenario.line() returned")
    parser.add_argument("--count", type=int, default=1000, help="without a line: run so many random scenarios")
    parser.add_argument("--seed", type=int, default=0, help="the first random scenario")
    parser.add_argument("--import", dest="imported", action="append", default=[], help="a module to import first")
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)
    import_first(given.imported)
    if given.line:
        scenario = Scenario.parse(" ".join(given.line))
        outcome = scenario.run()
        said = contradiction(scenario, outcome)
        print(outcome, *([f"contradiction: {said}"] if said else []), sep="\n")
        return int(said is not None)
    a_minute, failures = throughput(given.count, seed=given.seed)
    print(f"{a_minute:.0f} scenarios a minute of one core, {len(failures)} of {given.count} wrong", *failures, sep="\n")
    return int(bool(failures))


if __name__ == "__main__":
    sys.exit(in_one_line(main))
