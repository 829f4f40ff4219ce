"""Pairwise shares of zero: they cancel, nothing is drawn twice, and a coalition cannot know a mask."""

import hmac
import itertools
import pickle
from collections.abc import Callable
from unittest import mock

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocols import zero_sharing
from protocols.check import CloisterError
from protocols.in_process_link import InProcessLink, in_process_links
from protocols.randomness import SecretStreams
from protocols.zero_sharing import ZeroShares, agree_on_keys
from tests.tcp import in_parallel

USE = itertools.count()
"""Numbers of uses, each once, for shares that several examples draw from."""


def agreed(parties: int) -> tuple[list[InProcessLink], list[ZeroShares]]:
    links = in_process_links(parties)[:parties]
    return links, in_parallel(parties, lambda rank: agree_on_keys(links[rank], parties))


def drawn(shares: list[ZeroShares], use: int, clusters: int, coordinates: int) -> list[torch.Tensor]:
    sizes = {"use": use, "parties": len(shares), "clusters": clusters, "coordinates": coordinates}
    return [share.draw(**sizes) for share in shares]


def pair_words(shares: list[ZeroShares], use: int = 0) -> dict[tuple[int, int], tuple[int, ...]]:
    """What each end of each pair draws from their common stream."""
    return {
        (rank, peer): tuple(streams.words(use=use, lanes=1, count=4)[0].tolist())
        for rank, share in enumerate(shares)
        for peer, streams in share._streams.items()
    }


@pytest.fixture(scope="module")
def eight() -> list[ZeroShares]:
    return agreed(8)[1]


def assert_cancels(shares: list[ZeroShares], use: int, clusters: int, coordinates: int) -> None:
    parts = drawn(shares, use, clusters, coordinates)
    assert all(part.shape == (clusters, coordinates) and part.dtype == torch.int64 for part in parts)
    assert not bool(torch.stack(parts).sum(dim=0).any()), "the shares do not add up to zero"


class TestZeroShares:
    @given(parties=st.integers(1, 8), clusters=st.integers(1, 4), coordinates=st.integers(1, 9))
    def test_the_shares_of_the_first_parties_for_one_use_add_up_to_zero_in_the_ring_of_64_bit_words(
        self, eight: list[ZeroShares], parties: int, clusters: int, coordinates: int
    ) -> None:
        assert_cancels(eight[:parties], next(USE), clusters, coordinates)

    @given(group=st.sets(st.integers(0, 7), min_size=1), coordinates=st.integers(1, 9))
    def test_the_shares_of_a_group_who_draw_among_themselves_add_up_to_zero(
        self, eight: list[ZeroShares], group: set[int], coordinates: int
    ) -> None:
        use, rest = next(USE), set(range(8)) - group
        for members in (group, rest):
            parts = [
                eight[rank].draw_among(members, use=use, clusters=2, coordinates=coordinates)
                for rank in sorted(members)
            ]
            assert not parts or not bool(torch.stack(parts).sum(dim=0).any())
            # Nobody's own share is zero, but of one who is alone.
            assert all(bool(part.any()) for part in parts) is (len(parts) != 1)

    @pytest.mark.parametrize(
        ("bug", "change"),
        [
            ("a wrong sign", lambda rank, share: -share if rank == 1 else share),
            ("a party left out", lambda rank, share: 0 * share if rank == 2 else share),
            ("one coordinate off by one", lambda rank, share: share + torch.eye(2, dtype=torch.int64)[rank % 2]),
        ],
    )
    def test_shares_that_do_not_cancel_are_seen(
        self, eight: list[ZeroShares], bug: str, change: Callable[[int, torch.Tensor], torch.Tensor]
    ) -> None:
        original = ZeroShares.draw

        def planted(self: ZeroShares, **sizes: int) -> torch.Tensor:
            return change(self._rank, original(self, **sizes))

        with mock.patch.object(ZeroShares, "draw", planted), pytest.raises(AssertionError, match="add up to zero"):
            assert_cancels(eight[:3], next(USE), 2, 2)

    def test_a_party_at_another_use_than_the_others_is_seen(self) -> None:
        shares = agreed(3)[1]
        original = ZeroShares.draw

        def planted(self: ZeroShares, *, use: int, **sizes: int) -> torch.Tensor:
            return original(self, use=use + (self._rank == 2), **sizes)

        with mock.patch.object(ZeroShares, "draw", planted), pytest.raises(AssertionError, match="add up to zero"):
            assert_cancels(shares, 5, 2, 2)

    @given(models=st.lists(st.sampled_from([bytes(32), b"1" * 32, b"2" * 32]), min_size=3, max_size=3))
    def test_each_pair_that_names_two_models_leaves_a_mask_that_is_not_taken_off(self, models: list[bytes]) -> None:
        """Words of 64 bits: a sum of masks is zero by chance with probability 2^-64 a coordinate."""
        sizes = {"use": 1, "parties": 3, "clusters": 2, "coordinates": 2}
        shares = [replayed(rank, 3).draw(**sizes, model=model) for rank, model in enumerate(models)]
        left = torch.stack(shares).sum(dim=0)
        assert bool((left != 0).all()) if len(set(models)) > 1 else not bool(left.any())
        unmatched = torch.zeros_like(left)
        for rank, peer in itertools.combinations(range(3), 2):
            if models[rank] != models[peer]:
                for end, other in ((rank, peer), (peer, rank)):
                    alone = ZeroShares(end, {other: replayed(end, 3)._streams[other]})
                    unmatched += alone.draw(**sizes, model=models[end])
        assert torch.equal(left, unmatched)

    @pytest.mark.parametrize("coordinates", [3, 2**16])
    def test_the_shares_do_not_cancel_where_one_names_another_model_and_do_where_all_name_the_same(
        self, coordinates: int
    ) -> None:
        """By chance they would with 2^-192."""
        shares, models = [replayed(rank, 3) for rank in range(3)], (b"\1" * 32, b"\2" * 32)
        for use, chosen in enumerate([(0, 0, 0), (0, 0, 1), (1, 0, 1)]):
            parts = [
                share.draw(use=use, parties=3, clusters=1, coordinates=coordinates, model=models[which])
                for share, which in zip(shares, chosen, strict=True)
            ]
            assert bool(torch.stack(parts).sum(dim=0).any()) == (len(set(chosen)) > 1)

    def test_no_use_is_drawn_twice(self) -> None:
        shares = agreed(3)[1]
        drawn(shares, 4, 1, 2)
        for use in (4, 3, 0):
            with pytest.raises(CloisterError, match=rf"use = {use} of a secret stream is not allowed; allowed: > 4"):
                shares[0].draw(use=use, parties=3, clusters=1, coordinates=2)
        drawn(shares, 5, 1, 2)

    def test_no_word_of_a_mask_occurs_again_in_another_use_or_cluster(self, eight: list[ZeroShares]) -> None:
        """512 words of 64 bits: two are equal by chance with probability below 2^(18 - 1 - 64) = 2^-47."""
        masks = [drawn(eight, next(USE), 4, 16)[0] for _ in range(8)]
        assert len(set(torch.stack(masks).flatten().tolist())) == 512

    def test_neither_repr_nor_pickle_gives_the_keys_away(self, eight: list[ZeroShares]) -> None:
        assert repr(eight[0]) == "ZeroShares(rank=0, keys hidden)"
        with pytest.raises(TypeError, match="cannot be pickled"):
            pickle.dumps(eight[0])


def replayed(rank: int, parties: int) -> ZeroShares:
    """Shares whose keys are the same in every call."""
    pairs = {peer: (min(rank, peer), max(rank, peer)) for peer in range(parties) if peer != rank}
    return ZeroShares(rank, {peer: SecretStreams.replayable(0, *pair) for peer, pair in pairs.items()})


def slowly_drawn(rank: int, parties: int, use: int, clusters: int, coordinates: int) -> torch.Tensor:
    """The same shares, one whole stream after the other."""
    share = torch.zeros(clusters, coordinates, dtype=torch.int64)
    for peer, streams in replayed(rank, parties)._streams.items():
        mask = streams.words(use=use, lanes=clusters, count=coordinates)
        share = share + mask if rank < peer else share - mask
    return share


def assert_adds_shares_of_zero_onto(clusters: int, coordinates: int) -> None:
    sizes = {"use": 3, "parties": 4, "clusters": clusters, "coordinates": coordinates}
    onto = torch.arange(clusters * 2 * coordinates).view(clusters, 2, coordinates)[:, 1] * 7 - 5
    given_words = onto.clone()
    for rank in range(4):
        expected = slowly_drawn(rank, 4, 3, clusters, coordinates)
        assert torch.equal(replayed(rank, 4).draw(**sizes), expected), "other shares than those of the streams"
        found = replayed(rank, 4).draw(**sizes, onto=onto)
        assert torch.equal(found, expected + given_words), "the shares are not added onto the words"
        assert found.is_contiguous()
        assert torch.equal(onto, given_words), "the words themselves were changed"


class TestDrawing:
    @pytest.mark.parametrize(
        ("clusters", "coordinates"),
        [(1, 1), (3, 5), (1, 2**15), (1, 2**15 + 1), (2, 2**14 + 3), (3, 20_000), (7, 9_001), (2, 70_000), (700, 50)],
    )
    def test_gives_the_words_of_all_streams_in_pieces_or_whole_onto_other_words_or_not(
        self, clusters: int, coordinates: int
    ) -> None:
        """Pieces are of 2^15 words: smaller, one more, and clusters that do not fit into them evenly."""
        assert_adds_shares_of_zero_onto(clusters, coordinates)

    @pytest.mark.parametrize(
        "planted",
        [
            lambda words, use, added, subtracted: torch.from_numpy(words.copy()),
            lambda words, use, added, subtracted: real_in_pieces(words, use, added, subtracted).roll(1),
            lambda words, use, added, subtracted: real_in_pieces(words, use, subtracted, added),
            lambda words, use, added, subtracted: real_in_pieces(0 * words, use, added, subtracted),
        ],
        ids=["no mask", "in other places", "a wrong sign", "without the words"],
    )
    def test_pieces_that_are_put_together_wrongly_are_seen(self, planted: Callable) -> None:
        with mock.patch.object(zero_sharing, "_add_in_pieces", planted), pytest.raises(AssertionError):
            assert_adds_shares_of_zero_onto(2, 2**15)

    def test_of_a_cluster_is_the_same_whoever_else_is_in_its_batch(self) -> None:
        sizes = {"use": 3, "parties": 3, "coordinates": 20_000}
        batch, alone = (replayed(1, 3).draw(clusters=clusters, **sizes) for clusters in (4, 1))
        assert torch.equal(batch[:1], alone)

    def test_without_others_is_zero(self) -> None:
        assert not bool(replayed(0, 1).draw(use=0, parties=1, clusters=2, coordinates=2**15).any())


real_in_pieces = zero_sharing._add_in_pieces


def assert_only_all_others_know_a_mask(shares: list[ZeroShares]) -> None:
    """Take from a member's share all that a coalition knows: the masks of its pairs with the coalition.

    While another honest member is left, so is a word of 64 random bits; one of the 16 is zero by chance with
    probability 2^-60, and there are 30 coalitions. Without another one nothing is left.
    """
    everyone = set(range(len(shares)))
    for honest in (set(group) for size in range(1, len(shares)) for group in itertools.combinations(everyone, size)):
        use, member = next(USE), min(honest)
        left = shares[member].draw(use=use, parties=len(shares), clusters=1, coordinates=16)
        for colluder in everyone - honest:
            if streams := shares[colluder]._streams.get(member):
                known = streams.words(use=use, lanes=1, count=16)
                left = left - known if member < colluder else left + known
        hidden = bool((left != 0).all()) if len(honest) > 1 else not bool(left.any())
        assert hidden, f"the coalition {everyone - honest} of {len(shares)} parties knows the mask of {member}"


class TestCoalitions:
    def test_only_all_the_other_members_together_know_the_mask_of_a_party(self) -> None:
        assert_only_all_others_know_a_mask(agreed(5)[1])

    def test_a_mask_that_two_neighbours_know_is_seen(self) -> None:
        """CrypTen's own zero sharing: a key for each pair of neighbours in a ring only."""
        shares = [
            ZeroShares(rank, {peer: s for peer, s in share._streams.items() if (rank - peer) % 5 in {1, 4}})
            for rank, share in enumerate(agreed(5)[1])
        ]
        with pytest.raises(AssertionError, match="knows the mask"):
            assert_only_all_others_know_a_mask(shares)


def assert_keys_belong_to_pairs(shares: list[ZeroShares]) -> None:
    words = pair_words(shares)
    assert all(words[a, b] == words[b, a] for a, b in words), "the two ends of a pair have different keys"
    assert len(set(words.values())) == len(words) // 2, "two pairs have the same key"


class TestKeyAgreement:
    def test_both_ends_of_a_pair_derive_the_same_key_and_no_two_pairs_derive_the_same_one(self) -> None:
        """28 pairs and 256 bits each: two pairs are equal by chance with probability below 2^-246."""
        assert_keys_belong_to_pairs(agreed(8)[1])

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("one key for all", lambda private, rank, peer, public: SecretStreams(bytes(16))),
            (
                "ends named in different order",
                lambda private, rank, peer, public: SecretStreams(bytes([rank, peer] * 8)),
            ),
            ("the sum of ranks", lambda private, rank, peer, public: SecretStreams(bytes([rank + peer] * 16))),
        ],
    )
    def test_keys_that_are_not_those_of_pairs_are_seen(self, bug: str, planted: Callable) -> None:
        with mock.patch.object(zero_sharing, "_pair_streams", planted):
            shares = agreed(8)[1]
        with pytest.raises(AssertionError):
            assert_keys_belong_to_pairs(shares)

    def test_a_new_agreement_gives_new_keys(self) -> None:
        first, second = (set(pair_words(agreed(3)[1]).values()) for _ in range(2))
        assert not first & second

    def test_each_party_sends_only_its_public_key_of_32_bytes_to_each_other_one(self) -> None:
        sent: list[tuple[int, int, bytes]] = []
        original = InProcessLink.exchange

        def spy(self: InProcessLink, outgoing: dict[int, torch.Tensor], incoming: dict[int, torch.Tensor]) -> None:
            sent.extend((self.rank, peer, tensor.numpy().tobytes()) for peer, tensor in outgoing.items())
            original(self, outgoing, incoming)

        privates: list[X25519PrivateKey] = []
        generate = X25519PrivateKey.generate

        def keep() -> X25519PrivateKey:
            privates.append(generate())
            return privates[-1]

        with (
            mock.patch.object(InProcessLink, "exchange", spy),
            mock.patch.object(zero_sharing, "X25519PrivateKey", mock.Mock(generate=keep)),
        ):
            links, _ = agreed(4)
        pairs = [(rank, peer) for rank in range(4) for peer in range(4) if peer != rank]
        assert sorted((rank, peer) for rank, peer, _ in sent) == pairs
        for link in links:
            assert (link.meter.traffic().mpc.messages, link.meter.traffic().mpc.payload_bytes) == (3, 3 * 32)
        keys = {key for _, _, key in sent}
        assert keys == {private.public_key().public_bytes_raw() for private in privates}
        assert not keys & {private.private_bytes_raw() for private in privates}

    def test_the_key_is_that_of_x25519_and_hkdf_with_the_pair_in_it(self) -> None:
        """The shared secret of RFC 7748, section 6.1, and HKDF-SHA256 written out from RFC 5869."""
        ours = X25519PrivateKey.from_private_bytes(
            bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
        )
        theirs = bytes.fromhex("de9edb7d7b7dc1b4d35b61c2ece435373f8343c85b78674dadfc7e146f882b4f")
        shared = bytes.fromhex("4a5d9d5ba4ce2de1728e3bf480350f25e07e21c947d19e3376f09b3c1e161742")
        secret = hmac.digest(bytes(32), shared, "sha256")
        for rank, peer in ((2, 5), (5, 2)):
            streams = zero_sharing._pair_streams(
                ours, rank, peer, torch.frombuffer(bytearray(theirs), dtype=torch.uint8)
            )
            key = hmac.digest(secret, b"cloister zero sharing v1, pair 2-5\x01", "sha256")[:16]
            expected = SecretStreams(key).words(use=0, lanes=1, count=4)
            assert torch.equal(streams.words(use=0, lanes=1, count=4), expected)
