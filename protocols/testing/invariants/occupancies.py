"""Every occupancy of a cluster by Byzantine and crashed members, run: what the conditions say is what happens.

Curious members do what they should, so that only how many lie and how many crash matters to a run; where they sit
matters to protocols in which members have different parts to play, so that places go round.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, combinations, count

import torch

from protocols.faults import Crash, Garbage, Mute, Tamper
from protocols.faulty_link import Fault
from protocols.registry import Spec
from protocols.testing.invariants.campaign import forget_also, kinds_of_fault
from protocols.testing.invariants.contract import Violation
from protocols.testing.invariants.runs import (
    Observation,
    observe,
    observe_pair,
    rounds_for,
    steps_of,
    suite_line,
    tolerates,
)
from protocols.testing.placements import Placement
from protocols.testing.scenarios import Scenario

__all__ = ["Outcomes", "occupancies", "outcomes_of", "refuse_contradictions"]


@dataclass(frozen=True, kw_only=True)
class Outcomes:
    """What runs with b Byzantine and k crashed members show, each in some run that was tried.

    `lost`: nothing was opened. `off`: another sum than that of the words of all who are in it, or the words of one
    who follows the protocol are not in it. `bent`: by an amount that depends on honest inputs, hence by no choice of
    inputs. `left`: how many words were in opened sums. `shown` is a run that was lost, bent or off, in this order.
    """

    lost: bool
    off: bool
    bent: bool
    left: frozenset[int]
    runs: int
    shown: Observation | None


def occupancies(parties: int) -> Iterator[tuple[int, int]]:
    """Yield (b, k) for every number of Byzantine and of crashed members."""
    yield from ((b, k) for b in range(parties + 1) for k in range(parties + 1 - b))


@lru_cache(maxsize=32)
def refuse_contradictions(spec: Spec, parties: int, most: int) -> Mapping[tuple[int, int], Outcomes]:
    """Return the outcomes of every occupancy. Raises: Violation where one is not what the conditions say.

    Where they say that nothing is lost, or that no message can bend a sum, no run may show it; where they say that
    something is lost, or that what is delivered may be wrong, some run must.
    """
    found: dict[tuple[int, int], Outcomes] = {}
    for number, (b, k) in enumerate(occupancies(parties)):
        right, live = tolerates(spec, parties, b, k)
        seen = found[b, k] = outcomes_of(spec, parties, b, k, most=most, seed=number)
        said = f"{b} Byzantine and {k} crashed of {parties} members"
        if seen.shown is not None and live and seen.lost:
            raise seen.shown.violation(f"{said} stop it with {seen.shown.error}; the conditions say that they cannot")
        if seen.shown is not None and right and (seen.bent or (b == 0 and seen.off)):
            raise seen.shown.violation(f"{said} bend a sum; the conditions say that they cannot")
        if (not live and not seen.lost) or (not right and live and not seen.off):
            effect = "stop it" if not live else "make its sum wrong"
            raise Violation(
                f"{spec}: {said} {effect} in none of {seen.runs} runs, although the conditions say that they can",
                replay=suite_line(spec, "I25"),
            )
    return found


forget_also(refuse_contradictions.cache_clear)


def outcomes_of(spec: Spec, parties: int, b: int, k: int, *, most: int, seed: int) -> Outcomes:
    """Return what is seen in crude runs, in `most` with faults of every kind in turn, and in what it takes to stop it.

    The search for one that stops it, or where that is impossible for a wrong sum, is through all places of the faulty
    and the bluntest faults in every exchange.
    """
    right, live = tolerates(spec, parties, b, k)
    chosen = chain(_crude(spec, parties, b, k, seed=seed), _in_turn(spec, parties, b, k, most=most, seed=seed))
    runs = list(_watched(chosen, pairs=right and b > 0))
    tried = len(runs)
    if (not live and all(seen.opened for seen, _ in runs)) or (live and not right and not any(map(_is_off, runs))):
        for each in _watched(_bluntest(spec, parties, b, k), pairs=False):
            tried += 1
            if (not each[0].opened) if not live else _is_off(each):
                runs.append(each)
                break
    lost = [seen for seen, _ in runs if not seen.opened]
    bent = [seen for seen, bends in runs if bends]
    off = [each[0] for each in runs if _is_off(each)]
    return Outcomes(
        lost=bool(lost),
        off=bool(off),
        bent=bool(bent),
        left=frozenset(len(seen.contributors) for seen, _ in runs if seen.opened),
        runs=tried,
        shown=next(iter([*(lost if live else []), *(bent or off), *lost]), None),
    )


def _watched(scenarios: Iterator[Scenario], *, pairs: bool) -> Iterator[tuple[Observation, bool]]:
    """Yield each run, and whether the faulty bend its sum: what they add is not the same on other inputs."""
    for scenario in scenarios:
        if not pairs:
            yield observe(scenario), False
            continue
        pair = observe_pair(scenario)
        both = pair.first.opened and pair.second.opened
        one, other = pair.first.offset, pair.second.offset
        yield pair.first, both and one is not None and other is not None and not torch.equal(one, other)


def _is_off(run: tuple[Observation, bool]) -> bool:
    seen = run[0]
    if not seen.opened or seen.offset is None:
        return False
    scenario, inside = seen.scenario, set(seen.contributors)
    liars = sorted(scenario.placement.byzantine & inside)
    own = scenario.ring.wrap(scenario.words()[:, liars].sum(dim=1))
    honest = set(range(scenario.parties)) - set(scenario.placement.by_rank)
    return not torch.equal(seen.offset, own) or not honest <= inside


def _scenario(spec: Spec, parties: int, seed: int, faults: Sequence[tuple[int, Fault]]) -> Scenario:
    return Scenario(
        protocol=spec,
        parties=parties,
        words_seed=1 + seed,
        schedule=1 + seed,
        placement=Placement(faults=tuple(faults)),
        rounds=rounds_for(faults),
    )


def _crude(spec: Spec, parties: int, b: int, k: int, *, seed: int) -> Iterator[Scenario]:
    """Yield runs in which crashed members send nothing, and Byzantine ones nothing, or random words at the end."""
    last = max(steps_of(spec, parties) - 1, 0)
    ranks = [(seed + rank) % parties for rank in range(b + k)]
    for lie in (Mute(step=0), Garbage(step=last, seed=1, excess_bytes=0))[: 2 if b else 1]:
        faults: list[tuple[int, Fault]] = [(rank, lie) for rank in ranks[:b]]
        yield _scenario(spec, parties, seed, [*faults, *((rank, Crash(step=0)) for rank in ranks[b:])])


def _in_turn(spec: Spec, parties: int, b: int, k: int, *, most: int, seed: int) -> Iterator[Scenario]:
    """Yield `most` runs; kinds of fault, exchanges and places all go round, over the runs and over the occupancies."""
    if b + k == 0:
        return
    steps = max(steps_of(spec, parties), 1)
    kinds = [kind.kind for kind in kinds_of_fault(0, parties, 0)]
    chosen = {name: [n for n, kind in enumerate(kinds) if kind == name] for name in ("byzantine", "crash")}
    total = steps * len(chosen["byzantine"]) * len(chosen["crash"])
    stride = next(n for n in count(total // most + 1) if math.gcd(n, total) == 1)
    for run in range(most):
        place = (seed * most + run) * stride % total
        ranks = [(place + rank) % parties for rank in range(b + k)] if run % 2 else _spread(parties, b + k, place)
        faults: list[tuple[int, Fault]] = []
        for order, rank in enumerate(ranks):
            mine = chosen["byzantine" if order < b else "crash"]
            kind = mine[(place // steps + order * (run % 2)) % len(mine)]
            faults.append((rank, kinds_of_fault(place % steps, parties, rank)[kind]))
        yield _scenario(spec, parties, seed * most + run, faults)


def _spread(parties: int, faulty: int, place: int) -> list[int]:
    """Return faulty ranks, spread evenly from `place` on."""
    return [(place + rank * parties // faulty) % parties for rank in range(faulty)]


def _bluntest(spec: Spec, parties: int, b: int, k: int) -> Iterator[Scenario]:
    steps = max(steps_of(spec, parties), 1)
    blunt: list[tuple[Fault, Fault]] = [(Mute(step=0), Crash(step=0)), (Mute(step=steps - 1), Crash(step=steps - 1))]
    for step in range(steps - 1, -1, -1):
        blunt += [(Tamper(step=step, delta=7 + step), Crash(step=0)), (Tamper(step=step, delta=1), Crash(step=steps))]
        blunt.append((Garbage(step=step, seed=step, excess_bytes=0), Crash(step=steps)))
    for lie, crash in blunt:
        for ranks in combinations(range(parties), b + k):
            for liars in (ranks[:b], ranks[k:])[: 2 if b and k else 1]:
                yield _scenario(spec, parties, 0, [(rank, lie if rank in liars else crash) for rank in ranks])
