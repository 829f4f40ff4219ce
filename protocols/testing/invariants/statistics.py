"""What the verification suite asks of robust statistics: the invariants of protocols that say something of them."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from protocols.faults import Crash
from protocols.in_process import InProcessParties
from protocols.network import NetworkError, PartyCrashedError
from protocols.parties import OpenedSums
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.secure_robust import RobustStatistic, robust_statistics
from protocols.secure_robust._access import Access
from protocols.testing import refusal
from protocols.testing.invariants.contract import Effort, Evidence, NotApplicable, Violation
from protocols.testing.keyrings import replayable_keyring

__all__ = ["CHECKS", "REASONS", "StatisticInvariant"]

HOSTILE = (2**47, -(2**47), 46_341 << 16, 65_536 << 16, 2**63 - 1, -(2**63), 2**32, 3 << 31)
"""Words whose squares, differences or sums wrap around."""
_COORDINATES = 3


@dataclass(frozen=True, kw_only=True, eq=False)
class _Run:
    """Inputs (clusters, members, coordinates), what was opened of them, and all that anybody received."""

    words: Tensor
    opened: OpenedSums
    shapes: Mapping[int, list[tuple[int, str, tuple[int, ...]]]]
    heard: Tensor


def _made(spec: Spec) -> RobustStatistic:
    return robust_statistics.make(spec)


def _sizes(spec: Spec, effort: Effort) -> list[int]:
    """The sizes of clusters that are tried: up to the effort's largest, at least the smallest that can run it."""
    fitting = [c for c in range(3, 17) if refusal(lambda c=c: _made(spec).check_size(parties=c)) is None]
    return [c for c in fitting if c <= effort.members] or fitting[:1]


def _inputs(spec: Spec, parties: int, seed: int) -> Tensor:
    """Two clusters' words (2, parties, 3) of the statistic's ring, all different, as updates are: far from its ends."""
    stream = public_stream(seed, "statistics", parties)
    shape, most = (2, parties, _COORDINATES), min(_made(spec).ring.modulus // 64, 2**20)
    return torch.from_numpy(stream.integers(-most, most, size=shape, dtype=np.int64))


def _run(spec: Spec, words: Tensor) -> _Run:
    threads = InProcessParties(words.shape[1], keyring=replayable_keyring(1))
    opened = threads.open_sums(spec, words)
    received = [(rank, message) for rank, each in threads.transcripts.items() for message in each]
    shapes: dict[int, list[tuple[int, str, tuple[int, ...]]]] = {}
    for rank, message in received:
        entry = message.sender, str(message.payload.dtype), tuple(message.payload.shape)
        shapes.setdefault(rank, []).append(entry)
    payloads = [message.payload.flatten() for _, message in received if message.payload.dtype == torch.int64]
    return _Run(words=words, opened=opened, shapes=shapes, heard=torch.cat(payloads))


@cache
def _usual(spec: Spec, parties: int, seed: int) -> _Run:
    return _run(spec, _inputs(spec, parties, seed))


def _violated(spec: Spec, number: int, text: str) -> Violation:
    config = json.dumps({"name": spec.name, **dict(spec.parameters)})
    return Violation(f"{spec}: {text}", replay=f"python -m protocols.testing.statistics '{config}' I{number}")


def _is_reference(spec: Spec, run: _Run) -> bool:
    expected = _made(spec).reference(run.words)
    same = (run.opened.kept is None) == (expected.kept is None)
    if run.opened.kept is not None and expected.kept is not None:
        same = torch.equal(run.opened.kept, expected.kept)
    return same and torch.equal(run.opened.sums, expected.sums) and run.opened.contributors == expected.contributors


def _opens_its_reference(spec: Spec, effort: Effort) -> Evidence:
    """I1: the opened words are those of the reference, which computes in the clear."""
    runs = [_usual(spec, parties, seed) for parties in _sizes(spec, effort) for seed in (1, 2)]
    for run in runs:
        if not _is_reference(spec, run):
            raise _violated(spec, 1, f"it opens {run.opened.sums.tolist()} of {run.words.tolist()}")
    return Evidence(how="property", cases=len(runs), text="the words of the statistic in the clear")


def _hostile_run(spec: Spec, effort: Effort) -> _Run:
    """One member sends a word that wraps around in every coordinate, another one in each cluster."""
    parties = _sizes(spec, effort)[-1]
    words = _inputs(spec, parties, 3)[:1].repeat(len(HOSTILE), 1, 1)
    words[:, 1] = _made(spec).ring.wrap(torch.tensor(HOSTILE))[:, None]
    return _run(spec, words)


def _survives_hostile_words(spec: Spec, effort: Effort) -> Evidence:
    """I2: words that wrap around a square, a difference or a sum change nothing but what the reference says."""
    run = _hostile_run(spec, effort)
    if not _is_reference(spec, run):
        raise _violated(spec, 2, f"it opens {run.opened.sums.tolist()} of {run.words.tolist()}")
    return Evidence(how="property", cases=len(HOSTILE), text="+-2^47, 46,341, 65,536, the ends of the ring and others")


def _stays_in_the_honest_hull(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I26: one member with any of these words leaves every coordinate between the others' values."""
    parties = _sizes(spec, effort)[-1]
    statistic = _made(spec)
    if statistic.breakdown(parties) < 1:
        return NotApplicable(reason=f"one Byzantine input of {parties} may move it; how far, its docstring bounds")
    run = _hostile_run(spec, effort)
    estimates = statistic.decode(statistic.reference(run.words), parties=parties)
    others = statistic.ring.decode(run.words[:, [place for place in range(parties) if place != 1]])
    if not bool(((estimates >= others.amin(dim=1)) & (estimates <= others.amax(dim=1))).all()):
        raise _violated(spec, 26, f"{estimates.tolist()} is not between the values of {others.tolist()}")
    return Evidence(how="property", cases=len(HOSTILE), text="each coordinate lies between honest members' values")


def _does_not_depend_on_places(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I6: members that change places change what is opened of none of them, unless the statistic says why they may."""
    why = robust_statistics.entry(spec.name).facts.get("places_matter")
    if why is not None:
        return NotApplicable(reason=str(why))
    parties = _sizes(spec, effort)[0]
    run, order = _usual(spec, parties, 1), list(range(parties))[::-1]
    moved = _run(spec, run.words[:, order])
    same = torch.equal(run.opened.sums, moved.opened.sums)
    if run.opened.kept is not None and moved.opened.kept is not None:
        same = same and torch.equal(run.opened.kept[:, order], moved.opened.kept)
    if not same:
        raise _violated(
            spec, 6, f"{run.opened.sums.tolist()} becomes {moved.opened.sums.tolist()} in the order {order}"
        )
    return Evidence(how="property", cases=len(run.words), text="inputs without ties, their members in reverse order")


def _accesses(spec: Spec) -> list[Access]:
    statistic = _made(spec)
    sizes = [c for c in range(3, 10) if refusal(lambda c=c: statistic.check_size(parties=c)) is None]
    return [Access(parties=c, threshold=statistic.conditions.threshold_at(c)) for c in sizes]


def _masks_lack_a_part(spec: Spec, effort: Effort) -> Evidence:  # noqa: ARG001
    """I12: of every mask, any t members lack a part that somebody else draws."""
    cases = 0
    for access in _accesses(spec):
        for pooled in combinations(range(access.parties), access.threshold):
            cases += 1
            if all(set(pooled) & set(members) for members in access.sets):
                raise _violated(spec, 12, f"{pooled} of {access.parties} members hold all parts of a mask")
    return Evidence(
        how="exact",
        cases=cases,
        text="all coalitions of t members, clusters of 3 to 9; tests/properties/test_robust_secrecy.py enumerates all "
        "randomness of the parts that statistics are made of, test_range_secrecy.py that of the whole range check, "
        "test_robust_openings.py lists what each opens",
    )


def _one_more_holds_all(spec: Spec, effort: Effort) -> Evidence:  # noqa: ARG001
    """I13: any t + 1 members hold every part of a mask."""
    cases = 0
    for access in _accesses(spec):
        for pooled in combinations(range(access.parties), access.threshold + 1):
            cases += 1
            if not all(set(pooled) & set(members) for members in access.sets):
                raise _violated(spec, 13, f"{pooled} of {access.parties} members lack a part: more is hidden than said")
    return Evidence(how="exact", cases=cases, text="all coalitions of t + 1 members, clusters of 3 to 9")


def _sends_the_same_shapes(spec: Spec, effort: Effort) -> Evidence:
    """I22: number, order, sender, type and size of all messages do not depend on the inputs."""
    parties = _sizes(spec, effort)[0]
    first = _usual(spec, parties, 1)
    others = [_usual(spec, parties, 2), _run(spec, torch.zeros_like(first.words))]
    for other in others:
        if other.shapes != first.shapes:
            raise _violated(spec, 22, f"the messages of {other.words.tolist()} and {first.words.tolist()} differ")
    return Evidence(how="property", cases=1 + len(others), text="all messages of runs on other words, zeros among them")


def _shows_no_input(spec: Spec, effort: Effort) -> Evidence:
    """I23: no message holds a word that a member entered, unless the result does."""
    runs = [_usual(spec, _sizes(spec, effort)[0], seed) for seed in (1, 2)]
    for run in runs:
        told = {int(word) for word in run.opened.sums.flatten()} | {-1, 0, 1}
        hidden = {int(word) for word in run.words.flatten()} - told
        if seen := [word for word in sorted(hidden) if bool((run.heard == word).any())]:
            raise _violated(spec, 23, f"messages hold the inputs {seen}")
    return Evidence(how="property", cases=len(runs), text="every 64-bit word of every message")


def _ends(spec: Spec, effort: Effort) -> Evidence:
    """I34: a crash of any member, early or late, ends in one typed error at all others; nobody waits for ever."""
    parties, cases = _sizes(spec, effort)[0], 0
    words = _inputs(spec, parties, 1)
    for rank in range(parties):
        for step in (0, 1, 5, 9):
            threads = InProcessParties(parties, faults={rank: Crash(step=step)}, keyring=replayable_keyring(1))
            try:
                opened = threads.open_sums(spec, words)
            except PartyCrashedError:
                cases += 1
            except NetworkError as error:
                raise _violated(spec, 34, f"a crash of {rank} at step {step} ends with {error!r}") from None
            else:
                raise _violated(spec, 34, f"{rank} crashed at step {step}, and {opened.sums.tolist()} opened")
    return Evidence(
        how="property", cases=cases, text="each member crashes at four steps; nothing opens, and all say why"
    )


def _clusters_stay_apart(spec: Spec, effort: Effort) -> Evidence:
    """I35: a cluster opens the same alone as in a batch."""
    together = _usual(spec, _sizes(spec, effort)[0], 1)
    alone = _run(spec, together.words[1:])
    if not torch.equal(together.opened.sums[1:], alone.opened.sums):
        raise _violated(spec, 35, f"a cluster opens {alone.opened.sums.tolist()} alone, and else in a batch")
    return Evidence(how="property", cases=1, text="the second cluster of a batch, and the same one alone")


def _worsens_with_every_fault(spec: Spec, effort: Effort) -> Evidence:
    """I32: where its conditions say that something fails, it fails with one more faulty member too."""
    conditions, cases = _made(spec).conditions, 0
    for c in _sizes(spec, effort):
        b, k = (axis.ravel() for axis in np.mgrid[: c + 1, : c + 1])
        fits = b + k <= c
        failed = conditions.failed(c, b[fits], k[fits])
        bad = dict(zip(zip(b[fits].tolist(), k[fits].tolist(), strict=True), failed.tolist(), strict=True))
        for (byzantine, crashed), fails in bad.items():
            cases += 1
            more = [bad.get((byzantine + 1, crashed), True), bad.get((byzantine, crashed + 1), True)]
            if fails and not all(more):
                raise _violated(spec, 32, f"({byzantine}, {crashed}) of {c} fail, and one more does not")
    return Evidence(how="exact", cases=cases, text="every occupancy of the clusters tried")


def _costs_what_it_says(spec: Spec, effort: Effort) -> Evidence:
    """I44: the meter counts what the formula says, offline and online."""
    runs = [_usual(spec, parties, seed) for parties in _sizes(spec, effort) for seed in (1, 2)]
    for run in runs:
        clusters, parties, coordinates = run.words.shape
        formula = _made(spec).cost(parties=parties, clusters=clusters, coordinates=coordinates)
        if run.opened.traffic != formula:
            raise _violated(spec, 44, f"{run.opened.traffic} was metered, not {formula}")
    return Evidence(how="property", cases=len(runs), text="bytes, messages and rounds, offline and online apart")


StatisticInvariant = Callable[[Spec, Effort], Evidence | NotApplicable]

CHECKS: Mapping[int, StatisticInvariant] = {
    1: _opens_its_reference,
    2: _survives_hostile_words,
    6: _does_not_depend_on_places,
    12: _masks_lack_a_part,
    13: _one_more_holds_all,
    22: _sends_the_same_shapes,
    23: _shows_no_input,
    26: _stays_in_the_honest_hull,
    32: _worsens_with_every_fault,
    34: _ends,
    35: _clusters_stay_apart,
    44: _costs_what_it_says,
}
_UNCHECKED = "nothing checks that members follow the protocol; its conditions say so (mode passive)"
REASONS: Mapping[int, str] = {
    3: "its numbers are coded as those of sums, which are checked",
    5: "one crash stops a cluster, so that nobody survives",
    8: "what is opened is opened by all members, not by a subset",
    9: "it corrects no errors",
    10: _UNCHECKED,
    14: "all randomness of its parts is enumerated instead: tests/properties/test_robust_secrecy.py",
    15: "pads refuse a use that is not larger than all before: tests/units/test_robust_core.py",
    16: "coordinates are lanes of the same words; what is opened of them is checked word for word by I1",
    17: "one crash stops a cluster, so that nobody is left alone",
    19: "there is no unmasking after a crash",
    20: "masks are drawn by sets of members, not along a graph",
    21: _UNCHECKED,
    24: "vouchers name the model, so that the board refuses a result of several, but members have opened it by then",
    25: "its conditions are held in rounds: tests/units/test_robust_rounds.py",
    30: _UNCHECKED,
    31: "it names nobody but who fails its check, of which I1 is told",
    36: "it never starts again",
}
