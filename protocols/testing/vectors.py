"""Test vectors: scripts of operations, as JSON, with the result that every implementation must give.

A file is {"version": 1 or 2, "vectors": [...]}; each vector has "name", "protocol", "parameters", "parties",
"operations": [{"op": ...}, ...] and "expect": "ok" or the name of an error's class. Where it is "ok", "sums" (clusters,
coordinates) and "contributors" are those of the last run; "suspects" (default: none), and "says", a part of the error's
text. No other field is allowed, nor is one that an operation does not know. The operations:

    words   words (clusters, members, coordinates) to add in the next runs
    floats  the same, but numbers that are no integers
    encode  values ("nan", "inf" and "-inf" are texts) to encode as words for a sum of so many terms
    fault   the rank (-1: the board) has this fault in the next runs, until it is healed
    heal    nobody has a fault any more
    models  the digest of the global model, in hexadecimal, that the board has announced for the next runs, and for each
            member that of the model which it holds (default: no model; from version 2 on)
    run     open the sums; with "expect" it ends with that error, and the script goes on
    decode  the sums of the last run decode to exactly these values

From version 2 on, "overheard" (true or false) says of a script that ends with an error whether the board has received
the sum of all words in its last run all the same: that a sum is refused says nothing of who has read it.

In a test file of your own, for vectors of your own or those in tests/vectors:

    from protocols.testing import vectors

    @pytest.mark.parametrize("vector", vectors.load("my_vectors.json"), ids=vectors.name_of)
    def test_my_protocol(vector): vectors.verify(vector)
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import torch
from torch import Tensor

from protocols import check
from protocols.check import CloisterError
from protocols.faults import Combined
from protocols.faulty_link import Fault
from protocols.in_process import InProcessParties
from protocols.model_digest import Models
from protocols.network import BOARD, CheatingDetectedError, NetworkError
from protocols.parties import OpenedSums
from protocols.registry import Spec
from protocols.ring import FixedPoint
from protocols.secure_sum import secure_sums
from protocols.testing.keyrings import replayable_keyring
from protocols.testing.placements import fault_of

__all__ = ["VERSIONS", "Ending", "State", "Vector", "check_vector", "judge", "load", "name_of", "play", "verify"]

VERSIONS = (1, 2)
Vector: TypeAlias = Mapping[str, Any]

_OPTIONAL = {"sums", "contributors", "suspects", "says"}
_REQUIRED = {"name", "protocol", "parameters", "parties", "operations", "expect"}
_OPERATION_FIELDS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "words": frozenset({"words"}),
        "floats": frozenset({"words"}),
        "encode": frozenset({"values", "terms"}),
        "fault": frozenset({"rank", "fault"}),
        "heal": frozenset[str](),
        "models": frozenset({"announced", "held"}),
        "run": frozenset({"expect"}),
        "decode": frozenset({"values"}),
    }
)
_MAY_LACK = {"expect"}


@dataclass(kw_only=True)
class State:
    """What the operations of one vector work on."""

    protocol: str
    parameters: Mapping[str, Any]
    parties: int
    words: Tensor | None = None
    models: Models | None = None
    opened: OpenedSums | None = None
    faults: dict[int, Fault] = field(default_factory=dict[int, Fault])
    pool: InProcessParties | None = None

    @property
    def spec(self) -> Spec:
        """The protocol with its parameters. Raises: CloisterError where they are not allowed."""
        return secure_sums.resolve({"name": self.protocol, **self.parameters})

    @property
    def ring(self) -> FixedPoint:
        """The ring of the words that are added."""
        return secure_sums.make(self.spec).ring

    @property
    def overheard(self) -> bool:
        """Whether the board has received the sum of all words in the last run."""
        if self.pool is None or self.words is None:
            return False
        total = self.ring.wrap(self.words.sum(dim=1))
        received = [each.payload for each in self.pool.transcripts.get(BOARD, ())]
        same = [each for each in received if each.dtype == total.dtype and each.shape == total.shape]
        return any(torch.equal(self.ring.wrap(each), total) for each in same)


Ending: TypeAlias = tuple[State, Exception | None]


def load(path: Path | str) -> list[Vector]:
    """Return the vectors of a file.

    Raises: CloisterError naming what it does not know: another version, an operation or a field, and what lacks.

    Guarantees:
        A version, an operation or a field that it does not know is refused.
    """
    content: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    if content.get("version") not in VERSIONS:
        raise CloisterError(f"{Path(path).name} has version {content.get('version')!r}; allowed: {VERSIONS}")
    for key in content:
        check.one_of({"version", "vectors"}, **{f"field of {Path(path).name}": key})
    for vector in content["vectors"]:
        check_vector(vector, version=content["version"])
    return content["vectors"]


def check_vector(vector: Vector, *, version: int) -> None:
    """Raise CloisterError naming a field or an operation that is not one of this version's, or lacks."""
    name = name_of(vector)
    newer = {"overheard"} if version > 1 else set[str]()
    _check_fields(name, vector, _REQUIRED, _OPTIONAL | newer)
    succeeds = vector["expect"] == "ok"
    if any((key in vector) is not succeeds for key in ("sums", "contributors")):
        raise CloisterError(f"{name}: 'sums' and 'contributors' belong to what ends with 'ok', and to nothing else")
    if "overheard" in vector and succeeds:
        raise CloisterError(f"{name}: 'overheard' belongs to what ends with an error")
    operations = _OPERATION_FIELDS.keys() - (set[str]() if version > 1 else {"models"})
    for operation in vector["operations"]:
        check.one_of(operations, **{f"op of {name}": operation.get("op")})
        known = _OPERATION_FIELDS[operation["op"]]
        _check_fields(f"{name}, {operation['op']}", operation, {"op", *known} - _MAY_LACK, known)


def _check_fields(name: str, given: Vector, required: set[str], optional: set[str] | frozenset[str]) -> None:
    for key in given:
        check.one_of(required | optional, **{f"field of {name}": key})
    missing = sorted(required - given.keys())
    if missing:
        raise CloisterError(f"{name}: the fields {missing} are missing")


def name_of(vector: Vector) -> str:
    """Return what it is called."""
    return f"{vector.get('protocol')}: {vector.get('name')}"


def verify(vector: Vector) -> None:
    """Raise AssertionError unless the vector's script ends as the vector says; CloisterError for what it is not."""
    check_vector(vector, version=VERSIONS[-1])
    judge(vector, *play(vector))


def play(vector: Vector) -> Ending:
    """Return the state in which the vector's script ends, and the error that ended it."""
    state = State(protocol=vector["protocol"], parameters=vector["parameters"], parties=vector["parties"])
    try:
        for operation in vector["operations"]:
            _OPERATIONS[operation["op"]](state, operation)
    except (NetworkError, CloisterError) as error:
        return state, error
    return state, None


def judge(vector: Vector, state: State, failure: Exception | None) -> None:
    """Raise AssertionError unless a script that ended so ended as the vector says.

    Guarantees:
        Another error, another sum, another contributor or suspect, and a sum that was overheard or not, are noticed.
    """
    ended = "ok" if failure is None else type(failure).__name__
    assert ended == vector["expect"], f"it ended with {ended}: {failure or state.opened}"
    assert vector.get("says", "") in str(failure), f"it says {failure}"
    suspects = frozenset[int](vector.get("suspects", ()))
    if failure is not None:
        found = failure.suspects if isinstance(failure, CheatingDetectedError) else frozenset[int]()
        assert suspects == found, f"it names {sorted(found)}"
        assert vector.get("overheard", state.overheard) == state.overheard, f"overheard: {state.overheard}"
        return
    assert state.opened is not None, "nothing was run"
    assert state.opened.sums.tolist() == vector["sums"], f"it opens {state.opened.sums.tolist()}"
    assert list(state.opened.contributors) == vector["contributors"], f"it adds {state.opened.contributors}"
    assert state.opened.suspects == suspects, f"it names {sorted(state.opened.suspects)}"


def _give_words(state: State, operation: Vector) -> None:
    state.words = torch.tensor(operation["words"], dtype=torch.int64)


def _give_floats(state: State, operation: Vector) -> None:
    state.words = torch.tensor(operation["words"], dtype=torch.float64)


def _encode(state: State, operation: Vector) -> None:
    values = [[[float(value) for value in row] for row in cluster] for cluster in operation["values"]]
    state.words = state.ring.encode(torch.tensor(values, dtype=torch.float64), terms=operation["terms"])


def _fail(state: State, operation: Vector) -> None:
    rank, fault = operation["rank"], fault_of(operation["fault"])
    before = state.faults.get(rank)
    state.faults[rank] = fault if before is None else Combined(faults=(before, fault))


def _heal(state: State, operation: Vector) -> None:  # noqa: ARG001 - it has no fields
    state.faults.clear()


def _hand_out(state: State, operation: Vector) -> None:
    announced, held = (bytes.fromhex(operation["announced"]), tuple(map(bytes.fromhex, operation["held"])))
    state.models = Models(announced=announced, held=held)


def _run(state: State, operation: Vector) -> None:
    expected, spec = operation.get("expect", "ok"), state.spec
    if state.pool is None:
        state.pool = InProcessParties(state.parties, faults=state.faults, schedule=0, keyring=replayable_keyring(0))
    assert state.words is not None, "there are no words to add"
    ended = "ok"
    try:
        state.opened = state.pool.open_sums(spec, state.words, models=state.models)
    except (NetworkError, CloisterError) as error:
        if expected == "ok":
            raise
        ended = type(error).__name__
    assert ended == expected, f"a run ended with {ended}, not with {expected}"


def _decode(state: State, operation: Vector) -> None:
    assert state.opened is not None, "nothing was run"
    assert state.ring.decode(state.opened.sums).tolist() == operation["values"], "the sums decode to other values"


_OPERATIONS: Mapping[str, Callable[[State, Vector], None]] = MappingProxyType(
    {
        "words": _give_words,
        "floats": _give_floats,
        "encode": _encode,
        "fault": _fail,
        "heal": _heal,
        "models": _hand_out,
        "run": _run,
        "decode": _decode,
    }
)
