"""What faulty members can and cannot do: conditions that hold and are tight, no framing, no selective failure."""

from collections.abc import Iterator, Sequence
from itertools import combinations, product

import numpy as np
import torch
from torch import Tensor

from protocols.faults import Crash, Garbage, Mute
from protocols.faulty_link import Fault
from protocols.registry import Spec
from protocols.testing.invariants.campaign import campaign, campaign_sizes
from protocols.testing.invariants.contract import Effort, Evidence, NotApplicable, Violation
from protocols.testing.invariants.occupancies import refuse_contradictions
from protocols.testing.invariants.runs import (
    Pair,
    conditions_at,
    observe_pair,
    promises_secrecy,
    scenario_of,
    sizes,
    steps_of,
    suite_line,
    tolerates,
)
from protocols.testing.scenarios import Scenario

__all__ = [
    "does_not_fail_selectively",
    "frames_nobody",
    "keeps_enough_honest_words",
    "keeps_its_conditions",
    "same",
    "stays_exact_within_its_tolerance",
    "worsens_with_every_fault",
]


def keeps_its_conditions(spec: Spec, effort: Effort) -> Evidence:
    """I25: right and delivered exactly where the conditions say so, whatever faulty members do.

    Random placements in clusters that go on without a member, then every occupancy by Byzantine and crashed members
    of small clusters: what is said to hold does in every run, what is said to break does in one.
    """
    pairs = campaign(spec, effort)
    for pair in pairs:
        _check_conditions(spec, pair)
    edges = _check_tightness(spec, campaign_sizes(spec, effort)[0])
    small = sizes(spec, effort.members, least=3) or sizes(spec, 16)[:1]
    chosen = small[:: 1 if effort.single > 15 else len(small)]
    runs = [seen for c in chosen for seen in refuse_contradictions(spec, c, effort.occupancy).values()]
    return Evidence(
        how="property",
        cases=2 * len(pairs) + edges + sum(seen.runs for seen in runs),
        text=f"{len(pairs)} placements of crashed and Byzantine members, each on two inputs; {edges} at the edge; all "
        f"{len(runs)} occupancies of clusters of {', '.join(map(str, chosen))}",
    )


def _check_conditions(spec: Spec, pair: Pair) -> None:
    seen, again = pair.first, pair.second
    parties = seen.scenario.parties
    right, live = tolerates(spec, parties, *pair.counts)
    b, k = pair.counts
    if live and not seen.opened:
        raise seen.violation(f"{seen.kind} although {b} Byzantine and {k} crashed members cannot stop it: {seen.error}")
    if not (right and seen.opened and again.opened):
        return
    missing = set(range(parties)) - set(pair.placement.by_rank) - set(seen.contributors)
    if live and missing:
        raise seen.violation(f"the words of {sorted(missing)}, who follow the protocol, are left out")
    if seen.contributors == again.contributors and not same(seen.offset, again.offset):
        raise seen.violation(
            f"{b} Byzantine and {k} crashed members move the sum by {_listed(seen.offset)}, but by "
            f"{_listed(again.offset)} on other inputs"
        )


def same(first: Tensor | None, second: Tensor | None) -> bool:
    """Return whether both are there and equal."""
    return first is not None and second is not None and torch.equal(first, second)


def _listed(offset: Tensor | None) -> str:
    return "nothing" if offset is None else str(offset.numpy().tolist())


def _check_tightness(spec: Spec, parties: int) -> int:
    """One crash more than tolerated, and one Byzantine member more, do stop or change a sum in some way."""
    last = steps_of(spec, parties) - 1
    tried = 0
    for name, faults in _at_the_edge(spec, parties, last):
        tried += 1
        if all(_unharmed(each) for each in faults):
            raise Violation(
                f"{spec}: {name} of {parties} members neither stop nor change the sum in any way that was tried, "
                f"although the conditions say that they can",
                replay=suite_line(spec, "I25"),
            )
    return tried


def _at_the_edge(spec: Spec, parties: int, last: int) -> Iterator[tuple[str, Iterator[Scenario]]]:
    crashes = next((k for k in range(1, parties) if not tolerates(spec, parties, 0, k)[1]), None)
    if crashes is not None:
        yield f"{crashes} crashed", _placed(spec, parties, crashes, [[Crash(step=last)], [Crash(step=0)]])
    liars = next((b for b in range(1, parties) if not all(tolerates(spec, parties, b, 0))), None)
    if liars is not None:
        garbage = [[Garbage(step=step, seed=s, excess_bytes=0) for s in range(liars)] for step in range(last, -1, -1)]
        yield f"{liars} Byzantine", _placed(spec, parties, liars, [*garbage, [Mute(step=last)], [Mute(step=0)]])


def _placed(spec: Spec, parties: int, faulty: int, kinds: Sequence[Sequence[Fault]]) -> Iterator[Scenario]:
    """Yield every placement of each kind of fault, for protocols in which members have different parts to play."""
    for fault, ranks in product(kinds, combinations(range(parties), faulty)):
        faults = [(rank, fault[place % len(fault)]) for place, rank in enumerate(ranks)]
        yield scenario_of(spec, parties, faults=faults)


def _unharmed(scenario: Scenario) -> bool:
    pair = observe_pair(scenario)
    return pair.first.opened and pair.second.opened and same(pair.first.offset, pair.second.offset)


def stays_exact_within_its_tolerance(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I26: with no more faults than it tolerates in whatever mixture, the sum is opened and is that of honest words."""
    pairs = campaign(spec, effort)
    cases = 0
    for pair in pairs:
        parties = pair.first.scenario.parties
        faulty = sum(pair.counts)
        if faulty and all(all(tolerates(spec, parties, b, faulty - b)) for b in range(faulty + 1)):
            cases += 1
            _check_conditions(spec, pair)
            for seen in (pair.first, pair.second):
                if not seen.opened:
                    raise seen.violation(f"{seen.kind} with {faulty} faulty members, whom it tolerates: {seen.error}")
    if not cases:
        return NotApplicable(reason="it tolerates no mixture of faults")
    return Evidence(
        how="property", cases=cases, text="crashed and Byzantine members in every mixture that is tolerated"
    )


def keeps_enough_honest_words(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I17: every opened sum has the words of enough members beyond the largest coalition, dropouts or not.

    Enough is what the protocol's parameter `least_honest` declares, else two.
    """
    cases = 0
    least = int(dict(spec.parameters).get("least_honest", 2))
    for pair in campaign(spec, effort):
        seen = pair.first
        parties = seen.scenario.parties
        if not seen.opened or not promises_secrecy(spec, parties):
            continue
        coalition = max(a for a in range(max(parties - 1, 1)) if promises_secrecy(spec, parties, a))
        cases += 1
        left = len(seen.contributors) - coalition
        if len(pair.placement.byzantine) <= coalition and left < least:
            raise seen.violation(
                f"a sum of {seen.contributors} is opened, which {coalition} colluding members of them, as many as are "
                f"tolerated, reduce to the words of {left}; allowed: {least} or more"
            )
    if not cases:
        return NotApplicable(reason="it promises no secrecy")
    text = f"sums opened in spite of crashes and lies; {least} or more beside the largest coalition"
    return Evidence(how="property", cases=cases, text=text)


def does_not_fail_selectively(spec: Spec, effort: Effort) -> Evidence:
    """I21: whether, how and with what words a run fails is the same for all inputs of those who follow the protocol."""
    pairs = campaign(spec, effort)
    for pair in pairs:
        first, second = pair.first, pair.second
        for what in ("kind", "error", "suspects", "contributors", "flags", "shape"):
            one, other = getattr(first, what), getattr(second, what)
            if one != other:
                raise first.violation(f"its {what} depends on honest inputs: {one} or {other}")
    return Evidence(how="exact", cases=len(pairs), text="same faults, keys and schedule, two inputs: the same end")


def frames_nobody(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I31: suspects of an abort hold a faulty member, one alone is faulty; corrected cheaters are all faulty."""
    runs = [seen for pair in campaign(spec, effort) for seen in (pair.first, pair.second)]
    named = [seen for seen in runs if seen.suspects]
    for seen in named:
        faulty = seen.scenario.placement.byzantine
        if seen.opened and not seen.suspects <= faulty:
            raise seen.violation(f"{sorted(seen.suspects - faulty)} are said to have cheated and follow the protocol")
        if not seen.opened and not seen.suspects & faulty:
            raise seen.violation(f"none of the suspects {sorted(seen.suspects)} cheated")
    if not named:
        return NotApplicable(reason=f"it names nobody: none of {len(runs)} runs with faulty members had a suspect")
    return Evidence(how="property", cases=len(named), text=f"{len(named)} of {len(runs)} runs named suspects")


def worsens_with_every_fault(spec: Spec, effort: Effort) -> Evidence:  # noqa: ARG001
    """I32: no further fault makes an occupancy tolerated, but for a coalition of all members, who hide nothing."""
    conditions = conditions_at(spec)
    cases = 0
    for parties in sizes(spec, 16):
        many, few = (each.flatten() for each in np.meshgrid(np.arange(parties + 1), np.arange(parties + 1)))
        inside = many + few <= parties
        b, k = many[inside], few[inside]
        wrong = conditions.scheme.wrong(b, k, parties, conditions.threshold_at(parties))
        for name, bad in (("stopped", conditions.lost(parties, b, k)), ("wrong", wrong)):
            table = {(int(x), int(y)): bool(z) for x, y, z in zip(b, k, bad, strict=True)}
            for (x, y), z in table.items():
                cases += 1
                for more in ((x + 1, y), (x, y + 1)):
                    if z and not table.get(more, True) and not (name == "wrong" and more[0] == x):
                        raise Violation(
                            f"{spec}: {x} Byzantine and {y} crashed of {parties} leave it {name}, {more} do not",
                            replay=suite_line(spec, "I32"),
                        )
        exposed = conditions.exposed(parties, np.arange(parties), np.array(0))
        cases += parties
        if bool((exposed[:-1] & ~exposed[1:]).any()):
            raise Violation(f"{spec}: a larger coalition learns less: {exposed}", replay=suite_line(spec, "I32"))
    return Evidence(how="exact", cases=cases, text="all occupancies of clusters of up to 16 members")
