"""Correctness: exact sums, codecs, survivors, thresholds."""

from collections.abc import Iterator
from fractions import Fraction
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from protocols.faults import Crash, Delay, Fault, Garbage, Tamper
from protocols.in_process import InProcessParties
from protocols.parties import OpenedSums
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.ring import FixedPoint, NotEncodableError
from protocols.secure_sum import secure_sums
from protocols.testing.invariants.campaign import campaign, campaign_sizes
from protocols.testing.invariants.contract import Effort, Evidence, NotApplicable, Violation
from protocols.testing.invariants.runs import (
    Observation,
    observe,
    scenario_of,
    size_with_an_absence,
    sizes,
    steps_of,
    suite_line,
    tolerates,
)
from protocols.testing.keyrings import replayable_keyring
from protocols.testing.outcomes import ring_sum

__all__ = [
    "adds_exactly",
    "any_subset_opens_the_same",
    "corrects_errors_within_its_radius",
    "counts_its_survivors",
    "does_not_depend_on_places",
    "keeps_numbers",
    "never_wraps_around",
]


def adds_exactly(spec: Spec, effort: Effort) -> Evidence:
    """I1: the opened words are the sums of Python integers; decoded, they are off by c half units at most."""
    ring = secure_sums.make(spec).ring
    cases = 0
    for parties, seed, words in _batches(spec, effort):
        seen = _open(spec, words, seed)
        expected = ring_sum(words, range(parties), ring)
        if seen.sums.tolist() != expected or seen.contributors != tuple(range(parties)):
            raise Violation(
                f"{spec}: {parties} members with words {words.tolist()} open {seen.sums.tolist()} of "
                f"{seen.contributors}; the sum is {expected}",
                replay=scenario_of(spec, parties, seed=seed).line() if seed else suite_line(spec, "I1"),
            )
        cases += words.shape[0] * words.shape[2]
    cases += _decoded_sums(spec, ring, effort)
    return Evidence(how="property", cases=cases, text="sums of random and of extreme words, in clusters of each size")


def _batches(spec: Spec, effort: Effort) -> Iterator[tuple[int, int, Tensor]]:
    """Yield (members, seed or 0, words): random words with edges, all largest, all smallest, alternating."""
    ring = secure_sums.make(spec).ring
    most, least = (ring.modulus - 1) // 2, -(ring.modulus // 2)
    for parties in sizes(spec, max(effort.members, 4)):
        for extreme in (most, least):
            yield parties, 0, torch.full((1, parties, 2), extreme)
        for seed in range(1, 1 + max(effort.cases // 4, 1)):
            yield parties, seed, scenario_of(spec, parties, seed=seed).words()


def _open(spec: Spec, words: Tensor, seed: int) -> OpenedSums:
    parties = InProcessParties(words.shape[1], schedule=seed, keyring=replayable_keyring(seed))
    return parties.open_sums(spec, words)


def _decoded_sums(spec: Spec, ring: FixedPoint, effort: Effort) -> int:
    rng = public_stream(0, "decoded sums", spec.canonical())
    parties = sizes(spec, 8)[-1]
    bound = min(ring.bound(parties), 2.0**40)
    values = torch.from_numpy(rng.uniform(-bound, bound, size=(1, parties, effort.cases)))
    decoded = ring.decode(_open(spec, ring.encode(values, terms=parties), 1).sums)[0].numpy()
    for place in range(effort.cases):
        found = float(decoded[place])
        exact = sum((Fraction(float(value)) for value in values[0, :, place]), Fraction(0))
        # c half units of rounding, and one rounding of the decoded sum to a float.
        allowed = Fraction(parties) * Fraction(ring.unit) / 2 + abs(exact) / 2**52
        if abs(Fraction(found) - exact) > allowed:
            raise Violation(f"{spec}: a sum of {float(exact)} opens as {found}", replay=suite_line(spec, "I1"))
    return effort.cases


def never_wraps_around(spec: Spec, effort: Effort) -> Evidence:
    """I2: all members at the largest value, then all at the smallest, open their sum; anything larger is refused."""
    ring = secure_sums.make(spec).ring
    cases = 0
    for parties in sizes(spec, 8)[:: 1 if effort.cases > 4 else 3]:
        bound = ring.bound(parties)
        for sign in (1.0, -1.0):
            words = ring.encode(torch.full((1, parties, 2), sign * bound, dtype=torch.float64), terms=parties)
            opened = [int(word) for word in _open(spec, words, 1).sums.flatten()]
            expected = [parties * int(words[0, 0, 0])] * 2
            if opened != expected:
                raise Violation(
                    f"{spec}: {parties} members at {sign * bound} open {opened}; the sum is {expected}",
                    replay=suite_line(spec, "I2"),
                )
            cases += 1
        try:
            ring.encode(torch.tensor([2.0 * bound + 2.0 * ring.unit], dtype=torch.float64), terms=parties)
        except NotEncodableError:
            continue
        raise Violation(f"{spec}: twice the bound of {parties} terms is encoded", replay=suite_line(spec, "I2"))
    return Evidence(how="property", cases=cases, text="all members at the bound and at its negative, 1 to 8 members")


def keeps_numbers(spec: Spec, effort: Effort) -> Evidence:
    """I3: what one member contributes beside zeros is decoded to within half a unit, in order, signs included."""
    ring = secure_sums.make(spec).ring
    parties = sizes(spec, 8)[0]
    bound = min(ring.bound(parties), 2.0**36)
    rng = public_stream(0, "codec", spec.canonical())
    grid = np.concatenate([np.linspace(-bound, bound, 65), rng.uniform(-bound, bound, 16 * effort.cases)])
    grid = np.unique(np.concatenate([grid, [0.0, ring.unit, -ring.unit, ring.unit / 2, -ring.unit / 2, bound, -bound]]))
    values = torch.zeros(1, parties, len(grid), dtype=torch.float64)
    values[0, -1] = torch.from_numpy(grid)
    decoded = ring.decode(_open(spec, ring.encode(values, terms=parties), 1).sums)[0].numpy()
    off = np.abs(decoded - grid)
    if bool((off > ring.unit / 2).any()) or bool((np.diff(decoded) < 0).any()):
        worst = int(off.argmax())
        raise Violation(
            f"{spec}: {grid[worst]!r} comes back as {decoded[worst]!r}; allowed: half a unit, {ring.unit / 2}",
            replay=suite_line(spec, "I3"),
        )
    return Evidence(how="property", cases=len(grid), text="negative numbers, zero, the bounds, and a monotone grid")


def counts_its_survivors(spec: Spec, effort: Effort) -> Evidence:
    """I5: where members only crash, an opened sum is that of exactly the contributors, all the living among them.

    Where nothing may be lost, what is left is a member that is late but in time, or gone after its last message: such
    sums must open, and must have the living members' words.
    """
    crashed = [pair.first for pair in campaign(spec, effort) if pair.counts[0] == 0] + _crashes(spec, effort)
    punctual = _nothing_lost(spec, effort)
    for seen in punctual:
        if not seen.opened:
            raise seen.violation(f"{seen.kind} although every message comes in time: {seen.error}")
    opened = [seen for seen in (*crashed, *punctual) if seen.opened]
    for seen in opened:
        _check_survivors(seen)
    survived = sum(seen.opened for seen in crashed)
    text = (
        f"{survived} of {len(crashed)} runs with crashes or silence opened a sum, and all {len(punctual)} of members "
        f"that were late but in time, or gone after their last message"
    )
    return Evidence(how="property", cases=len(opened), text=text)


def _nothing_lost(spec: Spec, effort: Effort) -> list[Observation]:
    """Return runs in which all messages come in time, from members that are slow and from one that dies afterwards."""
    parties = campaign_sizes(spec, effort)[0]
    steps = max(steps_of(spec, parties), 1)
    ranks = range(parties) if effort.single > 15 else range(min(parties, 2))
    faults: list[tuple[int, Fault]] = []
    for rank in ranks:
        faults += [(rank, Delay(step=rank % steps, seconds=1.0)), (rank, Crash(step=steps - 1, after=parties + 1))]
    return [observe(scenario_of(spec, parties, seed=1 + n, faults=[fault])) for n, fault in enumerate(faults)]


def _crashes(spec: Spec, effort: Effort) -> list[Observation]:
    parties = campaign_sizes(spec, effort)[0]
    places = [(step, after) for step in range(steps_of(spec, parties)) for after in (None, 1)]
    return [
        observe(scenario_of(spec, parties, seed=1 + number, faults=[(number % parties, Crash(step=step, after=after))]))
        for number, (step, after) in enumerate(places[:: 1 if effort.single > 15 else 2])
    ]


def _check_survivors(seen: Observation) -> None:
    scenario = seen.scenario
    alive = set(range(scenario.parties)) - scenario.placement.crashed
    if len(set(seen.contributors)) != len(seen.contributors) or not set(seen.contributors) <= set(
        range(scenario.parties)
    ):
        raise seen.violation(f"{seen.contributors} are no contributors")
    if not alive <= set(seen.contributors):
        raise seen.violation(f"{sorted(alive - set(seen.contributors))} followed the protocol and were left out")
    assert seen.offset is not None
    if bool(seen.offset.any()):
        raise seen.violation(f"the sum is off by {seen.offset.tolist()} from that of {seen.contributors}")


def does_not_depend_on_places(spec: Spec, effort: Effort) -> Evidence:
    """I6: members, clusters and the order in which messages arrive can be permuted without changing a sum."""
    cases = 0
    parties = campaign_sizes(spec, effort)[0]
    for seed in range(1, 1 + effort.cases):
        words = scenario_of(spec, parties, seed=seed).words()
        rng = public_stream(seed, "places")
        members, clusters = rng.permutation(parties), rng.permutation(words.shape[0])
        first = _open(spec, words, seed).sums
        moved = _open(spec, words[clusters][:, members].contiguous(), seed + 1).sums
        if not torch.equal(first[clusters], moved):
            raise Violation(
                f"{spec}: members {members.tolist()} and clusters {clusters.tolist()} in that order open "
                f"{moved.tolist()} instead of {first[clusters].tolist()}",
                replay=scenario_of(spec, parties, seed=seed).line(),
            )
        cases += 1
    return Evidence(how="property", cases=cases, text="random orders of members, clusters and arrivals")


def any_subset_opens_the_same(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I8: whichever members are left at the end, enough of them open the sum that all of them would open."""
    cases = 0
    small, absent = sizes(spec, min(effort.members, 6), least=3), size_with_an_absence(spec)
    for parties in small if absent is None or absent in small else [*small, absent]:
        last = steps_of(spec, parties) - 1
        lose = max((k for k in range(parties) if tolerates(spec, parties, 0, k)[1]), default=0)
        for absent in combinations(range(parties), lose) if lose else ():
            seen = observe(scenario_of(spec, parties, faults=[(rank, Crash(step=last)) for rank in absent]))
            if not seen.opened:
                raise seen.violation(f"without {absent} at the end it stops with {seen.kind}: {seen.error}")
            _check_survivors(seen)
            cases += 1
    if not cases:
        return NotApplicable(reason="it needs all its members to the end")
    return Evidence(how="exact", cases=cases, text="every set of members that may be gone in the last exchange")


def corrects_errors_within_its_radius(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I9: where b wrong and k missing members are tolerated, whichever they are, the sum is right or withheld."""
    cases = 0
    rng = public_stream(0, "radius", spec.canonical())
    for parties in sizes(spec, max(effort.members, 5), least=3):
        last = steps_of(spec, parties) - 1
        for b, k in ((liars, gone) for liars in range(1, parties) for gone in range(parties - liars)):
            right, live = tolerates(spec, parties, b, k)
            if not right:
                continue
            chosen = list(combinations(range(parties), b + k))
            for place in rng.permutation(len(chosen))[: effort.cases if live else max(effort.cases // 4, 1)]:
                ranks = [int(rank) for rank in rng.permutation(chosen[int(place)])]
                wrong = [
                    (
                        rank,
                        Garbage(step=last, seed=rank, excess_bytes=0)
                        if rank % 2
                        else Tamper(step=last, delta=rank + 1),
                    )
                    for rank in ranks[:b]
                ]
                _check_radius(
                    observe(scenario_of(spec, parties, faults=[*wrong, *((r, Crash(step=last)) for r in ranks[b:])])),
                    live=live,
                )
                cases += 1
    if not cases:
        return NotApplicable(reason="it tolerates no wrong message")
    return Evidence(
        how="property", cases=cases, text="wrong words at random places of the opening, each number of them"
    )


def _check_radius(seen: Observation, *, live: bool) -> None:
    if seen.opened:
        assert seen.offset is not None
        words, byzantine = seen.scenario.words(), sorted(seen.scenario.placement.byzantine & set(seen.contributors))
        expected = seen.scenario.ring.wrap(words[:, byzantine].sum(dim=1))
        if not torch.equal(seen.offset, expected):
            off = seen.scenario.ring.wrap(seen.offset - expected)
            raise seen.violation(f"errors in the opening alone move the sum by {off.tolist()}")
    elif live:
        raise seen.violation(f"errors within the radius stop it with {seen.kind}: {seen.error}")
