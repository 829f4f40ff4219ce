"""Every order of arrivals in small clusters: each run ends, all alike, and as the protocol's conditions say."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import gcd
from typing import ClassVar

import torch

from protocols.faults import Crash, Delay, Mute, Tamper
from protocols.faulty_link import Batches, Fault, Kind, Messages
from protocols.in_process import InProcessParties
from protocols.network import BOARD
from protocols.registry import Spec
from protocols.testing.arrivals import Order
from protocols.testing.exploration import Exploration, explore
from protocols.testing.invariants.contract import Effort
from protocols.testing.invariants.faults import same
from protocols.testing.invariants.runs import Observation, observe, scenario_of, size_with_an_absence, sizes, steps_of
from protocols.testing.keyrings import replayable_keyring
from protocols.testing.outcomes import Outcome
from protocols.testing.scenarios import Scenario, contradiction

__all__ = ["end_in_every_order", "explore_scenario", "faults_at_every_message", "most_exchanges"]

_LARGEST = 3
_LATE_S = 1e6  # virtual: far beyond any deadline


def most_exchanges(spec: Spec, parties: int) -> int:
    """Return in how many exchanges a party may take part before a run counts as endless."""
    # A verified protocol may try once for each member; nothing needs more.
    return (2 * parties + 1) * (steps_of(spec, parties) + 2 * parties)


def end_in_every_order(spec: Spec, effort: Effort) -> tuple[int, str]:
    """Explore clusters of 2 and 3, else the smallest, without a fault and with one; return how many runs, and a text.

    One fault: a crash before each message of a member, or its silence, delay or lie in an exchange, as far as the
    effort goes. Without one all sums must be exact and nobody may fail; with one, what the protocol's conditions say.

    Raises: Violation with a line that replays the schedule.
    """
    chosen = sizes(spec, _LARGEST, least=2) or sizes(spec, _LARGEST)
    contents = _is_replayable(scenario_of(spec, chosen[0]))
    well = {c: explore_scenario(scenario_of(spec, c), most=effort.schedules, contents=contents) for c in chosen}
    placed = _spread(spec, chosen)
    live = size_with_an_absence(spec)
    if live is not None and live not in chosen and live <= _LARGEST + 1:
        placed += _spread(spec, [live])  # a cluster that goes on without the faulty member
    hurt = list(_with_one_fault(spec, placed, effort.failing, contents))
    done = [each for each in hurt if each.exhaustive]
    text = _said("exhaustive", {c: each for c, each in well.items() if each.exhaustive})
    text += _said("cut", {c: each for c, each in well.items() if each.left})
    text += _said("not exhaustive, as runs differ", {c: x for c, x in well.items() if not (x.exhaustive or x.left)})
    text += f"one fault in {len(hurt)} of {len(placed)} places: {_total(hurt)} schedules, exhaustive in {len(done)}"
    return _total([*well.values(), *hurt]), text


def _total(found: Iterable[Exploration]) -> int:
    return sum(each.schedules for each in found)


def _said(how: str, part: Mapping[int, Exploration]) -> str:
    sizes_of = " and ".join(map(str, part))
    return f"{how}: {_total(part.values())} schedules of clusters of {sizes_of}; " if part else ""


def explore_scenario(scenario: Scenario, *, most: int, contents: bool = True) -> Exploration:
    """Run a scenario in every order of arrivals, at most so many, and hold each run to what the protocol promises.

    `contents`: see Order.

    Raises: Violation with a line that replays the schedule.
    """
    offsets: dict[tuple[int, ...], torch.Tensor] = {}

    def run(order: Order) -> None:
        seen = observe(scenario, order=order)
        seen = replace(seen, scenario=replace(scenario, order=order.taken))
        _check(seen)
        if seen.offset is None or same(seen.offset, offsets.setdefault(seen.contributors, seen.offset)):
            return
        if same(seen.offset, observe(seen.scenario).offset):  # else it is randomness of the protocol's own
            raise seen.violation(f"in another order of arrivals {seen.contributors} open another sum than {seen.sums}")

    return explore(run, parties=(*range(scenario.parties), BOARD), most=most, contents=contents)


def _is_replayable(scenario: Scenario) -> bool:
    """Return whether all randomness comes from the keyring, so that the same schedule repeats word for word."""
    first, again = Order(), Order()
    for order in (first, again):
        observe(scenario, order=order)
    return first.read == again.read


def _check(seen: Observation) -> None:
    """Raise Violation unless the run ends as it should."""
    scenario = seen.scenario
    allowed = most_exchanges(scenario.protocol, scenario.parties)
    if seen.exchanges > allowed:
        raise seen.violation(f"a party makes {seen.exchanges} exchanges; allowed: {allowed}")
    if said := contradiction(scenario, _outcome(seen)):
        raise seen.violation(f"in one order of arrivals: {said} {seen.error}".rstrip())
    honest = {rank: error for rank, error in seen.flags.items() if rank not in scenario.placement.by_rank}
    if not scenario.placement.faults and honest:
        raise seen.violation(f"in one order of arrivals members end with {honest} although nobody is faulty")
    found = sorted(rank for rank, error in honest.items() if error == "CheatingDetectedError")
    if seen.opened and found:
        raise seen.violation(f"a sum is opened although {found} ended by finding that somebody cheated")


def _outcome(seen: Observation) -> Outcome:
    """Return what a contradiction is looked for in."""
    if seen.offset is None:
        return Outcome(kind=seen.kind, error=seen.error, suspects=seen.suspects)
    scenario = seen.scenario
    liars = [rank for rank in seen.contributors if rank in scenario.placement.byzantine]
    own = scenario.ring.wrap(scenario.words()[:, liars].sum(dim=1))
    return Outcome(
        kind="exact" if torch.equal(seen.offset, own) else "wrong",
        contributors=seen.contributors,
        suspects=seen.suspects,
        honest_offset=tuple(tuple(row) for row in seen.offset.numpy().tolist()),
    )


_Placed = tuple[int, int, Fault]
"""(members, rank, its fault)."""


def _with_one_fault(spec: Spec, placed: Sequence[_Placed], most: int, contents: bool) -> Iterator[Exploration]:
    left = most
    for c, rank, fault in placed:
        if left > 0:
            found = explore_scenario(scenario_of(spec, c, faults=[(rank, fault)]), most=left, contents=contents)
            left -= found.schedules
            yield found


def _spread(spec: Spec, chosen: Sequence[int]) -> list[_Placed]:
    """Return all faults in clusters of these sizes, so that the first few are of all sizes, members and kinds."""
    placed = [(c, *each) for c in chosen for each in faults_at_every_message(spec, c)]
    count = len(placed)
    stride = next(n for n in range(5 * count // 8 + 1, 2 * count + 2) if gcd(n, count) == 1)
    return [placed[number * stride % count] for number in range(count)]


def faults_at_every_message(spec: Spec, parties: int) -> list[tuple[int, Fault]]:
    """Return each member's crash before each of its messages, and its silence, delay and lie in each exchange."""
    counting = {rank: _Counting() for rank in range(parties)}
    words = scenario_of(spec, parties).words()
    InProcessParties(parties, faults=counting, keyring=replayable_keyring(1)).open_sums(spec, words)
    found: list[tuple[int, Fault]] = []
    for rank, counted in counting.items():
        for step, messages in enumerate(counted.messages):
            found += [(rank, Crash(step=step, after=after or None)) for after in range(max(messages, 1))]
            others = (Mute(step=step), Delay(step=step, seconds=_LATE_S), Tamper(step=step, delta=5))
            found += [(rank, fault) for fault in others if messages]
    return found


@dataclass(frozen=True, kw_only=True)
class _Counting:
    """No fault: it counts the messages of each exchange."""

    kind: ClassVar[Kind] = "crash"
    step: int = 0
    messages: list[int] = field(default_factory=list[int])

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> list[Messages]:  # noqa: ARG002
        self.messages.append(len(outgoing))
        return [outgoing]
