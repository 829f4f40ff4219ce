"""Masks in pairs: who masks with whom, and that nothing that is rebuilt after dropouts takes one member's masks off."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import combinations, product
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray

from protocols.faults import Equivocate
from protocols.network import BOARD, NetworkError
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.secure_sum._key_shares import HeldShares
from protocols.testing._taped import Late, Script, record
from protocols.testing.invariants.contract import Effort, Evidence, NotApplicable, Violation
from protocols.testing.invariants.runs import (
    conditions_at,
    observe,
    promises_secrecy,
    scenario_of,
    size_with_an_absence,
    sizes,
    steps_of,
    suite_line,
)
from protocols.testing.invariants.secrecy import affine_or_none, largest_coalitions, secret_sizes

__all__ = ["mask_graph_stays_connected", "unmasks_once"]


def unmasks_once(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I19: what the server rebuilds after dropouts takes off no single member's masks, not even of late words."""
    secret = secret_sizes(spec, effort)
    tolerant = size_with_an_absence(spec)
    if not secret or tolerant is None or not _rebuilds(spec, tolerant):
        return NotApplicable(reason="nobody rebuilds another member's masks")
    cases = 0
    for parties in sorted({secret[0], tolerant}):
        largest = largest_coalitions(spec, parties)
        for step, rank in product(range(steps_of(spec, parties)), range(parties)):
            views = affine_or_none(spec, parties, 1, {rank: Late(step=step)})
            if views is None:
                continue
            leaking = views.leaking(largest)
            if leaking:
                raise Violation(
                    f"{spec}: member {rank} of {parties} is late in exchange {step}; what is rebuilt then shows "
                    f"{leaking[:4]} and the board more than the sum of {views.script.contributors}",
                    replay=suite_line(spec, "I19"),
                )
            cases += len(largest)
    cases += _two_lists(spec, effort) if conditions_at(spec).mode == "malicious_server" else 0
    return Evidence(how="exact", cases=cases, text="every member late in every exchange, every coalition")


def _rebuilds(spec: Spec, parties: int) -> bool:
    """Return whether the board draws members' masks when one of them is late."""
    for step in range(steps_of(spec, parties)):
        with suppress(NetworkError):
            script = record(spec, parties, faults={0: Late(step=step)})
            if any(BOARD in draw.holders for draw in script.draws):
                return True
    return False


def _two_lists(spec: Spec, effort: Effort) -> int:
    """Let the server tell members different things in every exchange; count what they release."""
    parties = sizes(spec, max(effort.members, 4), least=4)[0]
    needed = conditions_at(spec).threshold_at(parties)
    cases = 0
    for step in range(3 * steps_of(spec, parties)):
        for number in range(parties):
            told = frozenset(range(number, parties))
            scenario = scenario_of(
                spec, parties, faults=[(BOARD, Equivocate(step=step, delta=-(1 << number), to=told))]
            )
            released: Counter[tuple[int, bool]] = Counter()
            with mock.patch.object(HeldShares, "release", _counting(released)):
                observe(scenario)
            cases += 1
            for dealer in range(parties):
                if min(released[dealer, True], released[dealer, False]) >= needed:
                    raise Violation(
                        f"{spec}: members release {released[dealer, True]} shares of the self-mask and "
                        f"{released[dealer, False]} of the mask key of member {dealer}",
                        replay=scenario.line(),
                    )
    return cases


def _counting(released: "Counter[tuple[int, bool]]") -> Callable[..., Any]:
    lock, release = threading.Lock(), HeldShares.release

    def counted(self: HeldShares, survivors: frozenset[int]) -> Any:
        answer = release(self, survivors)
        with lock:
            released.update((dealer, dealer in survivors) for dealer in self.dealers)
        return answer

    return counted


def mask_graph_stays_connected(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I20: without any coalition and any absent members that it tolerates, the others' masks hold together."""
    cases = failures = 0
    where = ""
    for parties in [*sizes(spec, effort.members, least=3), *sizes(spec, 16, least=16)]:
        edges = _mask_pairs(record(spec, parties))
        if not edges:
            continue
        for coalition in _removals(spec, parties, effort):
            cases += 1
            left = [rank for rank in range(parties) if rank not in coalition]
            if not _connected(left, edges):
                failures += 1
                where = where or f"without {sorted(coalition)} of {parties} members"
    if not cases:
        return NotApplicable(reason="no two members share a mask of their own")
    chance = 2.0 ** -float(dict(spec.parameters).get("sigma", 1000))
    if failures > _most_failures(cases, chance):
        raise Violation(
            f"{spec}: the graph of masks falls apart {where}, in {failures} of {cases} cases; "
            f"allowed: a part {chance:.3g}",
            replay=suite_line(spec, "I20"),
        )
    return Evidence(how="exact", cases=cases, text="the pairs that share a mask, without every set that is tolerated")


def _mask_pairs(script: Script) -> set[frozenset[int]]:
    members = [draw.holders - {BOARD} for draw in script.draws]
    return {holders for holders in members if len(holders) == 2}


def _removals(spec: Spec, parties: int, effort: Effort) -> Iterator[frozenset[int]]:
    conditions = conditions_at(spec)
    most = max((a for a in range(parties - 1) if promises_secrecy(spec, parties, a)), default=0)
    absent = max(
        (k for k in range(parties - 1) if not bool(conditions.lost(parties, np.array([0]), np.array([k]))[0])),
        default=0,
    )
    size = min(most + absent, parties - 2)
    if parties <= 8:
        yield from (frozenset(each) for a in range(size + 1) for each in combinations(range(parties), a))
        return
    rng = public_stream(0, "removals", spec.canonical(), parties)
    for _ in range(64 * effort.cases):
        yield frozenset(int(rank) for rank in rng.permutation(parties)[:size])


def _connected(nodes: Sequence[int], edges: set[frozenset[int]]) -> bool:
    reached = {nodes[0]}
    while True:
        more = {rank for rank in nodes if any(frozenset({rank, other}) in edges for other in reached)} - reached
        if not more:
            return len(reached) == len(nodes)
        reached |= more


def _most_failures(cases: int, chance: float) -> int:
    """Return a number of failures that is exceeded with probability below 1e-7 (Chernoff), 0 for tiny chances."""
    mean = cases * chance
    bound: NDArray[np.float64] = mean + np.sqrt(2 * mean * 17.0) + 17.0
    return 0 if mean < 1e-7 else int(bound)
