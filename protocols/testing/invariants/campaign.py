"""A campaign of faulty runs that many checks share: every kind of fault, in every exchange, and several at once."""

import math
from collections.abc import Callable, Iterator
from functools import lru_cache
from itertools import chain, count, cycle, islice

import numpy as np

from protocols.faults import (
    Crash,
    Delay,
    Duplicate,
    Equivocate,
    Garbage,
    Mute,
    Replay,
    Tamper,
    Truncate,
    WrongCluster,
    WrongDtype,
)
from protocols.faulty_link import Fault
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing.invariants.contract import Effort
from protocols.testing.invariants.runs import (
    CLUSTERS,
    Pair,
    observe_pair,
    scenario_of,
    size_with_an_absence,
    sizes,
    steps_of,
)
from protocols.testing.scenarios import Scenario

__all__ = ["campaign", "campaign_sizes", "forget", "forget_also", "kinds_of_fault"]

_LATE_S = 1e6  # virtual: far beyond any deadline


def kinds_of_fault(step: int, parties: int, rank: int) -> list[Fault]:
    """Return every kind of fault that a member can have in one exchange, one of each."""
    peer = (rank + 1) % parties
    others = frozenset(r for r in range(-1, parties) if r not in (rank, peer))
    return [
        Crash(step=step),
        Crash(step=step, after=1),
        Mute(step=step),
        Delay(step=step, seconds=_LATE_S),
        Mute(step=step, to=peer),
        Duplicate(step=step),
        Replay(step=step),
        Replay(step=step, batches_back=1),
        Equivocate(step=step, delta=3, to=others),
        Tamper(step=step, delta=5),
        Tamper(step=step, delta=2**40 + 1, to=peer, word=-1),
        Tamper(step=step, delta=7, to=-1, word=0),
        Garbage(step=step, seed=step, excess_bytes=0),
        Garbage(step=step, seed=step, excess_bytes=1),
        Garbage(step=step, seed=step, excess_bytes=-1),
        WrongDtype(step=step, width="half"),
        WrongDtype(step=step),
        WrongDtype(step=step, width="double"),
        Truncate(step=step),
        WrongCluster(step=step, clusters=CLUSTERS),
    ]


@lru_cache(maxsize=8)
def campaign(spec: Spec, effort: Effort) -> tuple[Pair, ...]:
    """Run kinds of fault in all exchanges of one member, then random ones of every number of members."""
    small, large = campaign_sizes(spec, effort)
    runs = chain(_single_faults(spec, small, effort.single), _several_faults(spec, large, effort.several))
    return tuple(observe_pair(scenario) for scenario in runs)


def forget() -> None:
    """Forget the runs that checks share: after a change of the code that they ran."""
    for clear in (campaign.cache_clear, steps_of.cache_clear, *_ALSO_FORGOTTEN):
        clear()


def forget_also(clear: Callable[[], None]) -> None:
    """Have `forget` call this as well."""
    _ALSO_FORGOTTEN.append(clear)


_ALSO_FORGOTTEN: list[Callable[[], None]] = []


def campaign_sizes(spec: Spec, effort: Effort) -> tuple[int, int]:
    """Return the sizes of the clusters in which one member fails, and in which several do.

    The first goes on without one member wherever some size of the protocol does.
    """
    accepted = sizes(spec, effort.members, least=3) or sizes(spec, 16, least=2)[:1] or [1]
    small = size_with_an_absence(spec) or accepted[min(1, len(accepted) - 1)]
    return small, max(small, accepted[-1])


def _single_faults(spec: Spec, parties: int, most: int) -> Iterator[Scenario]:
    """Yield up to `most` of all (exchange, kind of fault, member), spread over all three."""
    steps, kinds = steps_of(spec, parties), len(kinds_of_fault(0, parties, 0))
    total = steps * kinds * parties
    stride = next(n for n in count(max(total // most, 1)) if math.gcd(n, total) == 1)
    for number in range(min(most, total)):
        rest, kind = divmod(number * stride % total, kinds)
        rank, step = divmod(rest, steps)
        yield scenario_of(spec, parties, seed=number + 1, faults=[(rank, kinds_of_fault(step, parties, rank)[kind])])


def _several_faults(spec: Spec, parties: int, most: int) -> Iterator[Scenario]:
    """Yield `most` runs with two or more faulty members, each number of Byzantine and crashed ones in turn."""
    steps = steps_of(spec, parties)
    stream = public_stream(most, "campaign", spec.canonical(), parties)
    occupancies = [(b, faulty - b) for faulty in range(2, parties + 1) for b in range(faulty + 1)]
    for number, (b, k) in enumerate(islice(cycle(occupancies), most)):
        ranks: list[int] = stream.permutation(parties)[: b + k].tolist()
        kinds = ["byzantine"] * b + ["crash"] * k
        placed = [(rank, _chosen(stream, steps, parties, rank, kind)) for rank, kind in zip(ranks, kinds, strict=True)]
        yield scenario_of(spec, parties, seed=1000 + number, faults=placed)


def _chosen(stream: np.random.Generator, steps: int, parties: int, rank: int, kind: str) -> Fault:
    step = int(stream.integers(steps)) if steps else 0
    fitting = [fault for fault in kinds_of_fault(step, parties, rank) if fault.kind == kind]
    return fitting[int(stream.integers(len(fitting)))]
