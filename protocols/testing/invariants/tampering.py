"""Where cheating is noticed: every changed message, and restarts that end."""

import math
from collections.abc import Sequence
from itertools import count, product
from typing import ClassVar

import torch
from torch import Tensor

from protocols.faults import Tamper
from protocols.faulty_link import Batches, Fault, Kind, Messages
from protocols.in_process import InProcessParties
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.testing.invariants.contract import Effort, Evidence, NotApplicable, Violation
from protocols.testing.invariants.faults import same
from protocols.testing.invariants.runs import (
    conditions_at,
    observe,
    observe_pair,
    scenario_of,
    sizes,
    steps_of,
    suite_line,
    tolerates,
)
from protocols.testing.keyrings import replayable_keyring
from protocols.testing.scenarios import Scenario

__all__ = ["detects_tampering", "restarts_end"]


_PLACES = (0, 1, 2, -3, -2, -1, None)
"""Words of a message, counted from both ends and round where it is shorter; None: all of them."""


_LARGEST: int = 2**62


class _Listened:
    """Keeps what a member wanted to send in each exchange."""

    kind: ClassVar[Kind] = "crash"
    step = 0

    def __init__(self) -> None:
        self.sent: list[dict[int, Tensor]] = []

    def __call__(self, step: int, outgoing: Messages, batches: Batches) -> Sequence[Messages]:  # noqa: ARG002
        """See Fault."""
        self.sent.append({peer: tensor.clone() for peer, tensor in outgoing.items()})
        return [outgoing]


def detects_tampering(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I30: one changed word or byte in one message never changes an opened sum, but for its sender's own input."""
    parties = next((c for c in sizes(spec, 8, least=2) if tolerates(spec, c, 1, 0)[0]), None)
    if parties is None:
        return NotApplicable(reason="it does not promise to notice wrong words")
    steps = steps_of(spec, parties)
    bounds = [_input_step(spec, parties, sender) for sender in range(parties)]
    peers = [*range(parties), -1]
    pairs = [(sender, peer) for sender in range(parties) for peer in peers if peer != sender]
    places = list(product(range(steps), pairs, _PLACES, (False, True)))
    first = max(len(places) // (2 * effort.single), 1)
    stride = next(n for n in count(first) if math.gcd(n, len(places)) == 1)
    tried = min(len(places), 2 * effort.single)
    stream = public_stream(0, "tampering", spec.canonical())
    for number in range(tried):
        step, (sender, peer), word, large = places[number * stride % len(places)]
        delta = 1 + int(stream.integers(_LARGEST)) * large
        fault = Tamper(step=step, delta=delta, to=peer, word=word)
        own = step <= bounds[sender]
        _check_tampered(scenario_of(spec, parties, seed=2, faults=[(sender, fault)]), sender, own=own)
    which = "all" if tried == len(places) else f"{tried} of {len(places)}"
    text = f"{which} places: from every member to every other one and the board, by one or a random number"
    return Evidence(how="property", cases=tried, text=text)


def _input_step(spec: Spec, parties: int, sender: int) -> int:
    """Return the first exchange in which what a member sends depends on its own words."""
    sent: list[list[dict[int, Tensor]]] = []
    for seed in (1, 2):
        words = scenario_of(spec, parties, seed=1).words()
        words[:, sender] = scenario_of(spec, parties, seed=seed).words()[:, sender]
        listened = _Listened()
        InProcessParties(parties, faults={sender: listened}, keyring=replayable_keyring(1)).open_sums(spec, words)
        sent.append(listened.sent)
    for step, (one, other) in enumerate(zip(*sent, strict=True)):
        if any(not torch.equal(one[peer], other[peer]) for peer in one):
            return step
    return len(sent[0])


def _check_tampered(scenario: Scenario, sender: int, *, own: bool) -> None:
    seen = observe(scenario)
    if not seen.opened:
        return
    assert seen.offset is not None
    words = scenario.words()[:, sender] if sender in seen.contributors else torch.zeros_like(seen.offset)
    off = scenario.ring.wrap(seen.offset - words)
    if not bool(off.any()):
        return
    if not own:
        raise seen.violation(f"a message changed after the member had fixed its input moves the sum by {off.tolist()}")
    again = observe_pair(scenario)
    if again.first.opened and again.second.opened and not same(again.first.offset, again.second.offset):
        raise seen.violation(f"a changed message moves the sum by {off.tolist()}, otherwise on other inputs")


def restarts_end(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I36: run again without those that an abort names, it opens after no more restarts than there are culprits."""
    parties = next(iter(sizes(spec, effort.members, least=4)), None)
    if parties is None or conditions_at(spec).scheme.on_cheating != "identified":
        return NotApplicable(reason="no abort names one culprit: it corrects cheating, or says nobody's name")
    cases = 0
    for step in range(steps_of(spec, parties)):
        for culprits in range(1, max(parties - 2, 2)):
            _restart(spec, parties, step, culprits)
            cases += 1
    return Evidence(how="property", cases=cases, text="one and more members that tamper in each exchange of each run")


def _restart(spec: Spec, parties: int, step: int, culprits: int) -> None:
    left = list(range(parties))
    cheats = {rank: Tamper(step=step, delta=rank + 3) for rank in range(culprits)}
    for _ in range(culprits + 1):
        faults: list[tuple[int, Fault]] = [(place, cheats[rank]) for place, rank in enumerate(left) if rank in cheats]
        seen = observe(scenario_of(spec, len(left), seed=5, faults=faults))
        if seen.opened:
            return
        named = {left[place] for place in seen.suspects}
        if seen.kind != "CheatingDetectedError" or not named or not named <= cheats.keys():
            raise seen.violation(
                f"it stops with {seen.kind} and names {sorted(seen.suspects)} of {faults}: {seen.error}"
            )
        left = [rank for rank in left if rank not in named]
    raise Violation(f"{spec}: {culprits} culprits cause more than {culprits} restarts", replay=suite_line(spec, "I36"))
