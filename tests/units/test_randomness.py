"""Secret and public streams: against references, in law, and under planted bugs.

Statistical checks have fixed seeds and a false-positive rate below 1e-6 each, after Bonferroni over their parts.
"""

import base64
import copy
import itertools
import math
import pickle
import struct
from collections.abc import Callable
from hashlib import sha256
from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protocols import randomness
from protocols.check import CloisterError
from protocols.randomness import PIECE_BYTES, KeyStream, SecretStreams, public_stream

ALPHA = 1e-6
KEYS = st.binary(min_size=16, max_size=16)
USES = st.one_of(st.integers(0, 3), st.integers(0, 2**48 - 1))
KEY = bytes(range(16))


def counter_bug(change: Callable[[bytes], bytes]) -> object:
    """Plant a bug into the initial counter block of every lane."""
    return mock.patch.object(randomness, "modes", SimpleNamespace(CTR=lambda start: modes.CTR(change(start))))


def without_lane(start: bytes) -> bytes:
    return start[:6] + bytes(10)


def without_use(start: bytes) -> bytes:
    return bytes(6) + start[6:]


def lanes_one_block_apart(start: bytes) -> bytes:
    return start[:6] + bytes(6) + start[6:10]


def reference_words(key: bytes, use: int, lane: int, count: int) -> list[int]:
    """The words by the block cipher alone, one counter block at a time."""
    block = Cipher(algorithms.AES128(key), modes.ECB()).encryptor()
    stream = b"".join(
        block.update(struct.pack(">HIIHI", use >> 32, use & 0xFFFFFFFF, lane, 0, number))
        for number in range((count + 1) // 2)
    )
    return list(struct.unpack(f"={count}q", stream[: 8 * count]))


def assert_is_aes_in_counter_mode(key: bytes, use: int, lanes: int, count: int) -> None:
    words = SecretStreams(key).words(use=use, lanes=lanes, count=count)
    assert words.shape == (lanes, count)
    assert words.dtype == torch.int64
    assert words.tolist() == [reference_words(key, use, lane, count) for lane in range(lanes)]


def assert_counter_ranges_are_disjoint(counts: list[int]) -> None:
    """Record the initial counter of every lane of one use for each count, and compare the ranges that they cover."""
    starts: list[int] = []

    def spy(start: bytes) -> modes.CTR:
        starts.append(int.from_bytes(actual(start).nonce, "big"))
        return actual(start)

    actual = randomness.modes.CTR
    streams = SecretStreams(KEY)
    with mock.patch.object(randomness, "modes", SimpleNamespace(CTR=spy)):
        for use, count in enumerate(counts):
            streams.words(use=use, lanes=5, count=count)
    blocks = [(count + 1) // 2 for count in counts for _ in range(5)]
    ranges = sorted(zip(starts, blocks, strict=True))
    for (start, length), (after, _) in itertools.pairwise(ranges):
        assert start + length <= after, "two lanes draw from the same block of the key stream"


def assert_is_one_key_stream(count: int) -> None:
    """Compare long lanes with the cipher in one call."""
    words = SecretStreams(KEY).words(use=7, lanes=2, count=count)
    for lane in range(2):
        cipher = Cipher(algorithms.AES128(KEY), modes.CTR(struct.pack(">HIIHI", 0, 7, lane, 0, 0)))
        assert words[lane].numpy().tobytes() == cipher.encryptor().update(bytes(8 * count))


class TestSecretStreams:
    @given(key=KEYS, use=USES, lanes=st.integers(0, 4), count=st.integers(0, 33))
    def test_are_aes_128_in_counter_mode(self, key: bytes, use: int, lanes: int, count: int) -> None:
        assert_is_aes_in_counter_mode(key, use, lanes, count)

    @pytest.mark.parametrize("count", [PIECE_BYTES // 8 - 1, PIECE_BYTES // 8, PIECE_BYTES // 4 + 3])
    def test_go_on_from_piece_to_piece_where_the_last_one_ended(self, count: int) -> None:
        assert_is_one_key_stream(count)

    def test_a_piece_that_starts_again_is_seen(self) -> None:
        original = KeyStream.fill

        def planted(self: KeyStream, target: memoryview, count: int) -> None:
            original(self, target, count)
            target[count - 8 : count] = target[:8]

        with mock.patch.object(KeyStream, "fill", planted), pytest.raises(AssertionError):
            assert_is_one_key_stream(PIECE_BYTES // 4)

    @given(counts=st.lists(st.integers(1, 200), min_size=1, max_size=5))
    def test_different_use_and_lane_pairs_draw_from_disjoint_blocks_of_the_key_stream(self, counts: list[int]) -> None:
        assert_counter_ranges_are_disjoint(counts)

    @pytest.mark.parametrize("bug", [without_lane, without_use, lanes_one_block_apart])
    def test_blocks_that_are_drawn_twice_are_seen(self, bug: Callable[[bytes], bytes]) -> None:
        with counter_bug(bug), pytest.raises(AssertionError):
            assert_counter_ranges_are_disjoint([7, 7])
        with counter_bug(bug), pytest.raises(AssertionError):
            assert_is_aes_in_counter_mode(KEY, 3, 2, 4)

    def test_no_word_occurs_twice_among_uses_and_lanes(self) -> None:
        """2^12 words of 64 bits: two are equal by chance with probability below 2^(24 - 1 - 64) = 2^-41."""
        streams = SecretStreams(KEY)
        drawn = torch.stack([streams.words(use=use, lanes=16, count=64) for use in range(4)])
        assert len(set(drawn.flatten().tolist())) == 4096

    @given(uses=st.lists(st.integers(-2, 2**48 + 1), min_size=1, max_size=6))
    def test_a_use_that_is_not_larger_than_all_before_it_is_refused_so_nothing_is_drawn_twice(
        self, uses: list[int]
    ) -> None:
        streams, last = SecretStreams(KEY), -1
        for use in uses:
            if last < use < 2**48:
                streams.words(use=use, lanes=1, count=1)
                last = use
            else:
                with pytest.raises(CloisterError, match=rf"use = {use} .* allowed: > {last}, < 2\^48"):
                    streams.words(use=use, lanes=1, count=1)

    def test_under_other_labels_the_words_are_others_and_uses_are_counted_together(self) -> None:
        """8 words of 64 bits: two are equal by chance with probability below 2^-58."""
        streams = SecretStreams(KEY)
        labelled = [streams, streams.under(b"a"), streams.under(b"b"), streams.under(b"a").under(b"b")]
        for use, each in enumerate(labelled):
            each.words(use=use, lanes=1, count=2)
        for each in labelled:
            with pytest.raises(CloisterError, match=r"use = 3 .* allowed: > 3"):
                each.words(use=3, lanes=1, count=2)
        alone = [SecretStreams(KEY), *(SecretStreams(KEY).under(label) for label in (b"a", b"b", b"ab"))]
        drawn = torch.stack([each.words(use=0, lanes=1, count=2) for each in alone])
        assert len(set(drawn.flatten().tolist())) == 8

    def test_words_and_gaussians_share_one_count_of_uses(self) -> None:
        streams = SecretStreams(KEY)
        streams.gaussian(use=4, lanes=1, count=3)
        with pytest.raises(CloisterError, match="use = 4"):
            streams.words(use=4, lanes=1, count=3)

    @pytest.mark.parametrize("length", [0, 15, 17, 32])
    def test_a_key_of_another_length_is_refused_without_being_shown(self, length: int) -> None:
        with pytest.raises(CloisterError, match=rf"^a stream key has {length} bytes; allowed: 16$"):
            SecretStreams(b"k" * length)

    def test_the_key_never_appears_in_repr_str_or_an_error(self) -> None:
        """16 random bytes occur in a few hundred characters by chance with probability below 2^-100."""
        key = sha256(b"canary").digest()[:16]
        streams = SecretStreams(key)
        texts = [repr(streams), str(streams), f"{streams}", repr(vars(streams)), repr([streams])]
        for failing in (
            lambda: streams.words(use=-1, lanes=1, count=1),
            lambda: pickle.dumps(streams),
            lambda: SecretStreams(key + b"x"),
        ):
            with pytest.raises((CloisterError, TypeError)) as caught:
                failing()
            texts.append(repr(caught.value))
        assert_hides(key, texts)

    def test_a_key_that_is_shown_is_seen(self) -> None:
        key = sha256(b"canary").digest()[:16]
        for text in (repr(key), key.hex(), str(list(key)), f"key {int.from_bytes(key, 'big')}"):
            with pytest.raises(AssertionError):
                assert_hides(key, [text])

    @pytest.mark.parametrize("copying", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_cannot_be_copied_or_pickled_since_both_copies_would_draw_the_same(
        self, copying: Callable[[object], object]
    ) -> None:
        with pytest.raises(TypeError, match="cannot be pickled"):
            copying(SecretStreams(KEY))

    def test_fresh_ones_differ(self) -> None:
        """Two keys of 128 bits are equal by chance with probability 2^-128."""
        drawn = [tuple(SecretStreams.fresh().words(use=0, lanes=1, count=4)[0].tolist()) for _ in range(8)]
        assert len(set(drawn)) == 8
        with mock.patch.object(randomness.os, "urandom", bytes):
            planted = {tuple(SecretStreams.fresh().words(use=0, lanes=1, count=4)[0].tolist()) for _ in range(8)}
        assert len(planted) == 1

    def test_one_flipped_bit_of_the_key_changes_every_word(self) -> None:
        """128 keys and 8 words each: one stays the same by chance with probability below 2^(10 - 64)."""
        original = SecretStreams(KEY).words(use=0, lanes=1, count=8)
        for bit in range(128):
            flipped = (int.from_bytes(KEY, "big") ^ (1 << bit)).to_bytes(16, "big")
            assert not bool((SecretStreams(flipped).words(use=0, lanes=1, count=8) == original).any())

    def test_replayable_ones_depend_on_the_seed_and_every_name_and_on_nothing_else(self) -> None:
        def drawn(*names: object) -> tuple[int, ...]:
            return tuple(SecretStreams.replayable(*names).words(use=0, lanes=1, count=4)[0].tolist())

        assert drawn(1, "noise") == drawn(1, "noise")
        assert len({drawn(1, "noise"), drawn(2, "noise"), drawn(1, "nois", "e"), drawn(1), drawn(1, "noise", 0)}) == 5

    def test_a_lane_does_not_depend_on_how_many_lanes_there_are(self) -> None:
        few, many = (SecretStreams(KEY).words(use=1, lanes=lanes, count=9) for lanes in (2, 6))
        assert torch.equal(few, many[:2])


def assert_hides(key: bytes, texts: list[str]) -> None:
    shown = [
        repr(key)[2:-1],
        key.hex(),
        str(list(key))[1:-1],
        str(int.from_bytes(key, "big")),
        str(int.from_bytes(key, "little")),
        base64.b64encode(key).decode()[:20],
    ]
    for text in texts:
        assert not any(form in text for form in shown), f"the key is in {text!r}"


def assert_words_are_uniform(words: torch.Tensor) -> None:
    """Chi-square of each of the 8 bytes of 2^17 words over 256 values, 255 degrees of freedom, ALPHA / 8 each.

    Critical value 390; a law in which every value is off by 5 % has noncentrality 2^17 x 0.05^2 = 328 and is
    missed with probability below 1e-6.
    """
    counts = [np.bincount(column, minlength=256) for column in words.numpy().view(np.uint8).reshape(-1, 8).T]
    for place, count in enumerate(counts):
        assert stats.chisquare(count).pvalue > ALPHA / 8, f"byte {place} is not uniform"


def assert_standard_normal(draws: np.ndarray) -> None:
    """Kolmogorov-Smirnov and chi-square over 64 equally likely bins, of 2^18 draws, ALPHA / 2 each.

    KS: the critical distance is sqrt(ln(4 / ALPHA) / 2^19) = 0.0054; by the DKW inequality a law at distance
    0.0108 is missed with probability below 1e-6. Chi-square: critical value 134; a law whose bins are each off by
    4 % has noncentrality 2^18 x 0.04^2 = 419 and is missed with probability below 1e-6.
    """
    assert stats.kstest(draws, "norm").pvalue > ALPHA / 2, "the distribution function is not that of N(0, 1)"
    bins = np.clip((stats.norm.cdf(draws) * 64).astype(int), 0, 63)
    assert stats.chisquare(np.bincount(bins, minlength=64)).pvalue > ALPHA / 2, "the bins of N(0, 1) are not filled"


def assert_uncorrelated(lanes: np.ndarray) -> None:
    """Correlations of values and of squares: between lanes, and within a lane at lag 1 and at half its length.

    With N = 2^16 pairs, r sqrt(N) is about N(0, 1); 28 parts at ALPHA / 28, two-sided, give |r| < 5.5 / 256, and
    a correlation of 0.042 is missed with probability below 1e-6.
    """
    count = lanes.shape[1]
    limit = float(stats.norm.isf(ALPHA / 28 / 2))
    pairs = [(lanes[a], lanes[b]) for a, b in itertools.combinations(range(4), 2)]
    pairs += [(lane, np.roll(lane, lag)) for lane in lanes for lag in (1, count // 2)]
    for a, b in pairs:
        for f in (np.asarray, np.square):
            r = float(np.corrcoef(f(a), f(b))[0, 1])
            assert abs(r) * math.sqrt(count) < limit, f"two numbers that should be independent have correlation {r}"


class TestTheLawOfTheWords:
    def test_every_byte_of_the_words_is_uniform(self) -> None:
        assert_words_are_uniform(SecretStreams(KEY).words(use=0, lanes=4, count=2**15))

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("16 bits", lambda words, other: words % 2**16),
            ("smaller of two draws", torch.minimum),
            ("sign lost", lambda words, other: words & (2**63 - 1)),
        ],
    )
    def test_words_that_are_not_uniform_are_seen(self, bug: str, planted: Callable) -> None:
        streams = SecretStreams(KEY)
        words, other = (streams.words(use=use, lanes=4, count=2**15) for use in (0, 1))
        with pytest.raises(AssertionError, match="is not uniform"):
            assert_words_are_uniform(planted(words, other))


class TestGaussians:
    def test_are_standard_normal(self) -> None:
        assert_standard_normal(SecretStreams(KEY).gaussian(use=0, lanes=4, count=2**16).flatten().numpy())

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("too wide", lambda x: 1.05 * x),
            ("not centred", lambda x: x + 0.05),
            ("uniform", lambda x: (stats.norm.cdf(x) - 0.5) * math.sqrt(12)),
            ("coarse", lambda x: np.round(x, 1)),
            ("tails cut", lambda x: np.clip(x, -1.9, 1.9)),
        ],
    )
    def test_numbers_that_are_not_standard_normal_are_seen(self, bug: str, planted: Callable) -> None:
        draws = SecretStreams(KEY).gaussian(use=0, lanes=4, count=2**16).flatten().numpy()
        with pytest.raises(AssertionError):
            assert_standard_normal(planted(draws))

    def test_are_independent_between_lanes_and_within_one(self) -> None:
        assert_uncorrelated(SecretStreams(KEY).gaussian(use=0, lanes=4, count=2**16).numpy())

    def test_equal_lanes_and_equal_halves_are_seen(self) -> None:
        with counter_bug(without_lane):
            lanes = SecretStreams(KEY).gaussian(use=0, lanes=4, count=2**16).numpy()
        with pytest.raises(AssertionError, match="correlation"):
            assert_uncorrelated(lanes)
        with mock.patch.object(torch, "sin", torch.cos):
            halves = SecretStreams(KEY).gaussian(use=0, lanes=4, count=2**16).numpy()
        with pytest.raises(AssertionError, match="correlation"):
            assert_uncorrelated(halves)

    def assert_bounded(self) -> None:
        extremes = torch.tensor([0, -1, 1, 2**63 - 1, -(2**63), 2**11 - 1, -(2**11)])
        words = torch.cartesian_prod(extremes, extremes)
        with mock.patch.object(SecretStreams, "words", return_value=words):
            draws = SecretStreams(KEY).gaussian(use=0, lanes=len(words), count=2)
        assert bool(torch.isfinite(draws).all()), "a draw is not finite"
        assert float(draws.abs().max()) <= 8.6, "a draw is beyond the stated range"

    def test_are_finite_and_at_most_8_6_whatever_the_words(self) -> None:
        self.assert_bounded()

    def test_the_logarithm_of_zero_is_seen(self) -> None:
        log = torch.log
        with (
            mock.patch.object(torch, "log", lambda uniform: log(uniform - 2.0**-53)),
            pytest.raises(AssertionError, match="not finite"),
        ):
            self.assert_bounded()

    @pytest.mark.parametrize("count", [1, 2, 7])
    def test_come_in_any_number(self, count: int) -> None:
        draws = SecretStreams(KEY).gaussian(use=0, lanes=3, count=count)
        assert draws.shape == (3, count)
        assert draws.dtype == torch.float64


def reference_stream(seed: int, *names: object) -> np.random.Generator:
    parts = [str(part).encode() for part in (seed, *names)]
    text = b"cloister stream v1" + b"".join(struct.pack(">Q", len(part)) + part for part in parts)
    high, low = struct.unpack(">QQ", sha256(text).digest()[:16])
    return np.random.Generator(np.random.Philox(key=np.array([low, high], dtype=np.uint64)))


def first_draws(seed: int, *names: object) -> tuple[float, ...]:
    return tuple(public_stream(seed, *names).random(4).tolist())


def assert_names_are_kept_apart(draws: Callable[..., tuple[float, ...]]) -> None:
    names = [("ab", "c"), ("a", "bc"), ("abc",), ("a", "b", "c"), ("c", "ab"), (), ("",), ("", ""), (1, 23), (12, 3)]
    streams = {draws(seed, *name) for seed in (1, 2, 12) for name in names}
    assert len(streams) == 3 * len(names), "two different names have the same stream"


class TestPublicStream:
    @given(seed=st.integers(0, 2**64), names=st.lists(st.one_of(st.text(), st.integers()), max_size=3))
    def test_the_same_seed_and_names_give_the_same_draws(self, seed: int, names: list[object]) -> None:
        assert first_draws(seed, *names) == first_draws(seed, *names)
        assert first_draws(seed, *names) == tuple(reference_stream(seed, *names).random(4).tolist())

    def test_another_seed_or_name_gives_another_stream(self) -> None:
        """Two streams of 4 x 53 bits are equal by chance with probability 2^-212."""
        assert_names_are_kept_apart(first_draws)

    def test_names_that_run_into_each_other_are_seen(self) -> None:
        def planted(*parts: object) -> bytes:
            return sha256("".join(str(part) for part in parts).encode()).digest()

        with mock.patch.object(randomness, "_digest", planted), pytest.raises(AssertionError, match="same stream"):
            assert_names_are_kept_apart(first_draws)

    def test_another_seed_or_name_gives_an_independent_stream(self) -> None:
        names = [(0, "clustering"), (0, "placement"), (1, "clustering"), (0, "clustering", 1)]
        assert_uncorrelated(np.stack([public_stream(*name).normal(size=2**16) for name in names]))

    def test_streams_that_are_the_same_are_seen_to_depend_on_each_other(self) -> None:
        with pytest.raises(AssertionError, match="correlation"):
            assert_uncorrelated(np.stack([public_stream(0, "clustering").normal(size=2**16)] * 4))

    def test_two_streams_do_not_share_their_state(self) -> None:
        one, other = public_stream(0, "a"), public_stream(0, "a")
        one.random(100)
        assert tuple(other.random(4).tolist()) == first_draws(0, "a")
