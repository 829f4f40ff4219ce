"""I24, one global model: digests, every mode of every protocol, what members check themselves, over TCP as well."""

import hashlib
import os
from collections.abc import Mapping
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from protocols.model_digest import DIGEST_BYTES, NO_MODEL, Models, bound_digest, model_digest
from protocols.network import BOARD, CheatingDetectedError, NetworkError
from protocols.party_pool import PartyPool
from protocols.registry import Spec
from protocols.secure_sum import secure_sums
from protocols.secure_sum._bulletin import Bulletin
from protocols.testing.elsewhere import elsewhere, moved
from protocols.testing.invariants import PROTOCOL, effort_named
from protocols.testing.invariants.models import model_numbered
from protocols.testing.scenarios import registered_specs
from protocols.testing.suite import documented_violations, examine
from tests.masked import SIGNED, SPARSE, masked, plan_of, words_of

NIGHTLY = os.environ.get("HYPOTHESIS_PROFILE") == "nightly"
I24 = next(each for each in PROTOCOL if each.number == 24)
WORDS = torch.arange(2 * 4 * 3, dtype=torch.int64).view(2, 4, 3)
# What test_invariants leaves out by day: other modes, and the costly protocols.
MODES = (
    {"name": "shamir", "mode": "passive"},
    {"name": "shamir", "mode": "detect"},
    {"name": "shamir", "mode": "vss"},
    {"name": "masked", "mode": "malicious_server"},
    {"name": "masked_graph"},
    {"name": "committee"},
    {"name": "committee", "mode": "correct", "servers": 4},
    {"name": "hierarchical"},
)


def chosen() -> list[Spec]:
    return list(registered_specs()) if NIGHTLY else [secure_sums.resolve(each) for each in MODES]


@pytest.mark.parametrize("spec", chosen(), ids=str)
def test_no_sum_opens_to_which_members_add_updates_on_different_models(spec: Spec) -> None:
    expected = "violated as documented" if "I24" in documented_violations(spec) else "holds"
    assert examine(spec, I24, effort_named("dev")).status == expected


def odd(victim: int = 2, announced: int = 0, members: int = 4) -> Models:
    """Digests of an honest round but for one member."""
    held = tuple(model_numbered(int(rank == victim)) for rank in range(members))
    return Models(announced=model_numbered(announced), held=held)


class TestWhatMembersCheckThemselves:
    @pytest.mark.parametrize("spec", [{"name": "authenticated"}, {"name": "shamir", "mode": "vss"}], ids=str)
    def test_they_stop_where_a_lying_board_shows_them_dealers_of_two_models(self, spec: Mapping[str, str]) -> None:
        resolved = secure_sums.resolve(spec)

        def lying(board: Bulletin, posted: torch.Tensor, dealers: list[int]) -> list[int]:
            return dealers

        with mock.patch.object(Bulletin, "_of_one_model", lying), pytest.raises(NetworkError):
            InProcessParties(4).open_sums(resolved, WORDS, models=odd())

    def test_nobody_in_particular_is_named(self) -> None:
        with pytest.raises(CheatingDetectedError, match="another model") as found:
            InProcessParties(4).open_sums(secure_sums.resolve("authenticated"), WORDS, models=odd())
        assert found.value.suspects == frozenset()


@pytest.mark.parametrize("spec", [masked(), SIGNED, SPARSE], ids=str)
def test_masked_words_of_members_with_other_models_than_their_neighbours_never_leave_them(spec: Spec) -> None:
    """Whoever shares a mask with member 2 stops, as that one does; of 12 members in a graph some do not know it."""
    members = 12 if spec is SPARSE else 4
    threads, words = InProcessParties(members), words_of(members)
    with pytest.raises(NetworkError):
        threads.open_sums(spec, words, models=odd(members=members))
    sent = {each.sender for each in threads.transcripts[BOARD] if each.payload.shape == words[:, 0].shape}
    neighbours = plan_of(spec, members, use=1).graph.neighbours[2]
    assert sent == set(range(members)) - {2, *neighbours}
    assert bool(sent) is (spec is SPARSE)


def test_party_processes_end_as_threads_do(pool: PartyPool) -> None:
    threads, honest = InProcessParties(4), Models.same(model_numbered(0), members=4)
    for spec in (secure_sums.resolve("shamir"), secure_sums.resolve("additive")):
        ours, theirs = pool.open_sums(spec, WORDS, models=honest), threads.open_sums(spec, WORDS, models=honest)
        assert torch.equal(ours.sums, theirs.sums)
        assert ours.traffic == theirs.traffic
    for parties in (pool, threads):
        with pytest.raises(NetworkError, match=r"parties \[2\] .* trained on another model than the board announces"):
            parties.open_sums(secure_sums.resolve("additive"), WORDS, models=odd())


@pytest.mark.parametrize("mode", ["passive", "detect"])
def test_a_board_that_verifies_nothing_leaves_out_a_dealer_with_another_model(mode: str) -> None:
    spec = secure_sums.resolve({"name": "shamir", "mode": mode, "threshold": "1"})
    opened = InProcessParties(4).open_sums(spec, WORDS, models=odd())
    assert opened.contributors == (0, 1, 3)
    assert torch.equal(opened.sums, WORDS[:, [0, 1, 3]].sum(dim=1))


def test_whoever_corrects_faults_leaves_out_a_member_with_another_model() -> None:
    opened = InProcessParties(4).open_sums(secure_sums.resolve("shamir"), WORDS, models=odd())
    assert opened.contributors == (0, 1, 3)
    assert not opened.suspects


class TestTheDigest:
    @given(st.integers(0, 2**32), st.sampled_from([torch.float32, torch.float64, torch.int64, torch.bfloat16]))
    def test_is_that_of_the_values_whatever_their_memory(self, seed: int, dtype: torch.dtype) -> None:
        rows = torch.from_numpy(np.random.default_rng(seed).normal(size=(4, 6)) * 8).to(dtype)
        strided = torch.empty(6, 8, dtype=dtype)[:, ::2].t().copy_(rows)
        assert strided.stride() != rows.stride()
        first, other = {"a": rows, "b": rows[0]}, {"b": rows[0].clone(), "a": strided}
        assert model_digest(first) == model_digest(other)
        with elsewhere():
            assert model_digest({name: moved(tensor) for name, tensor in first.items()}) == model_digest(first)

    def test_is_another_one_for_another_name_type_shape_or_value(self) -> None:
        ones = torch.ones(2, 3)
        bit = ones.clone()
        bit[1, 2] = torch.nextafter(bit[1, 2], torch.tensor(2.0))
        models = [
            {"a": ones},
            {"b": ones},
            {"a": ones.double()},
            {"a": ones.view(torch.int32)},
            {"a": ones.t()},
            {"a": ones.flatten()},
            {"a": bit},
            {"a": -ones},
            {"a": ones, "b": torch.empty(0)},
            {"a": ones[:1], "b": ones[1:]},
            {"a": 0.0 * ones},
            {"a": -0.0 * ones},
            {},
        ]
        digests = {model_digest(model) for model in models}
        assert len(digests) == len(models)
        assert {len(digest) for digest in digests} == {DIGEST_BYTES}
        assert NO_MODEL not in digests

    def test_takes_all_nans_for_one(self) -> None:
        nans = torch.tensor([0x7FC00000, 0x7F800001], dtype=torch.int32).view(torch.float32)
        assert model_digest({"a": nans[:1]}) == model_digest({"a": nans[1:]}) != model_digest({"a": torch.ones(1)})

    def test_is_the_same_on_every_machine(self) -> None:
        """Written down once: name, type, shape and little-endian values, each behind its length in eight bytes."""
        parts = (b"w", b"torch.float32", b"(2,)", b"\x00\x00\x80\x3f\x00\x00\x00\xc0")
        said = b"cloister model v1" + b"".join(len(part).to_bytes(8, "little") + part for part in parts)
        assert model_digest({"w": torch.tensor([1.0, -2.0])}) == hashlib.sha256(said).digest()

    def test_what_a_member_says_fits_one_batch_of_one_size(self) -> None:
        said = {bound_digest(model_numbered(m), use=use, parties=c) for m in (0, 1) for use in (1, 2) for c in (3, 4)}
        assert len(said) == 8


class TestMistakes:
    def test_a_digest_of_another_length_is_refused(self) -> None:
        with pytest.raises(CloisterError, match="has 3 bytes; allowed: 32"):
            Models(announced=b"abc", held=(NO_MODEL,))

    def test_digests_of_too_few_members_are_refused(self) -> None:
        with pytest.raises(CloisterError, match="digests of 3 members' models; allowed: of all 4"):
            InProcessParties(4).open_sums(secure_sums.resolve("additive"), WORDS, models=odd(members=3))
