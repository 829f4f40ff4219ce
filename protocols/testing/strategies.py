"""Hypothesis strategies for scenarios, placements of faults and clusterings; they shrink to the fewest and smallest.

@given(scenario=scenarios(["additive"], faults=["Crash"]))
def test_a_crash_is_never_wrong(scenario: Scenario) -> None:
    check_scenario(scenario, lambda outcome: outcome.kind != "wrong")
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from itertools import pairwise

import hypothesis
from hypothesis import strategies as st

from protocols import check, faults
from protocols.faulty_link import Fault
from protocols.network import BOARD
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.testing.outcomes import Outcome
from protocols.testing.placements import FAULTS, Placement
from protocols.testing.scenarios import Scenario, contradiction, fitting_sizes, registered_specs
from protocols.types import Clustering

__all__ = ["check_conditions", "check_scenario", "clusterings", "fault_strategies", "placements", "scenarios"]

_LATE_S = 1e6  # virtual: far beyond any deadline
_DELTAS = st.one_of(st.integers(1, 2**63 - 1), st.sampled_from([1, 2**16, 2**62]))


@cache
def fault_strategies(*, parties: int, clusters: int = 2, steps: int = 10) -> Mapping[str, st.SearchStrategy[Fault]]:
    """Return a strategy for each fault by its name, acting in the exchanges 0..steps-1 of a cluster of `parties`."""
    step = st.integers(0, steps - 1)
    peer = st.one_of(st.none(), st.sampled_from([*range(parties), BOARD]))
    word = st.one_of(st.none(), st.integers(-3, 3))
    return {
        "Crash": st.builds(faults.Crash, step=step, after=st.one_of(st.none(), st.integers(1, parties))),
        "Delay": st.builds(faults.Delay, step=step, seconds=st.sampled_from([1.0, _LATE_S])),
        "Mute": st.builds(faults.Mute, step=step, to=peer),
        "Duplicate": st.builds(faults.Duplicate, step=step),
        "Replay": st.builds(faults.Replay, step=step, batches_back=st.integers(0, 2)),
        "Tamper": st.builds(faults.Tamper, step=step, delta=_DELTAS, to=peer, word=word),
        "Equivocate": st.builds(
            faults.Equivocate,
            step=step,
            delta=_DELTAS,
            # A set of a list, unlike a set, loses the peers that do not matter when it shrinks.
            to=st.lists(st.sampled_from([*range(parties), BOARD]), min_size=1, max_size=parties).map(frozenset),
        ),
        "Truncate": st.builds(faults.Truncate, step=step),
        "Garbage": st.builds(
            faults.Garbage, step=step, seed=st.integers(0, 99), excess_bytes=st.sampled_from([0, 1, -1, 1000])
        ),
        "WrongDtype": st.builds(faults.WrongDtype, step=step, width=st.sampled_from(["half", "same", "double"])),
        "WrongCluster": st.builds(
            faults.WrongCluster, step=step, clusters=st.just(max(clusters, 2)), second=st.integers(1, max(clusters, 2))
        ),
    }


@st.composite
def placements(
    draw: st.DrawFn,
    parties: int,
    *,
    byzantine: int = 0,
    crashed: int = 0,
    curious: int = 0,
    clusters: int = 2,
    steps: int = 10,
    faults: Collection[str] | None = None,
    board: bool = False,
) -> Placement:
    """Draw a placement with at most so many Byzantine, crashed and curious members of a cluster of `parties`.

    `faults` names the faults that occur (default: all); where `board`, the board may have one of them as well.
    """
    known = fault_strategies(parties=parties, clusters=clusters, steps=steps)
    for name in faults or ():
        check.one_of(known, fault=name)
    named = [name for name in known if faults is None or name in faults]
    ill = [known[name] for name in named if FAULTS[name].kind == "byzantine"]
    weak = [known[name] for name in named if FAULTS[name].kind == "crash"]

    def some(most: int, excluded: Collection[int] = ()) -> list[int]:
        ranks = draw(st.lists(st.integers(0, parties - 1), unique=True, max_size=min(most, parties)))
        return [rank for rank in ranks if rank not in excluded]

    lying = some(byzantine) if ill else []
    dead = some(crashed, lying) if weak else []
    looking = some(curious, [*lying, *dead])
    placed = [(rank, draw(st.one_of(ill))) for rank in lying] + [(rank, draw(st.one_of(weak))) for rank in dead]
    if board and named and draw(st.booleans()):
        placed.append((BOARD, draw(st.one_of([*ill, *weak]))))
    return Placement(faults=tuple(placed), curious=frozenset(looking))


@st.composite
def scenarios(
    draw: st.DrawFn,
    protocols: Sequence[Spec | str] | None = None,
    *,
    max_parties: int = 8,
    max_clusters: int = 3,
    max_coordinates: int = 4,
    max_rounds: int = 2,
    byzantine: int | None = None,
    crashed: int | None = None,
    curious: int = 0,
    steps: int = 10,
    faults: Collection[str] | None = None,
    board: bool = False,
) -> Scenario:
    """Draw a scenario of one of the protocols (default: all registered ones, with their examples).

    At most `byzantine`, `crashed` and `curious` members fail, by default any number; see `placements`.
    """
    chosen = registered_specs() if protocols is None else [_resolved(each) for each in protocols]
    spec = draw(st.sampled_from(chosen))
    parties = draw(st.sampled_from(fitting_sizes(spec, max_parties)))
    clusters = draw(st.integers(1, max_clusters))
    return Scenario(
        protocol=spec,
        parties=parties,
        clusters=clusters,
        coordinates=draw(st.integers(1, max_coordinates)),
        words_seed=draw(st.integers(0, 2**16)),
        schedule=draw(st.integers(0, 2**16)),
        rounds=draw(st.integers(1, max_rounds)),
        placement=draw(
            placements(
                parties,
                byzantine=parties if byzantine is None else byzantine,
                crashed=parties if crashed is None else crashed,
                curious=curious,
                clusters=clusters,
                steps=steps,
                faults=faults,
                board=board,
            )
        ),
    )


def _resolved(protocol: Spec | str) -> Spec:
    return secure_sums.resolve(protocol) if isinstance(protocol, str) else protocol


@st.composite
def clusterings(draw: st.DrawFn, n: int) -> Clustering:
    """Draw a partition of the processes 0..n-1 into clusters of any sizes; shrinks to one cluster in order."""
    order = draw(st.permutations(range(n)))
    cuts = sorted(draw(st.sets(st.integers(1, n - 1)))) if n > 1 else []
    edges = [0, *cuts, n]
    return Clustering(clusters=tuple(tuple(order[a:b]) for a, b in pairwise(edges)))


def check_scenario(scenario: Scenario, predicate: Callable[[Outcome], bool]) -> Outcome:
    """Return the outcome. Raises: AssertionError with the line that replays the scenario unless predicate(outcome)."""
    outcome = _noted(scenario)
    assert predicate(outcome), f"{outcome}\n{scenario.line()}"
    return outcome


def check_conditions(scenario: Scenario) -> Outcome:
    """Return the outcome. Raises: AssertionError with the replay line where it contradicts the protocol's conditions.

    See protocols.testing.scenarios.contradiction.
    """
    outcome = _noted(scenario)
    said = contradiction(scenario, outcome)
    assert said is None, f"{said}: {outcome}\n{scenario.line()}"
    return outcome


def _noted(scenario: Scenario) -> Outcome:
    if hypothesis.currently_in_test_context():
        hypothesis.note(scenario.line())
    return scenario.run()
