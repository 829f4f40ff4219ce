"""The geometric median on shared values: within its bound whatever fewer than half send, and near what it approximates.

Words and costs of the protocol itself are held to the reference beside those of all statistics.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from protocols.secure_robust import robust_statistics
from protocols.secure_robust._neighbours import range_for
from protocols.secure_robust._tables import Table
from protocols.secure_robust._weiszfeld import SHARE_BITS, Steps, step_in_the_clear
from protocols.secure_robust.geometric_median import GeometricMedian

ONE = 1 << SHARE_BITS


def apart(words: Tensor) -> Tensor:
    """Distances (clusters, n, n) of words (clusters, n, coordinates)."""
    rows = words.double()
    return (rows[:, :, None] - rows[:, None]).norm(dim=3)


@given(
    members=st.sampled_from([3, 4, 5, 7, 12]),
    coordinates=st.sampled_from([1, 3, 40]),
    spread=st.sampled_from([0, 4, 14]),
    iterations=st.integers(1, 3),
    seed=st.integers(0, 2**31),
)
def test_the_result_is_within_its_bound_of_every_honest_update_whatever_fewer_than_half_send(
    members: int, coordinates: int, spread: int, iterations: int, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    statistic = GeometricMedian(iterations=iterations, smoothing=2.0**-10)
    byzantine = statistic.breakdown(members)
    most = min(2**spread, (1 << range_for(coordinates).bits) - 1)
    honest = torch.randint(-most, most + 1, (8, members - byzantine, coordinates), generator=rng)
    anything = torch.randint(-(2**63), 2**63 - 1, (8, byzantine, coordinates), generator=rng)
    hostile = anything >> torch.randint(0, 63, (8, byzantine, 1), generator=rng)
    hostile[::2] += honest[::2, :1] >> 1  # some just beside honest ones
    words = torch.cat([hostile, honest], dim=1)
    result = statistic.reference(words).sums
    h = members // 2 + 1
    q = 16 / 15 * 2 ** (1 / statistic.steps) * byzantine / h
    smoothing = 2.0**6  # in units
    within = 3 * (1 + q) ** iterations * apart(honest).amax(dim=(1, 2)).clamp(min=smoothing) + coordinates**0.5
    far = (honest - result[:, None]).double().norm(dim=2).amax(dim=1)
    assert bool((far <= within).all()), (far, within)


def test_words_that_wrap_a_square_leave_the_result_among_the_others() -> None:
    hostile = [2**47, -(2**47), 46_341 << 16, 65_536 << 16, 2**63 - 1, -(2**63), 2**32]
    words = (torch.arange(9).view(1, 3, 3) * 1000).repeat(len(hostile), 1, 1)
    words[:, 1] = torch.tensor(hostile)[:, None]
    opened = InProcessParties(3).open_sums(robust_statistics.resolve("geometric_median"), words).sums
    others = words[:, [0, 2]]
    assert bool(((opened >= others.amin(dim=1)) & (opened <= others.amax(dim=1))).all())


@given(members=st.integers(3, 9), seed=st.integers(0, 2**31))
def test_it_is_a_convex_combination_rounded_down(members: int, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    words = torch.randint(-(2**20), 2**20, (6, members, 5), generator=rng) >> torch.randint(0, 20, (1,), generator=rng)
    result = GeometricMedian().reference(words).sums
    assert bool((result >= words.amin(dim=1)).all())
    assert bool((result <= words.amax(dim=1)).all())
    assert torch.equal(GeometricMedian().reference(words[:, :1].expand(-1, members, -1)).sums, words[:, 0])
    # Moving everybody by a whole number of units moves the result by it.
    assert torch.equal(GeometricMedian().reference(words + 12_345).sums, result + 12_345)


@given(members=st.integers(3, 9), seed=st.integers(0, 2**31))
def test_a_step_weighs_by_inverse_distance_as_nearly_as_its_tables_say(members: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(-(2**18), 2**18, (1, members, 4)).astype(object)
    tables = Steps(members=members, smoothing=64, steps=8)
    squares = ((points[:, :, None] - points[:, None]) ** 2).sum(axis=3)
    shares = np.array([[ONE // members] * members], dtype=object)
    shares[0, 0] += ONE - shares.sum()
    everybody, anchor = torch.ones(1, members, dtype=torch.bool), torch.zeros(1, members, dtype=torch.bool)
    anchor[0, 0] = True
    moved = step_in_the_clear(tables, shares, squares, everybody, anchor)[0].astype(np.int64)
    centre = (shares[0, :, None] * points[0]).sum(axis=0) / ONE
    inverse = 1 / np.maximum(np.linalg.norm((points[0] - centre).astype(float), axis=1), 64)
    exact = inverse / inverse.sum()
    assert moved.sum() == ONE
    # A factor is short by a table's step and by 1 / 16 at most, a reciprocal by its table's step; then both round.
    short = 15 / 16 * 2 ** (-1 / 8)
    assert bool((moved[1:] <= exact[1:] / short * ONE * (1 + 1e-9)).all())
    assert bool((moved >= exact * short * 2 ** (-1 / 32) * ONE * (1 - 2.0**-12) - 1 - 1e-9).all())


@pytest.mark.parametrize("members", [3, 5, 20])
def test_tables_hold_what_they_say(members: int) -> None:
    tables = Steps(members=members, smoothing=65, steps=8)
    for table in (tables.factors, tables.reciprocals):
        assert list(table.bounds) == sorted(set(table.bounds))
        assert len(table.entries) == len(table.bounds) + 1
        assert max(table.entries) < 1 << table.width
        assert max(table.bounds) < 1 << table.planes
    assert tables.factors.entries[-1] >= 16
    assert members * tables.factors.entries[0] < 1 << tables.sum_bits
    assert tables.reciprocals.entries[0] == 0


def test_more_steps_come_nearer_to_the_smallest_sum_of_distances() -> None:
    rng = torch.Generator().manual_seed(2)
    rows = torch.randn(40, 5, 6, generator=rng, dtype=torch.float64)
    rows[:, :2] += 4 * torch.randn(40, 1, 6, generator=rng, dtype=torch.float64)
    words = GeometricMedian().ring.encode(rows, terms=1)

    def excess(iterations: int) -> float:
        statistic = GeometricMedian(iterations=iterations)
        point = statistic.decode(statistic.reference(words), parties=5)
        return float((rows - point[:, None]).norm(dim=2).sum())

    found = [excess(iterations) for iterations in (1, 2, 4, 8)]
    assert found == sorted(found, reverse=True)
    assert found[0] > found[-1]


class TestRefusals:
    def test_a_smoothing_beyond_all_distances(self) -> None:
        with pytest.raises(CloisterError, match=r"smoothing = 32768\.0 .* allowed: less than 32768"):
            GeometricMedian(smoothing=32768.0)
        with pytest.raises(CloisterError, match="smoothing = 0"):
            GeometricMedian(smoothing=0.0)

    def test_no_iterations(self) -> None:
        with pytest.raises(CloisterError, match="iterations = 0"):
            GeometricMedian(iterations=0)


class TestPlantedBugs:
    def test_weights_that_do_not_depend_on_distances_are_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = Steps.factors.fget
        assert original is not None
        monkeypatch.setattr(Steps, "factors", property(lambda steps: flat(original(steps))))
        with pytest.raises((AssertionError, ExceptionGroup)):  # a group where several assertions fail
            test_a_step_weighs_by_inverse_distance_as_nearly_as_its_tables_say()
        with pytest.raises((AssertionError, ExceptionGroup)):
            test_the_result_is_within_its_bound_of_every_honest_update_whatever_fewer_than_half_send()


def flat(table: Table) -> Table:
    return replace(table, entries=table.entries[:1] * len(table.entries))
