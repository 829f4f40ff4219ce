"""Secrecy: what coalitions learn, exactly, and that one member more than the threshold learns more."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from protocols.check import CloisterError
from protocols.faults import Crash
from protocols.faulty_link import Fault
from protocols.network import NetworkError
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing._taped import Late
from protocols.testing.invariants.affine import AffineViews, affine_views
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
from protocols.testing.tape import coalitions_of, enumerate_views

__all__ = [
    "affine_or_none",
    "breaks_just_above_its_threshold",
    "hides_inputs",
    "largest_coalitions",
    "secret_sizes",
    "small_variants",
]

_NO_SECRECY = NotApplicable(reason="it promises no secrecy")
_NOBODY_LEARNS = NotApplicable(
    reason="its threshold is all members but one: they know the last one's words from the sum, and fewer learn nothing"
)
_FROM_KEYS = NotApplicable(
    reason="its masks are derived from keys, which are taken as ideal: one member more shows nothing there"
)
_MOST_ENUMERATED = 4
_PRIMES = (2, 3, 5, 7, 11)


def hides_inputs(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I12: a coalition that is small enough learns nothing but the sum, whoever else drops out or is late.

    Only the largest coalitions that may learn nothing are tried: what a smaller one learns about two others, it
    learns as well together with everybody else.
    """
    secret = secret_sizes(spec, effort)
    if not secret:
        return _NO_SECRECY
    secret = sorted({*secret, size_with_an_absence(spec) or secret[0]})
    cases = ideal = 0
    said: list[str] = []
    for parties in secret:
        for faults in _absences(spec, parties):
            views = affine_or_none(spec, parties, parties if parties <= 4 else 2, faults)
            if views is None:
                continue
            largest = largest_coalitions(spec, parties)
            _refuse_leaks(spec, parties, views.leaking(largest), faults)
            cases += len(largest)
            ideal += views.views.left_out + views.views.whole_batch
    if cases:
        said.append(f"all inputs and all randomness of {cases} coalitions, by linear algebra at full size")
    for small, parties, coordinates in _small_clusters(spec, effort):
        found = enumerate_views(small, parties, coordinates=coordinates, rows=effort.rows)
        _refuse_leaks(small, parties, [c for c in found.leaking if promises_secrecy(small, parties, len(c))], {})
        if found.cases:
            cases += found.cases
            ideal += found.left_out
            said.append(f"{found.cases} views of {parties} members modulo {secure_sums.make(small).ring.modulus}")
    if not cases:
        return NotApplicable(reason="its views are neither linear in its randomness nor few enough to enumerate")
    if ideal:
        said.append(
            "hashes, boxes, signatures and what is sent once a batch (keys and their shares) are taken as ideal"
        )
    return Evidence(how="exact", cases=cases, text="; ".join(said))


def secret_sizes(spec: Spec, effort: Effort) -> list[int]:
    """Return sizes of clusters in which something is hidden from the board: small ones, or else the smallest."""
    accepted = [parties for parties in sizes(spec, 12, least=3) if promises_secrecy(spec, parties)]
    return [parties for parties in accepted if parties <= effort.members] or accepted[:1]


def largest_coalitions(spec: Spec, parties: int) -> list[tuple[int, ...]]:
    """Return all coalitions of as many members as may learn nothing, the board with them."""
    most = max(a for a in range(parties - 1) if promises_secrecy(spec, parties, a))
    return list(combinations(range(parties), most))


def _refuse_leaks(spec: Spec, parties: int, leaking: Sequence[tuple[int, ...]], faults: Mapping[int, Fault]) -> None:
    if leaking:
        named = ", ".join(str(set(each) or "nobody") for each in leaking[:6])
        absent = f" while {dict(faults)} fail" if faults else ""
        raise Violation(
            f"{spec}: with the board, {named} of {parties} members learn more than the sum{absent}",
            replay=suite_line(spec, "I12"),
        )


def _absences(spec: Spec, parties: int) -> Iterator[Mapping[int, Fault]]:
    """Yield who is missing: nobody, then, where it goes on without one, a member that is late in each exchange.

    What is late is in the views all the same, so that they show no less than those of a crash.
    """
    yield {}
    if parties == size_with_an_absence(spec):
        yield from ({step % parties: Late(step=step)} for step in range(steps_of(spec, parties)))


def affine_or_none(spec: Spec, parties: int, coordinates: int, faults: Mapping[int, Fault]) -> AffineViews | None:
    """Return what each party sees as an affine function of the inputs; None where nothing is opened."""
    try:
        return affine_views(spec, parties, coordinates=coordinates, faults=faults)
    except NetworkError:
        return None


def _small_clusters(spec: Spec, effort: Effort) -> Iterator[tuple[Spec, int, int]]:
    for small in small_variants(spec):
        modulus = secure_sums.make(small).ring.modulus
        for parties in sizes(small, min(_MOST_ENUMERATED, effort.members), least=3):
            if promises_secrecy(small, parties):
                yield small, parties, parties if modulus == 2 else 1


def small_variants(spec: Spec) -> list[Spec]:
    """Return the spec with rings that are small enough to enumerate: a field above c, or 2 and 8 words."""
    names = {name for name, _ in spec.parameters}
    changes: list[dict[str, Any]] = []
    if "bits" in names:
        changes = [{"bits": 1}, {"bits": 3}]
    elif "modulus" in names:
        changes = [{"modulus": prime} for prime in _PRIMES]
    found: list[Spec] = []
    for change in changes:
        fewer = {name: small for name, small in (("fraction_bits", 0), ("checks", 1)) if name in names}
        try:
            small = secure_sums.resolve({**spec.as_config(), **change, **fewer})
        except CloisterError:
            continue
        if sizes(small, _MOST_ENUMERATED, least=3):
            found.append(small)
    return found[:2]


def breaks_just_above_its_threshold(spec: Spec, effort: Effort) -> Evidence | NotApplicable:
    """I13: one member more than the threshold does learn more, and one share fewer than it needs opens nothing.

    Where the threshold is not the cluster's, but that of servers, groups or delegates, the members are those whom the
    conditions count: as few of them as may learn more, wherever they sit.
    """
    thresholded = conditions_at(spec).threshold is not None
    chosen = sizes(spec, max(effort.members, 4), least=3) if thresholded else _sizes_that_break(spec)[:1]
    if not chosen:
        hides = any(promises_secrecy(spec, parties) for parties in sizes(spec, 12, least=3))
        return _NOBODY_LEARNS if hides else _NO_SECRECY
    learned = [_learns_above_its_threshold(spec, parties) for parties in chosen]
    opened = [_opens_nothing_with_a_share_less(spec, parties) for parties in chosen] if thresholded else []
    if not any(learned) and not opened:
        return _FROM_KEYS
    said = ["one share fewer than needed at the opening opens nothing"] if opened else []
    said += ["a coalition one above the threshold learns more"] if any(learned) else []
    return Evidence(how="exact", cases=sum(learned) + len(opened), text="; ".join(said))


def _sizes_that_break(spec: Spec) -> list[int]:
    """Return the sizes of clusters with a secret that fewer than all members but one may learn."""
    secret = [parties for parties in sizes(spec, 12, least=3) if promises_secrecy(spec, parties)]
    return [parties for parties in secret if _fewest_that_learn(spec, parties) is not None]


def _fewest_that_learn(spec: Spec, parties: int) -> int | None:
    return next((a for a in range(1, parties - 1) if not promises_secrecy(spec, parties, a)), None)


def _learns_above_its_threshold(spec: Spec, parties: int) -> bool:
    """Raise Violation where nobody learns more; return False where keys are derived, which the algebra cannot see."""
    fewest = _fewest_that_learn(spec, parties)
    views = affine_views(spec, parties, coordinates=1) if fewest is not None else None
    if views is None or any(draw.label[0].startswith("generator") for draw in views.script.draws):
        return False
    if not views.leaking([each for each in coalitions_of(parties) if len(each) == fewest]):
        raise Violation(
            f"{spec}: no {fewest} of {parties} members learn more than the sum, although that is above the threshold: "
            f"it is not what the protocol says",
            replay=suite_line(spec, "I13"),
        )
    return True


def _opens_nothing_with_a_share_less(spec: Spec, parties: int) -> bool:
    conditions = conditions_at(spec)
    needed = conditions.threshold_at(parties) + 1 - conditions.scheme.smallest_threshold
    last = steps_of(spec, parties) - 1
    gone = [(rank, Crash(step=last)) for rank in range(parties - needed + 1)]
    seen = observe(scenario_of(spec, parties, faults=gone))
    if seen.opened:
        raise seen.violation(f"{needed - 1} shares open a sum; needed: {needed}")
    return True
