"""The steps of robust statistics on whole updates, by one party that masks nothing, against the same in the clear.

What parties exchange for them, and that it tells nothing, is tested with the statistics; here are their numbers.
"""

from collections.abc import Iterator
from itertools import count
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from protocols.in_process import InProcessParties
from protocols.secure_robust import _scan, _waves, _weiszfeld, robust_statistics
from protocols.secure_robust._access import Access
from protocols.secure_robust._checked import in_range, in_range_in_the_clear
from protocols.secure_robust._clipping import _FACTOR_BITS, Clipping
from protocols.secure_robust._conversions import Draw, deal_numbers
from protocols.secure_robust._engine import BITS, WORDS, Engine, Shared
from protocols.secure_robust._planes import WORD_BITS, from_planes, to_planes
from protocols.secure_robust._weiszfeld import SHARE_BITS, Cloud, Steps, step, step_in_the_clear
from tests.robust import run_alone, run_engines

ONE = 1 << SHARE_BITS


def uniform() -> Draw:
    """A dealer's words: another tensor for every call."""
    seeds = count()
    rngs = (torch.Generator().manual_seed(seed) for seed in seeds)
    return lambda shape: torch.randint(-(2**63), 2**63 - 1, shape, generator=next(rngs))


def lanes(planes: Tensor, members: int) -> list[bool]:
    """Which of the first lanes of one plane are set."""
    return (from_planes(planes.view(1, -1), members) != 0).tolist()


def in_range_of(words: Tensor, limit: int, number: int) -> list[bool]:
    """Which members (of one cluster) are in range where every coordinate is masked by this number."""

    def work(bits: Engine) -> Tensor:
        dealt = deal_numbers(bits, lambda shape: torch.full(shape, number), (1, *words.shape))
        return bits.reveal(in_range(bits, bits.public(words[None]), dealt, limit))

    return (run_alone(BITS, work).flatten() & 1).bool().tolist()


def test_what_one_party_shares_is_what_it_opens() -> None:
    """Else all numbers that hide something would be zero here."""
    words = torch.tensor([[5, -3]])
    assert torch.equal(run_alone(WORDS, lambda engine: engine.reveal(engine.share_inputs(words)))[:, 0], words)


class TestRange:
    LIMIT = 20
    EDGE = 1 << LIMIT
    TRIED = (EDGE - 1, EDGE, -EDGE, -EDGE - 1, 0, 2**62, -(2**63), 2**63 - 1, 2**32)

    @pytest.mark.parametrize("number", [0, -1, 1, 2 * EDGE - 1, 2 * EDGE, 2**63 - 1, -(2**63), 0x1234_5678_9ABC_DEF0])
    def test_ends_where_it_says_whatever_number_hides_a_word(self, number: int) -> None:
        """Numbers whose lower bits exceed those of what opens take a borrow, and others none."""
        words = torch.zeros(len(self.TRIED), 3, dtype=torch.int64)
        words[:, 1] = torch.tensor(self.TRIED)
        expected = in_range_in_the_clear(words[None], self.LIMIT)[0].tolist()
        assert expected == [-self.EDGE <= word < self.EDGE for word in self.TRIED]
        assert in_range_of(words, self.LIMIT, number) == expected

    def test_is_looked_at_in_every_wave(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """One member out of range in each wave, one in none; 64 coordinates a wave."""
        monkeypatch.setattr(_waves, "_WAVE_WORDS", 1)
        words = torch.zeros(1, 4, 130, dtype=torch.int64)
        for member, coordinate in enumerate((0, 100, 129)):
            words[0, member, coordinate] = self.EDGE

        def work(bits: Engine) -> Tensor:
            return bits.reveal(_scan.scan_ranges(bits, bits.public(words), uniform(), self.LIMIT))

        assert lanes(run_alone(BITS, work), 4) == [False, False, False, True]


class TestClipping:
    CLIPPING = Clipping(norm=1.0, steps=1, fraction_bits=16)

    def opened(self, words: Tensor) -> tuple[Tensor, list[int]]:
        """The rounded sums, and how many planes of bits open."""
        planes: list[int] = []
        original = Engine.reveal

        def reveal(engine: Engine, value: Shared) -> Tensor:
            planes.extend([value.shape[2]] if engine.algebra is BITS else [])
            return original(engine, value)

        with mock.patch.object(Engine, "reveal", reveal):
            sums = run_alone(BITS, lambda bits: self.CLIPPING.open_sum(bits, uniform(), bits.public(words)))
        return sums, planes

    def test_opens_what_it_says_and_nothing_below_a_unit(self) -> None:
        words = torch.tensor([[[5, 0], [20 << 16, 3], [-(20 << 16) + 1, -7], [2**62, 1]]])
        sums, planes = self.opened(words)
        assert torch.equal(sums, self.CLIPPING.sum_in_the_clear(words))
        # Before it, bits of the factors under dealt bits.
        assert planes == [1, WORD_BITS - _FACTOR_BITS]

    def test_neighbouring_updates_of_which_one_is_a_unit_longer_open_the_same_words_or_the_next(self) -> None:
        words = torch.zeros(16, 3, 2, dtype=torch.int64)
        words[:, 1] = torch.tensor([20 << 16, -(20 << 16)])
        words[:, 1, 0] += torch.arange(16)
        sums, _ = self.opened(words)
        assert torch.equal(sums, self.CLIPPING.sum_in_the_clear(words))
        assert int(sums[:, 0].max() - sums[:, 0].min()) <= 1


def test_steps_of_centred_clipping_count_from_the_centre_reached() -> None:
    """With sums that nothing clips: the first step reaches the mean, and whoever counts from it goes no further."""

    def open_sum(clipping: Clipping, bits: Engine, draw: Draw, values: Shared) -> Tensor:
        words = bits.over(WORDS)
        return words.reveal(words.sum(values, 1))

    words = torch.tensor([[[300, -30], [600, 0], [900, -60]]])
    with mock.patch.object(Clipping, "open_sum", open_sum):
        for iterations in (1, 2, 3):
            spec = robust_statistics.resolve({"name": "centered_clipping", "iterations": iterations})
            assert InProcessParties(3).open_sums(spec, words).sums.tolist() == [[600, -30]]


class TestWeiszfeld:
    MEMBERS = 5

    @pytest.fixture
    def points(self) -> Iterator[np.ndarray]:
        return np.random.default_rng(3).integers(-(2**18), 2**18, (1, self.MEMBERS, 4)).astype(object)

    @pytest.mark.parametrize("out", [(), (1,), (0, 2, 3, 4)])
    def test_a_step_is_that_in_the_clear_and_what_it_lacks_goes_to_the_anchor(
        self, points: np.ndarray, out: tuple[int, ...]
    ) -> None:
        """Whoever is out of range has no weight, unless it is the anchor; the weights add up to one."""
        members, tables = self.MEMBERS, Steps(members=self.MEMBERS, smoothing=64, steps=1)
        squares = ((points[:, :, None] - points[:, None]) ** 2).sum(axis=3)
        shares = np.array([[ONE // members] * members], dtype=object)
        shares[0, 0] += ONE - shares.sum()
        inside, anchor = torch.ones(1, members, dtype=torch.bool), torch.zeros(1, members, dtype=torch.bool)
        inside[0, list(out)], anchor[0, 2] = False, True
        moved = step_in_the_clear(tables, shares, squares, inside, anchor).astype(np.int64)
        assert moved.sum() == ONE
        assert all(moved[0, member] == 0 for member in out if member != 2)

        def flags(bits: Engine, of: Tensor) -> Shared:
            return bits.public(to_planes(of.long(), 1)[:, None])

        def work(bits: Engine) -> Tensor:
            cloud = Cloud(
                squares=bits.public(to_planes(torch.from_numpy(squares.astype(np.int64)), _weiszfeld._SQUARE_BITS)),
                in_range=flags(bits, inside),
                anchor=flags(bits, anchor),
            )
            start = bits.public(to_planes(torch.from_numpy(shares.astype(np.int64)), SHARE_BITS + 1)[:, None])
            return bits.reveal(step(bits, tables, start, cloud))

        planes = run_alone(BITS, work).view(1, SHARE_BITS + 1, 1)
        opened = from_planes(planes, members) & (2 * ONE - 1)
        assert opened.tolist() == moved.tolist()


def test_a_comparison_is_counted_once_for_all_parties() -> None:
    access = Access(parties=4, threshold=1)
    _, links = run_engines(access, BITS, lambda engine: engine.compared(3))
    assert [link.meter.traffic().mpc.comparisons for link in links] == [3 * WORD_BITS, 0, 0, 0]
