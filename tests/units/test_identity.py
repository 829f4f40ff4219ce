"""Identities: a signature stands for one party and one text, and keys stay where they are."""

import dataclasses
import pickle
from collections.abc import Callable
from unittest import mock

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from protocols import identity
from protocols.identity import SIGNATURE_BYTES, Identity, exchange_identities
from protocols.in_process_link import InProcessLink, in_process_links
from protocols.keyring import make_keyring
from protocols.network import BOARD, OutOfStepError
from protocols.types import Traffic
from tests.tcp import in_parallel

WORDS = b"words that party 1 says"


def introduced(parties: int) -> tuple[list[InProcessLink], list[Identity]]:
    """The links of some parties and the board, and the parties' identities."""
    links = in_process_links(parties)
    return links, in_parallel(parties, lambda rank: exchange_identities(links[rank], parties))


@pytest.fixture(scope="module")
def three() -> list[Identity]:
    return introduced(3)[1]


def flipped(text: bytes, bit: int) -> bytes:
    return bytes(byte ^ (1 << bit % 8) if place == bit // 8 else byte for place, byte in enumerate(text))


def assert_signs_for_one_party_and_one_text(three: list[Identity]) -> None:
    """Everybody accepts what party 1 signed as its own, and nothing else: not from another, not with a bit changed."""
    signature = three[1].sign(WORDS)
    assert len(signature) == SIGNATURE_BYTES == 64
    for verifier in three:
        assert verifier.verify(1, WORDS, signature)
        for other in (0, 2, 3, BOARD):
            assert not verifier.verify(other, WORDS, signature), "accepted as another party's"
        for words in (b"", WORDS[:-1], WORDS + b"\0", *(flipped(WORDS, bit) for bit in range(8 * len(WORDS)))):
            assert not verifier.verify(1, words, signature), "accepted for other words"
        for bit in range(8 * SIGNATURE_BYTES):
            assert not verifier.verify(1, WORDS, flipped(signature, bit)), "accepted with a flipped bit"
        for wrong in (b"", signature[:-1], signature + b"\0", bytes(SIGNATURE_BYTES)):
            assert not verifier.verify(1, WORDS, wrong), "accepted at another length"


class TestIdentity:
    def test_a_signature_is_accepted_from_its_party_for_its_words_and_from_nobody_for_nothing_else(
        self, three: list[Identity]
    ) -> None:
        assert_signs_for_one_party_and_one_text(three)

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("everything is accepted", lambda real, own, signer, words, signature: True),
            (
                "everybody's key is tried",
                lambda real, own, signer, words, signature: any(real(own, each, words, signature) for each in range(3)),
            ),
            (
                "the last bit of the words is cut off",
                lambda real, own, signer, words, signature: (
                    real(own, signer, words, signature) or real(own, signer, words[:-1] + WORDS[-1:], signature)
                ),
            ),
            (
                "the last bit of the signature is guessed",
                lambda real, own, signer, words, signature: (
                    real(own, signer, words, signature)
                    or (len(signature) == 64 and real(own, signer, words, flipped(signature, 511)))
                ),
            ),
            (
                "a signature is cut to its length",
                lambda real, own, signer, words, signature: real(own, signer, words, signature[:64]),
            ),
        ],
    )
    def test_a_verification_that_accepts_more_is_seen(
        self, three: list[Identity], bug: str, planted: Callable[..., bool]
    ) -> None:
        original = Identity.verify

        def verify(own: Identity, signer: int, words: bytes, signature: bytes) -> bool:
            return planted(original, own, signer, words, signature)

        with mock.patch.object(Identity, "verify", verify), pytest.raises(AssertionError):
            assert_signs_for_one_party_and_one_text(three)

    @given(words=st.binary(max_size=200), other=st.binary(max_size=200))
    def test_any_words_can_be_signed_and_stand_for_themselves_only(
        self, three: list[Identity], words: bytes, other: bytes
    ) -> None:
        signature = three[0].sign(words)
        assert three[2].verify(0, words, signature)
        assert three[2].verify(0, other, signature) == (words == other)

    def test_a_key_that_is_none_signs_nothing(self, three: list[Identity]) -> None:
        """Among them 32 bytes that are no point of the curve, and points of small order."""
        for key in (bytes(32), bytes([1] + [0] * 31), b"\xff" * 32, b"", b"short"):
            confused = Identity(0, three[0]._private, {1: key})
            assert not confused.verify(1, WORDS, three[1].sign(WORDS))

    def test_neither_repr_nor_pickle_gives_the_signing_key_away(self, three: list[Identity]) -> None:
        assert_hides(three[1])
        with pytest.raises(TypeError, match="pickle"):
            pickle.dumps(three[1])

    def test_a_repr_that_shows_the_signing_key_is_seen(self, three: list[Identity]) -> None:
        with (
            mock.patch.object(Identity, "__repr__", lambda own: f"Identity({own._private.private_bytes_raw().hex()})"),
            pytest.raises(AssertionError),
        ):
            assert_hides(three[1])


def assert_hides(own: Identity) -> None:
    """256 bits occur by chance with probability below 2^-240."""
    key = own._private.private_bytes_raw()
    for text in (repr(own), str(own), f"{[own]}", repr(vars(own))):
        assert key.hex() not in text.lower()
        assert repr(key)[2:-1] not in text
    assert repr(own) == "Identity(rank=1, key hidden)"


class TestIntroduction:
    def test_everybody_holds_the_verification_key_of_everybody(self) -> None:
        """All signers and all verifiers; two parties of one key would be accepted as each other."""
        identities = introduced(5)[1]
        for signer, own in enumerate(identities):
            signature = own.sign(WORDS)
            for verifier in identities:
                assert [verifier.verify(rank, WORDS, signature) for rank in range(5)] == [r == signer for r in range(5)]

    def test_keys_that_reach_the_wrong_party_are_seen(self) -> None:
        original = InProcessLink.exchange

        def planted(link: InProcessLink, outgoing: dict, incoming: dict) -> None:
            original(link, outgoing, incoming)
            first, second = list(incoming)[:2]
            swapped = incoming[first].clone()
            incoming[first].copy_(incoming[second])
            incoming[second].copy_(swapped)

        with mock.patch.object(InProcessLink, "exchange", planted):
            identities = introduced(3)[1]
        with pytest.raises(AssertionError):
            assert_signs_for_one_party_and_one_text(identities)

    def test_each_party_sends_its_verification_key_to_each_other_one_and_nothing_to_the_board(self) -> None:
        sent: list[tuple[int, int, bytes]] = []
        original = InProcessLink.exchange

        def spy(link: InProcessLink, outgoing: dict, incoming: dict) -> None:
            sent.extend((link.rank, peer, tensor.numpy().tobytes()) for peer, tensor in outgoing.items())
            original(link, outgoing, incoming)

        with mock.patch.object(InProcessLink, "exchange", spy):
            links, identities = introduced(4)
        pairs = [(sender, receiver) for sender in range(4) for receiver in range(4) if sender != receiver]
        assert sorted((sender, receiver) for sender, receiver, _ in sent) == pairs
        for sender, _, key in sent:
            assert key == identities[sender]._private.public_key().public_bytes_raw()
            assert key != identities[sender]._private.private_bytes_raw()
        assert all(link.meter.traffic().upload == Traffic.none().upload for link in links)

    def test_a_new_introduction_makes_new_keys(self) -> None:
        first, second = (introduced(2)[1] for _ in range(2))
        assert not second[0].verify(1, WORDS, first[1].sign(WORDS))

    def test_a_key_of_another_length_ends_the_introduction(self) -> None:
        links = in_process_links(2, deadline_s=0.5)
        links[1].exchange({0: torch.zeros(31, dtype=torch.uint8)}, {})
        with pytest.raises(OutOfStepError, match="31 bytes"):
            exchange_identities(links[0], 2)

    def test_a_party_alone_knows_itself(self) -> None:
        (own,) = introduced(1)[1]
        assert own.verify(0, WORDS, own.sign(WORDS))


class TestKeyring:
    def test_holds_what_all_agreed_on_and_shows_nothing(self) -> None:
        links = in_process_links(3)
        rings = in_parallel(3, lambda rank: make_keyring(links[rank], 3))
        assert [repr(ring) for ring in rings] == ["Keyring()"] * 3
        assert {field.name for field in dataclasses.fields(rings[0])} == {"zero_shares", "identity", "secrets"}
        assert rings[2].identity.verify(0, WORDS, rings[0].identity.sign(WORDS))
        shares = [ring.zero_shares.draw(use=1, parties=3, clusters=2, coordinates=4) for ring in rings]
        assert not bool(torch.stack(shares).sum(dim=0).any())
        own = [ring.secrets.token(purpose="test", use=1, size=16) for ring in rings]
        assert len(set(own)) == 3
        for ring in rings:
            with pytest.raises(TypeError, match="pickle"):
                pickle.dumps(ring)

    def test_the_keys_of_parties_are_made_by_the_generator_of_the_library(self) -> None:
        """A seeded or constant key would be the same in two introductions; this says where it comes from."""
        with mock.patch.object(
            identity.Ed25519PrivateKey, "generate", wraps=identity.Ed25519PrivateKey.generate
        ) as made:
            introduced(3)
        assert made.call_count == 3
