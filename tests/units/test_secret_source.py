"""A party's own secrets: nothing is drawn twice, elements of a field are exactly uniform, nothing is shown.

Each statistical check is a chi-square at alpha = 1e-7; a run makes six of them on fresh keys: a false alarm has
probability below 1e-6 a run. Power: a word reduced modulo 7 instead of rejected makes one element twice as
likely; 70,000 draws then move the statistic by more than 7,000 where 44 is allowed.
"""

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from protocols import secret_source
from protocols.check import CloisterError
from protocols.field import MERSENNE_61, PrimeField
from protocols.randomness import SecretStreams
from protocols.secret_source import OwnSecrets

ALPHA = 1e-7
SMALL = [2, 3, 5, 7, 11, 13, 31]
Draw = Callable[..., list[int]]


def words(own: OwnSecrets, *, purpose: str = "test", use: int = 0) -> list[int]:
    return own.words(purpose=purpose, use=use, clusters=2, count=4).flatten().tolist()


def elements(own: OwnSecrets, *, purpose: str = "test", use: int = 0, field: PrimeField | None = None) -> list[int]:
    drawn = own.elements(field or PrimeField(), purpose=purpose, use=use, clusters=2, count=4)
    return drawn.flatten().tolist()


def token(own: OwnSecrets, *, purpose: str = "test", use: int = 0) -> list[int]:
    drawn = own.token(purpose=purpose, use=use, size=64)
    return [int.from_bytes(drawn[8 * k :][:8]) for k in range(8)]


KINDS: dict[str, Draw] = {"words": words, "elements": elements, "token": token}


def assert_draws_nothing_twice(make: Callable[[], OwnSecrets]) -> None:
    """Whatever was drawn for a purpose and use before, and by whichever method, is not drawn again."""
    for first in KINDS.values():
        for second in KINDS.values():
            own = make()
            first(own, purpose="shares", use=3)
            for use in (3, 2, 0):
                refused = False
                try:
                    second(own, purpose="shares", use=use)
                except CloisterError as error:
                    refused = f"use = {use}" in str(error) and "allowed: > 3" in str(error)
                assert refused, "a use was drawn twice, or refused without saying what is allowed"
            second(own, purpose="masks", use=3)
            second(own, purpose="shares", use=4)


def assert_differ(draw: Draw, make: Callable[[], OwnSecrets]) -> None:
    """3 purposes, 3 uses and 2 parties, 8 words of at least 61 bits each: two equal by chance below 2^-46."""
    drawn = [
        word
        for own in (make(), make())
        for use in (0, 1, 7)
        for purpose in ("shares", "masks", "masks 2")
        for word in draw(own, purpose=purpose, use=use)
    ]
    assert len(set(drawn)) == len(drawn) == 144, "a word was drawn for two purposes, uses, places or parties"


class TestFreshness:
    def test_a_purpose_and_use_that_was_drawn_before_is_refused(self) -> None:
        assert_draws_nothing_twice(OwnSecrets.fresh)

    def test_secrets_that_are_drawn_twice_are_seen(self) -> None:
        original = SecretStreams.words

        def planted(streams: SecretStreams, **sizes: int) -> torch.Tensor:
            streams._last_use = -1
            return original(streams, **sizes)

        with mock.patch.object(SecretStreams, "words", planted), pytest.raises(AssertionError, match="twice"):
            assert_draws_nothing_twice(OwnSecrets.fresh)

    @pytest.mark.parametrize("kind", KINDS)
    def test_purposes_uses_places_and_parties_all_have_words_of_their_own(self, kind: str) -> None:
        assert_differ(KINDS[kind], OwnSecrets.fresh)

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("one key for all purposes", lambda key, purpose: bytes(16)),
            ("a purpose cut to its first letters", lambda key, purpose: key[:8] + purpose.encode()[:5].ljust(8)),
        ],
    )
    def test_purposes_that_share_their_words_are_seen(self, bug: str, planted: Callable[[bytes, str], bytes]) -> None:
        def stream(own: OwnSecrets, purpose: str) -> SecretStreams:
            return own._streams.setdefault(purpose, SecretStreams(planted(own._master, purpose)))

        with mock.patch.object(OwnSecrets, "_stream", stream), pytest.raises(AssertionError):
            assert_differ(words, OwnSecrets.fresh)

    def test_secrets_of_one_key_are_seen(self) -> None:
        with pytest.raises(AssertionError, match="drawn for two"):
            assert_differ(words, lambda: OwnSecrets(SecretStreams.replayable(0, "own")))

    def test_the_same_key_gives_the_same_secrets_which_is_what_replayable_means(self) -> None:
        first, second = (OwnSecrets(SecretStreams.replayable(5, "own", 3)) for _ in range(2))
        for draw in KINDS.values():
            assert draw(first, purpose=str(draw)) == draw(second, purpose=str(draw))

    def test_the_key_comes_from_the_generator_of_the_operating_system(self) -> None:
        with mock.patch("protocols.randomness.os.urandom", return_value=bytes(range(16))) as asked:
            own = OwnSecrets.fresh()
        asked.assert_called_once_with(16)
        assert words(own) == words(OwnSecrets(SecretStreams(bytes(range(16)))))

    @pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 32, 65])
    def test_a_token_has_the_size_that_was_asked_for(self, size: int) -> None:
        assert len(OwnSecrets.fresh().token(purpose="salt", use=0, size=size)) == size


def assert_maps_uniformly(field: PrimeField) -> None:
    """All words of some bits more than an element has, negative ones too: each element from equally many of them."""
    bits = max((field.modulus - 1).bit_length(), 1)
    every = torch.arange(-(2 ** (bits + 3)), 2 ** (bits + 3))
    found, accepted = field.from_uniform_words(every)
    hits = Counter(found[accepted].tolist())
    assert hits == dict.fromkeys(range(field.modulus), 16), "some elements come from more words than others"
    assert 2 * int(accepted.sum()) >= len(every), "more than half of all words are rejected"


def every_one(words: torch.Tensor) -> torch.Tensor:
    return torch.ones_like(words, dtype=torch.bool)


class TestElementsOfTheField:
    @pytest.mark.parametrize("modulus", SMALL)
    def test_each_element_comes_from_equally_many_words(self, modulus: int) -> None:
        """Exhaustive, so that there is neither a false alarm nor a miss."""
        assert_maps_uniformly(PrimeField(modulus))

    @pytest.mark.parametrize(
        ("bug", "planted"),
        [
            ("reduced modulo p", lambda field, words: (words % field.modulus, every_one(words))),
            ("zero is rejected", lambda field, words: (words % 8, (words % 8 < field.modulus) & (words % 8 > 0))),
            ("one too many", lambda field, words: (words % 8, words % 8 <= field.modulus)),
            ("one too few", lambda field, words: (words % 8, words % 8 < field.modulus - 1)),
        ],
    )
    @pytest.mark.parametrize("modulus", [5, 7])
    def test_another_mapping_is_seen(self, modulus: int, bug: str, planted: Callable) -> None:
        with mock.patch.object(PrimeField, "from_uniform_words", planted), pytest.raises(AssertionError):
            assert_maps_uniformly(PrimeField(modulus))

    def test_of_the_large_field_only_the_one_word_that_is_no_element_is_rejected(self) -> None:
        field = PrimeField()
        edges = torch.tensor([0, 1, MERSENNE_61 - 1, MERSENNE_61, 2**61, 2**61 + 1, -1, -(2**63), 2**63 - 1])
        found, accepted = field.from_uniform_words(edges)
        assert accepted.tolist() == [True, True, True, False, True, True, False, True, False]
        assert found[accepted].tolist() == [0, 1, MERSENNE_61 - 1, 0, 1, 0]

    @given(
        modulus=st.sampled_from([*SMALL, MERSENNE_61]),
        clusters=st.integers(1, 3),
        count=st.integers(0, 40),
        use=st.integers(0, 2**40),
    )
    def test_are_the_first_accepted_words_of_their_clusters_stream(
        self, modulus: int, clusters: int, count: int, use: int
    ) -> None:
        """So that no element depends on how many others were rejected, and none is used twice."""
        field, key = PrimeField(modulus), SecretStreams.replayable(0, "own")
        drawn = OwnSecrets(key).elements(field, purpose="shares", use=use, clusters=clusters, count=count)
        same = OwnSecrets(SecretStreams.replayable(0, "own"))
        raw = same.words(purpose="shares", use=use, clusters=clusters, count=count + 512 + count)
        mask = (1 << (modulus - 1).bit_length()) - 1
        expected = [[word & mask for word in row if word & mask < modulus][:count] for row in raw.tolist()]
        assert drawn.tolist() == expected
        assert drawn.dtype == torch.int64
        assert drawn.shape == (clusters, count)
        assert drawn.is_contiguous()

    def test_of_the_large_field_skip_a_rejected_word(self) -> None:
        """A word that is 2^61 - 1 comes once in 2^61; here it is planted in the middle of a row."""
        raw = torch.arange(2 * 9).view(2, 9)
        raw[1, 2] = MERSENNE_61
        with mock.patch.object(SecretStreams, "words", return_value=raw), mock.patch.object(secret_source, "HKDF"):
            own = OwnSecrets.__new__(OwnSecrets)
            own._streams = {"shares": SecretStreams(bytes(16))}
            drawn = own.elements(PrimeField(), purpose="shares", use=0, clusters=2, count=5)
        assert drawn.tolist() == [[0, 1, 2, 3, 4], [9, 10, 12, 13, 14]]

    @pytest.mark.parametrize("modulus", [5, MERSENNE_61])
    def test_are_refused_where_almost_all_words_were_rejected(self, modulus: int) -> None:
        own = OwnSecrets.fresh()
        with (
            mock.patch.object(
                SecretStreams, "words", lambda streams, use, lanes, count: torch.full((lanes, count), -1)
            ),
            pytest.raises(CloisterError, match=f"too few random words fell into the field of {modulus} elements"),
        ):
            own.elements(PrimeField(modulus), purpose="shares", use=0, clusters=2, count=3)

    @pytest.mark.parametrize("modulus", [2, 5, 7, 31])
    def test_are_uniform(self, modulus: int) -> None:
        assert_uniform(modulus)

    @pytest.mark.parametrize("modulus", [5, 7])
    def test_pairs_of_neighbours_are_uniform_too(self, modulus: int) -> None:
        assert_uniform(modulus, pairs=True)

    @pytest.mark.parametrize(
        ("bug", "planted", "pairs"),
        [
            ("reduced modulo p", lambda field, words: (words % 8 % field.modulus, every_one(words)), False),
            (
                "the smaller of two",
                lambda field, words: (torch.minimum(words % 7, words.roll(1) % 7), every_one(words)),
                False,
            ),
            ("every word twice", lambda field, words: (words.repeat_interleave(2, 1) % 7, None), True),
        ],
    )
    def test_elements_that_are_not_uniform_are_seen(self, bug: str, planted: Callable, pairs: bool) -> None:
        def mapped(field: PrimeField, words: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            found, _ = planted(field, words)
            return found, torch.ones_like(found, dtype=torch.bool)

        with mock.patch.object(PrimeField, "from_uniform_words", mapped), pytest.raises(AssertionError):
            assert_uniform(7, pairs=pairs)


def assert_uniform(modulus: int, *, pairs: bool = False) -> None:
    """A chi-square over the elements, or over the pairs of neighbours; alpha = 1e-7."""
    drawn = OwnSecrets.fresh().elements(PrimeField(modulus), purpose="test", use=0, clusters=10, count=14_000)
    cells = (modulus * drawn[:, ::2] + drawn[:, 1::2]).flatten() if pairs else drawn.flatten()
    kinds = modulus**2 if pairs else modulus
    counted = np.bincount(cells.numpy(), minlength=kinds)
    assert len(counted) == kinds, "a number that is no element"
    expected = counted.sum() / kinds
    statistic = float(((counted - expected) ** 2 / expected).sum())
    assert statistic < float(stats.chi2.ppf(1 - ALPHA, kinds - 1)), f"the elements of {modulus} are not uniform"


def assert_hides(own: OwnSecrets) -> None:
    """128 bits occur by chance with probability below 2^-110."""
    own.words(purpose="shares", use=0, clusters=1, count=1)
    for text in (repr(own), str(own), f"{[own]}", f"{own!r:>40}"):
        assert own._master.hex() not in text.lower()
        assert repr(own._master)[2:-1] not in text
    assert repr(own) == "OwnSecrets(key hidden)"
    for move in (pickle.dumps, copy.copy, copy.deepcopy):
        moved = True
        try:
            move(own)
        except TypeError as error:
            moved = "cannot be pickled" not in str(error)
        assert not moved, "secrets were copied"


class TestHiding:
    def test_neither_repr_nor_pickle_nor_a_copy_gives_the_key_away(self) -> None:
        assert_hides(OwnSecrets.fresh())

    @pytest.mark.parametrize(
        ("method", "planted"),
        [
            ("__repr__", lambda own: f"OwnSecrets({own._master.hex()})"),
            ("__reduce__", lambda own: (OwnSecrets.fresh, ())),
        ],
    )
    def test_secrets_that_show_themselves_are_seen(self, method: str, planted: Callable) -> None:
        with mock.patch.object(OwnSecrets, method, planted), pytest.raises(AssertionError):
            assert_hides(OwnSecrets.fresh())

    def test_an_error_shows_no_secret(self) -> None:
        own = OwnSecrets.fresh()
        drawn = words(own, use=5)
        with pytest.raises(CloisterError) as caught:
            words(own, use=5)
        assert not any(str(word) in str(caught.value) for word in drawn)
