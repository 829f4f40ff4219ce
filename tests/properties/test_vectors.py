"""Test vectors: scripts of operations with the result that every implementation must give.

tests/vectors/*.json: {"version": 1, "vectors": [...]}, each vector {"name", "protocol", "parameters", "parties",
"operations": [{"op": ...}, ...], "expect": "ok" or the name of an error's class, and where it is "ok" "sums" (clusters,
coordinates) and "contributors" of the last run; "suspects" (default: none), and "says", a part of the error's text}.
The operations:

    words   words (clusters, members, coordinates) to add in the next runs
    floats  the same, but numbers that are no integers
    encode  values ("nan", "inf" and "-inf" are texts) to encode as words for a sum of so many terms
    fault   the rank (-1: the board) has this fault in the next runs, until it is healed
    heal    nobody has a fault any more
    run     open the sums; with "expect" it ends with that error, and the script goes on
    decode  the sums of the last run decode to exactly these values
"""

import json
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
import torch

from protocols.check import CloisterError
from protocols.faults import Combined
from protocols.faulty_link import Fault
from protocols.in_process import InProcessParties
from protocols.network import CheatingDetectedError, NetworkError
from protocols.parties import OpenedSums
from protocols.secure_sum import secure_sums
from protocols.testing.keyrings import replayable_keyring
from protocols.testing.placements import fault_of

FOLDER = Path(__file__).parents[1] / "vectors"
VERSION = 1
OPTIONAL = {"sums", "contributors", "suspects", "says"}
FIELDS = {"name", "protocol", "parameters", "parties", "operations", "expect", *OPTIONAL}
Vector = Mapping[str, Any]


# A script is played once; all that looks at its end runs on the worker that has played it.
pytestmark = pytest.mark.xdist_group("vectors")


@dataclass(kw_only=True)
class State:
    """What the operations of one vector work on."""

    protocol: str
    parameters: Mapping[str, Any]
    parties: int
    words: torch.Tensor | None = None
    opened: OpenedSums | None = None
    faults: dict[int, Fault] = field(default_factory=dict)
    pool: InProcessParties | None = None

    @property
    def spec(self):
        return secure_sums.resolve({"name": self.protocol, **self.parameters})

    @property
    def ring(self):
        return secure_sums.make(self.spec).ring


Ending = tuple[State, Exception | None]


def give_words(state: State, operation: Vector) -> None:
    state.words = torch.tensor(operation["words"], dtype=torch.int64)


def give_floats(state: State, operation: Vector) -> None:
    state.words = torch.tensor(operation["words"], dtype=torch.float64)


def encode(state: State, operation: Vector) -> None:
    values = [[[float(value) for value in row] for row in cluster] for cluster in operation["values"]]
    state.words = state.ring.encode(torch.tensor(values, dtype=torch.float64), terms=operation["terms"])


def fail(state: State, operation: Vector) -> None:
    rank, fault = operation["rank"], fault_of(operation["fault"])
    before = state.faults.get(rank)
    state.faults[rank] = fault if before is None else Combined(faults=(before, fault))


def heal(state: State, operation: Vector) -> None:
    state.faults.clear()


def run(state: State, operation: Vector) -> None:
    expected = operation.get("expect", "ok")
    spec = state.spec
    if state.pool is None:
        state.pool = InProcessParties(state.parties, faults=state.faults, schedule=0, keyring=replayable_keyring(0))
    if expected == "ok":
        state.opened = state.pool.open_sums(spec, state.words)
        return
    with pytest.raises((NetworkError, CloisterError)) as caught:
        state.pool.open_sums(spec, state.words)
    assert caught.type.__name__ == expected


def decode(state: State, operation: Vector) -> None:
    assert state.ring.decode(state.opened.sums).tolist() == operation["values"]


OPERATIONS: Mapping[str, Callable[[State, Vector], None]] = MappingProxyType(
    {
        "words": give_words,
        "floats": give_floats,
        "encode": encode,
        "fault": fail,
        "heal": heal,
        "run": run,
        "decode": decode,
    }
)


def verify(vector: Vector) -> None:
    """Raise AssertionError unless the vector's script ends as the vector says."""
    judge(vector, *play(vector))


def play(vector: Vector) -> Ending:
    """Return the state in which the vector's script ends, and the error that ended it."""
    state = State(protocol=vector["protocol"], parameters=vector["parameters"], parties=vector["parties"])
    try:
        for operation in vector["operations"]:
            OPERATIONS[operation["op"]](state, operation)
    except (NetworkError, CloisterError) as error:
        return state, error
    return state, None


@cache
def ending_of(name: str) -> Ending:
    return play(VECTORS[name])


def judge(vector: Vector, state: State, failure: Exception | None) -> None:
    """Raise AssertionError unless a script that ended so ended as the vector says."""
    ended = "ok" if failure is None else type(failure).__name__
    assert ended == vector["expect"], f"it ended with {ended}: {failure or state.opened}"
    assert vector.get("says", "") in str(failure)
    suspects = frozenset(vector.get("suspects", ()))
    if failure is not None:
        assert suspects == (failure.suspects if isinstance(failure, CheatingDetectedError) else frozenset())
        return
    assert state.opened is not None
    assert state.opened.sums.tolist() == vector["sums"]
    assert list(state.opened.contributors) == vector["contributors"]
    assert state.opened.suspects == suspects


def load(path: Path) -> list[Vector]:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert content["version"] == VERSION, f"{path.name} has version {content['version']}; allowed: {VERSION}"
    return content["vectors"]


FILES = sorted(FOLDER.glob("*.json"))
VECTORS = {f"{path.stem}: {vector['name']}": vector for path in FILES for vector in load(path)}
POSITIVE = {name: vector for name, vector in VECTORS.items() if vector["expect"] == "ok"}
NEGATIVE = {name: vector for name, vector in VECTORS.items() if vector["expect"] != "ok"}


@pytest.mark.parametrize("name", VECTORS)
def test_each_vector_ends_as_it_says(name: str) -> None:
    judge(VECTORS[name], *ending_of(name))


@pytest.mark.parametrize("name", NEGATIVE)
def test_a_script_that_must_fail_is_not_taken_for_one_that_succeeds(name: str) -> None:
    flipped = {**VECTORS[name], "expect": "ok", "sums": [], "contributors": []}
    with pytest.raises(AssertionError):
        judge(flipped, *ending_of(name))


@pytest.mark.parametrize("name", POSITIVE)
def test_a_script_that_succeeds_is_not_taken_for_one_that_must_fail(name: str) -> None:
    with pytest.raises(AssertionError, match="it ended with ok"):
        judge({**VECTORS[name], "expect": "OutOfStepError"}, *ending_of(name))


@pytest.mark.parametrize("name", POSITIVE)
def test_a_sum_that_is_off_by_one_a_missing_contributor_or_a_false_suspect_is_noticed(name: str) -> None:
    vector = VECTORS[name]
    off = deepcopy(vector["sums"])
    off[-1][-1] += 1
    for changed in ({"sums": off}, {"contributors": vector["contributors"][:-1]}, {"suspects": [99]}):
        with pytest.raises(AssertionError):
            judge({**vector, **changed}, *ending_of(name))


class TestTheCollection:
    """It is as large and as wide as it should be, and nothing in it is misspelt."""

    def test_there_are_many_of_both_kinds(self) -> None:
        assert len(POSITIVE) >= 30
        assert len(NEGATIVE) >= 30

    def test_every_protocol_succeeds_and_fails(self) -> None:
        protocols = set(secure_sums.entries())
        assert {vector["protocol"] for vector in POSITIVE.values()} == protocols
        assert {vector["protocol"] for vector in NEGATIVE.values()} >= protocols

    def test_every_error_that_a_round_can_end_with_occurs(self) -> None:
        assert {vector["expect"] for vector in NEGATIVE.values()} == {
            "CheatingDetectedError",
            "CloisterError",
            "NotEncodableError",
            "OutOfStepError",
            "PartyCrashedError",
            "PartyTimeoutError",
            "TooFewPartiesError",
        }

    def test_names_are_unique_and_fields_known(self) -> None:
        assert len(VECTORS) == sum(len(load(path)) for path in FILES)
        for vector in VECTORS.values():
            assert vector.keys() <= FIELDS, vector["name"]
            assert vector.keys() >= FIELDS - OPTIONAL, vector["name"]
            assert ("sums" in vector) == ("contributors" in vector) == (vector["expect"] == "ok"), vector["name"]
            assert {operation["op"] for operation in vector["operations"]} <= OPERATIONS.keys(), vector["name"]

    def test_another_version_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "future.json"
        path.write_text('{"version": 2, "vectors": []}')
        with pytest.raises(AssertionError, match="version 2"):
            load(path)

    def test_an_unknown_operation_is_refused(self) -> None:
        vector = {**next(iter(VECTORS.values())), "operations": [{"op": "guess"}]}
        with pytest.raises(KeyError, match="guess"):
            verify(vector)
