"""Test vectors: scripts of operations with the result that every implementation must give (tests/vectors/*.json)."""

import json
from collections.abc import Iterable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from protocols.check import CloisterError
from protocols.secure_sum import secure_sums
from protocols.testing.suite import documented_violations
from protocols.testing.vectors import Ending, Vector, check_vector, judge, load, name_of, play, verify
from tests.other_models import ignored_models

FOLDER = Path(__file__).parents[1] / "vectors"
FILES = sorted(FOLDER.glob("*.json"))
VECTORS = {f"{path.stem}: {name_of(vector)}": vector for path in FILES for vector in load(path)}
POSITIVE = {name: vector for name, vector in VECTORS.items() if vector["expect"] == "ok"}
NEGATIVE = {name: vector for name, vector in VECTORS.items() if vector["expect"] != "ok"}

# A script is played once; all that looks at its end runs on the worker that has played it.
pytestmark = pytest.mark.xdist_group("vectors")


@cache
def ending_of(name: str) -> Ending:
    return play(VECTORS[name])


@pytest.mark.parametrize("name", VECTORS)
def test_each_vector_ends_as_it_says(name: str) -> None:
    judge(VECTORS[name], *ending_of(name))


@pytest.mark.parametrize("name", NEGATIVE)
def test_a_script_that_must_fail_is_not_taken_for_one_that_succeeds(name: str) -> None:
    flipped = {**VECTORS[name], "expect": "ok", "sums": [], "contributors": []}
    with pytest.raises(AssertionError):
        judge(flipped, *ending_of(name))


@pytest.mark.parametrize("name", [name for name, vector in NEGATIVE.items() if "overheard" in vector])
def test_a_sum_that_the_board_reads_although_it_refuses_it_is_noticed(name: str) -> None:
    flipped = {**VECTORS[name], "overheard": not VECTORS[name]["overheard"]}
    with pytest.raises(AssertionError, match="overheard"):
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

    def test_names_are_unique(self) -> None:
        assert len(VECTORS) == sum(len(load(path)) for path in FILES)


class TestTheFormat:
    """Nothing is misspelt, and nothing that is misspelt is passed over."""

    def vector(self, **changed: Any) -> dict[str, Any]:
        return {**VECTORS["plaintext: plaintext: one coordinate of two members"], **changed}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"version": 3, "vectors": []}, "version 3; allowed: "),
            ({"vectors": []}, "version None"),
            ({"version": 2, "vectors": [], "digests": {}}, "digests"),
        ],
    )
    def test_another_version_or_field_is_refused(self, tmp_path: Path, content: Vector, message: str) -> None:
        path = tmp_path / "future.json"
        path.write_text(json.dumps(content))
        with pytest.raises(CloisterError, match=message):
            load(path)

    @pytest.mark.parametrize(
        ("changed", "message"),
        [
            ({"operations": [{"op": "guess"}]}, "guess"),
            ({"operations": [{}]}, "op of"),
            ({"operations": [{"op": "run", "expects": "ok"}]}, "'expects'"),
            ({"operations": [{"op": "words"}]}, "'words'.* are missing"),
            ({"suspect": [1]}, "'suspect'"),
            ({"expect": "OutOfStepError"}, "'sums' and 'contributors'"),
            ({"overheard": False}, "'overheard' belongs to"),
        ],
        ids=str,
    )
    def test_an_unknown_operation_or_field_is_refused(self, changed: Vector, message: str) -> None:
        with pytest.raises(CloisterError, match=message):
            verify(self.vector(**changed))

    def test_a_missing_field_is_refused(self) -> None:
        whole = self.vector()
        for key in whole:
            with pytest.raises(CloisterError, match=key):
                verify({name: value for name, value in whole.items() if name != key})

    def test_models_and_what_is_overheard_are_unknown_to_version_1(self) -> None:
        models = next(vector for vector in OF_MODELS.values() if "overheard" in vector)
        check_vector(models, version=2)
        without = {key: value for key, value in models.items() if key != "overheard"}
        for vector, message in ((models, "overheard"), (without, "models")):
            with pytest.raises(CloisterError, match=message):
                check_vector(vector, version=1)

    def test_a_digest_of_another_length_or_for_too_few_members_is_refused(self) -> None:
        words = {"op": "words", "words": [[[1], [2]]]}
        for held, message in ((["00"] * 2, "1 bytes"), (["00" * 32], "of 1 members")):
            models = {"op": "models", "announced": "00" * 32, "held": held}
            _, error = play(self.vector(operations=[words, models, {"op": "run"}]))
            assert isinstance(error, CloisterError)
            assert message in str(error)


OF_MODELS = {name: vector for name, vector in VECTORS.items() if name.startswith("models: ")}
PROMISING = {name for name in secure_sums.entries() if "I24" not in documented_violations(secure_sums.resolve(name))}


def models_of(vector: Vector) -> list[Vector]:
    return [operation for operation in vector["operations"] if operation["op"] == "models"]


def is_of_one_model(vector: Vector) -> bool:
    return all(set(models["held"]) == {models["announced"]} for models in models_of(vector))


def left_out(vector: Vector) -> set[int]:
    """The members whose words are not in the sum, although they are there."""
    gone = {operation["rank"] for operation in vector["operations"] if operation["op"] == "fault"}
    return set(range(vector["parties"])) - set(vector["contributors"]) - gone


def changed_by_models(vectors: Iterable[str]) -> list[str]:
    """Those that end otherwise than where nobody has any model."""
    return [
        name
        for name in vectors
        if VECTORS[name]["expect"] != "ok"
        or left_out(VECTORS[name])
        or any("expect" in operation for operation in VECTORS[name]["operations"])
    ]


class TestOneModel:
    """I24: what members hold who do not all hold the model that is announced is in no sum together."""

    def test_each_protocol_that_promises_it_has_vectors_of_one_and_of_several_models(self) -> None:
        one = {vector["protocol"] for vector in OF_MODELS.values() if is_of_one_model(vector)}
        several = {OF_MODELS[name]["protocol"] for name in changed_by_models(OF_MODELS)}
        assert one == set(secure_sums.entries())
        assert several == PROMISING | {"additive_stock"}  # which refuses too late

    def test_each_of_them_has_one_for_a_member_for_two_groups_and_for_the_board(self) -> None:
        def kinds(vector: Vector) -> set[str]:
            models = models_of(vector)[-1]
            others = [each for each in models["held"] if each != models["announced"]]
            count = len(others)
            return {
                *(["one member"] if count == 1 else []),
                *(["two groups"] if 1 < count < vector["parties"] and len(set(models["held"])) == 2 else []),
                *(["the board"] if count == vector["parties"] and len(set(others)) == 1 else []),
            }

        for protocol in PROMISING:
            found = [kinds(vector) for vector in OF_MODELS.values() if vector["protocol"] == protocol]
            assert set().union(*found) == {"one member", "two groups", "the board"}, protocol

    @pytest.mark.parametrize(("protocol", "role"), [("committee", "servers"), ("hierarchical", "delegates")])
    def test_who_is_called_a_server_or_a_delegate_is_one(self, protocol: str, role: str) -> None:
        """Of the first batch of a pool, which is the one that these vectors run."""
        told = [each for each in OF_MODELS.values() if each["protocol"] == protocol and role[:-1] in each["name"]]
        assert len(told) >= 6
        for vector in told:
            made = secure_sums.make(secure_sums.resolve({"name": protocol, **vector["parameters"]}))
            drawn = made.servers_of if role == "servers" else made.delegates_of
            (models,) = models_of(vector)
            serving = set(drawn(parties=vector["parties"], use=1))
            others = {rank for rank, held in enumerate(models["held"]) if held != models["announced"]}
            if "alone" in vector["name"]:
                assert others == set(range(vector["parties"])) - serving, vector["name"]
            elif "all" in vector["name"]:
                assert others == serving, vector["name"]
            else:
                assert len(others) == 1, vector["name"]
                assert others <= serving

    def test_no_sum_has_words_of_two_models_where_that_is_promised(self) -> None:
        """The vectors say nothing else than the promise: of the last run, those who are added hold one model."""
        for name, vector in OF_MODELS.items():
            models = models_of(vector)[-1]
            added = {models["held"][rank] for rank in vector.get("contributors", ())}
            if vector["protocol"] in PROMISING:
                assert len(added) <= 1, name
                assert not vector.get("overheard") or len(set(models["held"])) == 1, name
            elif not is_of_one_model(vector):
                assert len(added) > 1 or vector["overheard"], name
                assert "as documented" in name

    @pytest.mark.parametrize("name", [name for name in changed_by_models(OF_MODELS) if "stock" not in name])
    def test_a_protocol_that_ignores_what_members_hold_fails_them(self, name: str) -> None:
        vector = VECTORS[name]
        with (
            ignored_models(secure_sums.resolve({"name": vector["protocol"], **vector["parameters"]})),
            pytest.raises(AssertionError, match=r"ended with ok|it opens"),
        ):
            verify(vector)

    def test_plaintext_fails_those_of_additive_and_the_other_way_round(self) -> None:
        for first, second in (("plaintext", "additive"), ("additive", "plaintext")):
            for vector in OF_MODELS.values():
                if vector["protocol"] == first and vector["parties"] == 4 and not is_of_one_model(vector):
                    with pytest.raises(AssertionError, match=r"it ended with|a run ended with"):
                        verify({**vector, "protocol": second})
