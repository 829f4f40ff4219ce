"""Each update attack against its definition, written out literally and slowly, and what it is made for."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

import attacks.testing as kit
from attacks import attacks
from attacks.api import World, look
from attacks.update import _statistics
from attacks.update._krum import Bait, choice, longest_chosen
from attacks.update._line_search import maximise
from attacks.update._statistics import mean_and_deviation
from attacks.update.alie import largest_z
from protocols.aggregators import Given, aggregators
from protocols.check import CloisterError
from protocols.randomness import public_stream

worlds = st.builds(
    kit.make_world,
    f=st.integers(1, 5),
    honest=st.integers(2, 9),
    d=st.integers(1, 8),
    seed=st.integers(0, 2**16),
    round_index=st.integers(0, 3),
)


def sent(name: str, world: World, **parameters: Any) -> Tensor:
    spec = attacks.resolve({"name": name, **parameters})
    attack: Any = attacks.make(spec)
    return attack(look(attacks.entry(name).facts["knowledge"], world))


def rows_of(tensor: Tensor) -> list[list[float]]:
    return tensor.tolist()


def mean_of(rows: list[list[float]]) -> list[float]:
    return [math.fsum(column) / len(rows) for column in zip(*rows, strict=True)]


def deviation_of(rows: list[list[float]]) -> list[float]:
    mean = mean_of(rows)
    return [
        math.sqrt(math.fsum((value - m) ** 2 for value in column) / len(rows))
        for column, m in zip(zip(*rows, strict=True), mean, strict=True)
    ]


def near(found: Tensor, expected: list[float] | list[list[float]]) -> bool:
    """Numbers of standard normal size and at most ten of them added up, in float64: off by less than 1e-12."""
    return torch.allclose(found, torch.tensor(expected, dtype=torch.float64).expand_as(found), rtol=1e-9, atol=1e-12)


class TestWhatFollowsFromTheHonestMean:
    @given(world=worlds, strength=st.floats(0.1, 5.0))
    def test_ipm_foe_and_alie_are_what_their_papers_say(self, world: World, strength: float) -> None:
        mean, deviation = mean_of(rows_of(world.honest)), deviation_of(rows_of(world.honest))
        assert near(sent("ipm", world, tau=strength), [-strength * m for m in mean])
        assert near(sent("foe", world, epsilon=strength), [(1 - strength) * m for m in mean])
        expected = [m - strength * s for m, s in zip(mean, deviation, strict=True)]
        assert near(sent("alie", world, z=strength), expected)

    @given(n=st.integers(3, 200), data=st.data())
    def test_alies_z_is_the_largest_that_enough_supporters_lie_beyond(self, n: int, data: st.DataObject) -> None:
        f = data.draw(st.integers(1, n - 1))
        supporters = n // 2 + 1 - f
        share = (n - f - supporters) / (n - f)
        z = largest_z(n, f)
        if 0.5 <= share < NormalDist().cdf(4.0):
            assert NormalDist().cdf(z) == pytest.approx(share)
        else:
            assert z == (4.0 if share >= 0.5 else 0.0)

    def test_alies_z_is_the_papers_for_fifty_workers(self) -> None:
        """n = 50, m = 24: s = 2, Phi(z) = 24 / 26."""
        assert largest_z(50, 24) == pytest.approx(1.426, abs=1e-3)

    @pytest.mark.parametrize(("n", "f"), [(1, 0), (2, 1), (2, 0), (3, 1), (5, 4)])
    def test_alies_z_stays_in_its_range_where_no_quantile_is_left(self, n: int, f: int) -> None:
        assert 0.0 <= largest_z(n, f) <= 4.0
        assert largest_z(2, 1) == 0.0  # everybody is a supporter: the share is zero

    def test_a_z_without_supporters_harms_nobody(self) -> None:
        world = kit.make_world(f=1, honest=19)
        assert near(sent("alie", world), mean_of(rows_of(world.honest)))

    @given(
        rows=st.integers(1, 40),
        columns=st.integers(1, 30),
        centre=st.sampled_from([0.0, 1.0, 31.0, 33.0, 1e6]),
        seed=st.integers(0, 99),
    )
    def test_mean_and_deviation_do_not_cancel(self, rows: int, columns: int, centre: float, seed: int) -> None:
        assert_mean_and_deviation(
            torch.from_numpy(public_stream(seed, "rows").normal(centre, 1.0, size=(rows, columns)))
        )

    def test_some_columns_that_cancel_among_others_that_do_not(self) -> None:
        values = torch.from_numpy(public_stream(0, "rows").normal(size=(64, 10_000)))
        values[:, ::7] += 1e6
        values[:, 5] = 3.1
        values[:, 6] = 0.0
        assert_mean_and_deviation(values)
        assert float(mean_and_deviation(values)[1][6]) == 0.0

    def test_a_difference_that_cancels_is_seen(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(_statistics, "_LEAST", {torch.float64: -torch.inf})
        values = torch.from_numpy(public_stream(0, "rows").normal(1e6, 1.0, size=(20, 30)))
        with pytest.raises(AssertionError):
            assert_mean_and_deviation(values)

    def test_mean_and_deviation_of_many_columns_come_from_several_blocks(self) -> None:
        assert_mean_and_deviation(torch.from_numpy(public_stream(0, "rows").normal(size=(64, 10_000))))

    def test_in_float32_they_are_as_exact_as_it_is(self) -> None:
        """With u = 2^-24 and L = 1/4: 1.5 x 22 u / L is 8e-6."""
        values = torch.from_numpy(public_stream(0, "rows").normal(size=(20, 300))).float()
        values[:, ::7] += 1000.0
        mean, deviation = mean_and_deviation(values)
        wide = values.double()
        assert torch.allclose(mean.double(), wide.mean(dim=0), rtol=0, atol=21 * 1005 * 2.0**-24)
        # Centred, a column is off by its mean's error, of which the deviation keeps a part in its square only.
        assert torch.allclose(deviation.double(), wide.std(dim=0, correction=0), rtol=8e-6, atol=0)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    @pytest.mark.parametrize("centre", [1e6, 1e15, 1e19])
    @pytest.mark.parametrize("rows", [2, 3, 80])
    def test_a_deviation_far_below_the_mean_is_exact(self, dtype: torch.dtype, centre: float, rows: int) -> None:
        """Beside exact fractions; 2 (k + 4) u of float64, and u of the type for the last rounding."""
        normal = public_stream(0, "rows").normal(size=(rows, 40))
        values = torch.from_numpy(centre + max(1.0, centre * 1e-6) * normal).to(dtype)
        values[:, 0] = centre
        values[:, 1] = centre * torch.from_numpy(normal[:, 1])  # squares of 1e38 add up to more than float32 has
        deviation = mean_and_deviation(values)[1]
        assert deviation.dtype == dtype
        assert float(deviation[0]) == 0.0
        exact = torch.tensor([exact_deviation(column) for column in values.T.tolist()], dtype=torch.float64)
        u = torch.finfo(dtype).eps / 2
        cancelling = torch.arange(40) != 1
        slack = 2 * (rows + 4) * 2.0**-53 + u
        assert torch.allclose(deviation.double()[cancelling], exact[cancelling], rtol=slack, atol=0)
        assert torch.allclose(deviation.double(), exact, rtol=1.5 * (rows + 2) * u / _statistics._LEAST[dtype], atol=0)

    @pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
    def test_opposite_infinities_have_no_mean_and_give_no_warning(self, dtype: torch.dtype) -> None:
        """Of a training that has diverged; a warning is an error here."""
        rows = torch.zeros(3, 40, dtype=dtype)
        rows[0, 1], rows[1, 1] = torch.inf, -torch.inf
        for mean in (_statistics.mean_of(rows), mean_and_deviation(rows)[0]):
            assert mean.isnan().nonzero().tolist() == [[1]]

    def test_numbers_whose_squares_are_too_large_have_a_deviation(self) -> None:
        for dtype, large in ((torch.float32, 1e38), (torch.float64, 1e300)):
            deviation = mean_and_deviation(torch.tensor([[large], [-large]], dtype=dtype))[1]
            assert float(deviation[0]) == pytest.approx(large, rel=torch.finfo(dtype).eps)

    def test_numbers_that_are_none_stay_in_their_column(self) -> None:
        values = torch.ones(3, 4, dtype=torch.float64)
        values[1] = torch.tensor([torch.nan, torch.inf, 1.0, 1e200], dtype=torch.float64)
        mean, deviation = mean_and_deviation(values)
        assert deviation.isfinite().tolist() == [False, False, True, True]
        assert mean.isfinite().tolist() == [False, False, True, True]


def exact_deviation(column: list[float]) -> float:
    numbers = [Fraction(x) for x in column]
    mean = sum(numbers, Fraction(0)) / len(numbers)
    variance = sum(((x - mean) ** 2 for x in numbers), Fraction(0)) / len(numbers)
    # A float holds the variance of columns of either type here; its square root is off by u.
    return math.sqrt(variance)


def assert_mean_and_deviation(values: Tensor) -> None:
    """Compare with torch's, which centre first; the bounds are those of mean_and_deviation(), u = 2^-53 and L = 2^-10.

    A centred column is off by its mean's error, which is that of k numbers of the column's size.
    """
    mean, deviation = mean_and_deviation(values)
    k, largest, u = len(values), float(values.abs().max()), 2.0**-53
    slack = 2 * (k + 1) * largest * u
    assert torch.allclose(mean, values.mean(dim=0), rtol=0, atol=slack)
    assert torch.allclose(deviation, values.std(dim=0, correction=0), rtol=3 * (k + 2) * u * 2**10, atol=slack)


def distance(a: list[float], b: list[float]) -> float:
    return math.fsum((x - y) ** 2 for x, y in zip(a, b, strict=True))


DIRECTIONS: dict[str, Callable[[list[float], list[float]], list[float]]] = {
    "unit": lambda mean, _: [-m / math.sqrt(math.fsum(x * x for x in mean)) for m in mean],
    "deviation": lambda _, deviation: [-s for s in deviation],
    "sign": lambda mean, _: [-math.copysign(1.0, m) for m in mean],
}


class TestMinMaxAndMinSum:
    def bisected(self, world: World, direction: str, allowed: Callable[[list[float]], bool]) -> list[float]:
        """The largest gamma, by bisection as the paper finds it."""
        honest = rows_of(world.honest)
        mean, step = mean_of(honest), DIRECTIONS[direction](mean_of(honest), deviation_of(honest))
        low, high = 0.0, 1e4
        for _ in range(80):
            gamma = (low + high) / 2
            low, high = (
                (gamma, high) if allowed([m + gamma * s for m, s in zip(mean, step, strict=True)]) else (low, gamma)
            )
        return [m + low * s for m, s in zip(mean, step, strict=True)]

    @pytest.mark.parametrize("direction", list(DIRECTIONS))
    @given(world=worlds)
    def test_the_largest_gamma_is_the_bisected_one(self, direction: str, world: World) -> None:
        honest = rows_of(world.honest)
        diameter = max(distance(a, b) for a, b in itertools.product(honest, honest))
        least = min(math.fsum(distance(a, b) for b in honest) for a in honest)
        expected = {
            # Beyond by rounding only: 1e-12 of the diameter.
            "min_max": self.bisected(
                world, direction, lambda row: max(distance(row, a) for a in honest) <= diameter * (1 + 1e-12)
            ),
            "min_sum": self.bisected(
                world, direction, lambda row: math.fsum(distance(row, a) for a in honest) <= least * (1 + 1e-12)
            ),
        }
        for name, row in expected.items():
            found = sent(name, world, direction=direction)
            # Where gamma is 0, rounding of 1e-12 in a square is 1e-6 in a length.
            assert torch.allclose(found, torch.tensor(row, dtype=torch.float64).expand_as(found), rtol=1e-5, atol=1e-5)

    def test_without_a_direction_the_mean_is_sent(self) -> None:
        world = kit.make_world()
        zero = replace(world, honest=torch.zeros_like(world.honest))
        for name in ("min_max", "min_sum"):
            for direction in DIRECTIONS:
                assert not bool(sent(name, zero, direction=direction).any())


def slow_krum(rows: list[list[float]], tolerate: int) -> int:
    neighbours = max(len(rows) - tolerate - 2, 1)
    scores = [
        math.fsum(sorted(distance(row, other) for j, other in enumerate(rows) if j != i)[:neighbours])
        for i, row in enumerate(rows)
    ]
    return scores.index(min(scores))


class TestTheAttackOnKrum:
    @given(world=worlds)
    def test_krums_choice_is_that_of_the_definition(self, world: World) -> None:
        rows = torch.cat([world.own, world.honest])
        f = len(world.own)
        assert torch.equal(choice(rows, tolerate=f), rows[slow_krum(rows_of(rows), f)])

    @given(world=worlds, length=st.floats(0.001, 3.0))
    def test_whether_krum_takes_the_bait_is_what_krum_does(self, world: World, length: float) -> None:
        f = len(world.own)
        direction = world.own[0].sign()
        bait = Bait.of(world.honest, direction)
        crafted = (-length * direction).expand(f, -1)
        chosen = slow_krum(rows_of(torch.cat([world.honest, crafted])), f) >= len(world.honest)
        assert bait.chosen(length, copies=f, tolerate=f) == chosen

    @given(world=worlds)
    def test_no_bait_beyond_the_bound_is_taken(self, world: World) -> None:
        """Theorem 1 of Fang et al., for n > 2 f + 2."""
        f = len(world.own)
        if world.n <= 2 * f + 2:
            return
        bait = Bait.of(world.honest, world.own[0].sign())
        bound = bait.bound(copies=f, tolerate=f)
        assert not any(bait.chosen(bound * factor, copies=f, tolerate=f) for factor in (1.001, 1.5, 4.0, 100.0))

    def test_krum_chooses_what_the_attack_sends(self) -> None:
        for seed in range(20):
            world = kit.make_world(f=4, honest=9, d=5, seed=seed)
            rows = sent("krum_attack", world, epsilon=1e-9)
            number = slow_krum(rows_of(torch.cat([world.honest, rows])), 4)
            assert number >= len(world.honest)
            against = choice(torch.cat([world.own, world.honest]), tolerate=4)
            assert float(rows[0] @ against) < 0

    def test_supporters_are_near_and_different(self) -> None:
        rows = sent("krum_attack", kit.make_world(f=4, honest=9), epsilon=0.1)
        distances = (rows - rows[0]).norm(dim=1)
        assert bool((distances[1:] > 0).all())
        assert float(distances.max()) <= 0.1

    @pytest.mark.parametrize("value", [1e150, 1e154, 1e200, math.inf, -math.inf, math.nan])
    def test_rows_whose_squares_are_beyond_all_numbers_leave_the_attack_harmless(self, value: float) -> None:
        """It ends; its own rows come from the attack before it in a combination, which may send anything."""
        world = kit.make_world()
        world = replace(world, own=torch.full_like(world.own, value))
        for name in ("krum_attack_partial", "krum_attack"):
            assert sent(name, world).shape == world.own.shape
        length, chosen = longest_chosen(Bait.of(world.own, torch.ones(11, dtype=torch.float64)), copies=1, tolerate=1)
        assert math.isfinite(length)
        assert not chosen or abs(value) == 1e150

    def test_with_partial_knowledge_the_own_updates_stand_for_all(self) -> None:
        world = kit.make_world(f=6, honest=3)
        rows = sent("krum_attack_partial", world, epsilon=1e-9)
        direction = world.own.mean(dim=0).sign()
        lengths = [
            longest_chosen(Bait.of(world.own, direction), copies=copies, tolerate=copies) for copies in range(1, 6)
        ]
        first = next((length for length, chosen in lengths if chosen), lengths[-1][0])
        assert torch.allclose(rows[0], -first * direction)


class TestTheAttackOnTheTrimmedMean:
    @given(world=worlds)
    def test_each_value_is_beyond_the_honest_ones_against_their_direction(self, world: World) -> None:
        rows = sent("trimmed_mean_attack", world)
        for j in range(rows.shape[1]):
            honest = world.honest[:, j].tolist()
            total = math.fsum(honest) + math.fsum(world.own[:, j].tolist())
            low, high = min(honest), max(honest)
            if total > 0:
                span = (2 * low, low) if low < 0 else (low / 2, low)
            else:
                span = (high, 2 * high) if high > 0 else (high, high / 2)
            assert all(span[0] - 1e-12 <= value <= span[1] + 1e-12 for value in rows[:, j].tolist())

    @given(world=worlds)
    def test_with_partial_knowledge_it_is_three_to_four_deviations_away(self, world: World) -> None:
        rows = sent("trimmed_mean_attack_partial", world)
        mean = torch.tensor(mean_of(rows_of(world.own)), dtype=torch.float64)
        deviation = torch.tensor(deviation_of(rows_of(world.own)), dtype=torch.float64)
        steps = (mean - rows) * torch.where(mean > 0, 1.0, -1.0)
        assert bool((steps >= 3 * deviation - 1e-12).all())
        assert bool((steps <= 4 * deviation + 1e-12).all())

    def test_senders_draw_by_themselves(self) -> None:
        for name in ("trimmed_mean_attack", "trimmed_mean_attack_partial"):
            rows = sent(name, kit.make_world())
            assert not torch.equal(rows[0], rows[1])

    def test_a_factor_that_does_not_go_beyond_is_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"factor = 1\.0 is not allowed; allowed: a finite number > 1"):
            attacks.resolve({"name": "trimmed_mean_attack", "factor": 1.0})


class TestSearchesAgainstTheDefence:
    def moved(self, world: World, rows: Tensor) -> float:
        return float((world.aggregate(rows) - world.honest.mean(dim=0)).norm())

    @given(peak=st.floats(0.0, 50.0), height=st.floats(0.5, 3.0))
    def test_a_single_peak_is_found_to_within_its_last_step(self, peak: float, height: float) -> None:
        """Twenty evaluations, of which at most six double: steps end below 32 x 0.8^12."""
        found = maximise(lambda x: -height * abs(x - peak), evaluations=20)
        assert abs(found - peak) <= 32 * 0.8**12 + 1.0

    def test_never_more_evaluations_than_allowed_and_never_below_zero(self) -> None:
        for count in range(2, 30):
            tried: list[float] = []

            def score(x: float, tried: list[float] = tried) -> float:
                tried.append(x)
                return -x

            assert maximise(score, evaluations=count) == 0.0
            assert len(tried) == count
            assert min(tried) >= 0.0

    def test_a_score_that_is_not_a_number_counts_as_the_lowest_at_the_start_too(self) -> None:
        assert maximise(lambda x: x if x else math.nan, evaluations=5) > 1.0

    def test_a_score_that_is_not_a_number_is_never_the_best(self) -> None:
        assert maximise(lambda x: math.nan if x > 2.5 else x, evaluations=20) <= 2.5

    @pytest.mark.parametrize("name", ["optimal_alie", "optimal_ipm", "adaptive"])
    @given(world=worlds)
    def test_what_is_sent_moves_the_result_more_than_honest_means_and_plain_attacks(
        self, name: str, world: World
    ) -> None:
        reached = self.moved(world, sent(name, world))
        mean = world.honest.mean(dim=0)
        # Start and first step of the searches; with as few evaluations as this, both are tried.
        plain = {
            "optimal_alie": [mean, mean - world.honest.std(dim=0, correction=0)],
            "optimal_ipm": [0 * mean, -mean],
            "adaptive": [mean],
        }[name]
        assert all(reached >= self.moved(world, row.expand_as(world.own)) - 1e-9 for row in plain)

    @pytest.mark.parametrize("name", ["optimal_alie", "optimal_ipm"])
    def test_the_search_is_as_good_as_a_fine_grid_where_the_rule_is_the_mean(self, name: str) -> None:
        """Against a mean more is always better: the search ends at the largest factor that it can reach, 2^19 - 1."""
        world = kit.make_world()
        honest = world.honest
        mean = replace(world, aggregate=lambda rows: torch.cat([rows, honest]).mean(dim=0))
        row = sent(name, mean)[0]
        step = -honest.std(dim=0, correction=0) if name == "optimal_alie" else -honest.mean(dim=0)
        start = honest.mean(dim=0) if name == "optimal_alie" else 0.0
        assert torch.allclose((row - start) / step, torch.full_like(row, 2.0**19 - 1), rtol=1e-6)

    def test_adaptive_is_at_least_as_strong_as_each_of_its_directions(self) -> None:
        for seed in range(10):
            world = kit.make_world(seed=seed, f=4, honest=8)
            best = self.moved(world, sent("adaptive", world))
            mean = world.honest.mean(dim=0)
            reach = float((world.honest - mean).norm(dim=1).max())
            for make in DIRECTIONS.values():
                step = torch.tensor(make(mean_of(rows_of(world.honest)), deviation_of(rows_of(world.honest))))
                row = mean + reach * step / step.norm()
                assert best >= self.moved(world, row.expand_as(world.own)) - 1e-9


class TestScaledAndProjectedUpdates:
    @given(world=worlds, strength=st.floats(0.1, 3.0))
    def test_a_scaled_flip_turns_the_mean_of_equal_updates_round(self, world: World, strength: float) -> None:
        update = world.own[0]
        equal = replace(world, own=update.expand_as(world.own))
        rows = torch.cat([sent("scaled_sign_flip", equal, strength=strength), update.expand(len(world.honest), -1)])
        assert torch.allclose(rows.mean(dim=0), -strength * update, rtol=1e-9, atol=1e-12)

    @given(world=worlds)
    def test_model_replacement_makes_the_mean_the_attackers_own(self, world: World) -> None:
        converged = torch.zeros_like(world.honest)  # near the end, honest updates cancel
        rows = torch.cat([sent("model_replacement", world), converged])
        assert torch.allclose(rows.mean(dim=0), world.own.mean(dim=0), rtol=1e-9, atol=1e-12)
        assert torch.equal(sent("model_replacement", world, factor=3.0), 3.0 * world.own)

    @given(world=worlds, radius=st.floats(0.01, 10.0))
    def test_pgd_keeps_to_its_ball_and_leaves_what_is_inside(self, world: World, radius: float) -> None:
        rows = sent("pgd", world, radius=radius)
        for row, own in zip(rows, world.own, strict=True):
            length = math.sqrt(math.fsum(x * x for x in own.tolist()))
            assert near(row, [x * min(1.0, radius / length) for x in own.tolist()])

    def test_pgd_takes_the_last_global_step_for_its_radius(self) -> None:
        world = kit.make_world()
        assert world.previous is not None
        short = replace(world, previous=0.1 * world.previous)
        length = float(short.previous.norm()) if short.previous is not None else 0.0
        assert torch.allclose(sent("pgd", short).norm(dim=1), torch.full((3,), length, dtype=torch.float64))
        assert torch.equal(sent("pgd", replace(world, previous=None)), world.own)
        assert not bool(sent("pgd", replace(world, previous=torch.zeros_like(world.previous))).any())

    @given(world=worlds, top=st.floats(0.05, 0.95))
    def test_neurotoxin_leaves_out_the_coordinates_that_moved_most(self, world: World, top: float) -> None:
        rows = sent("neurotoxin", world, top=top)
        if world.previous is None:
            assert torch.equal(rows, world.own)
            return
        sizes = world.previous.abs().tolist()
        heavy = set(sorted(range(len(sizes)), key=lambda j: -sizes[j])[: max(1, round(top * len(sizes)))])
        for j in range(rows.shape[1]):
            assert torch.equal(rows[:, j], torch.zeros_like(rows[:, j]) if j in heavy else world.own[:, j])

    @pytest.mark.parametrize("quantile", [0.0, 0.5, 1.0])
    def test_anti_clip_is_as_long_as_an_honest_update_and_points_against_their_mean(self, quantile: float) -> None:
        world = kit.make_world()
        rows = sent("anti_clip", world, quantile=quantile)
        mean = world.honest.mean(dim=0)
        length = world.honest.norm(dim=1).quantile(quantile)
        assert torch.allclose(rows.norm(dim=1), length.expand(3))
        assert torch.allclose(rows @ mean, (-length * mean.norm()).expand(3))


def slow_hybrid(world: World, density: float, scale: float, z: float, gradient: list[float]) -> list[float]:
    """Weights by size of their product with the gradient, one after another."""
    mean, deviation = mean_of(rows_of(world.honest)), deviation_of(rows_of(world.honest))
    sizes = [abs(w * g) for w, g in zip(world.model.tolist(), gradient, strict=True)]
    kept = sorted(range(len(sizes)), key=lambda j: (-sizes[j], j))[: max(1, round(density * len(sizes)))]
    return [m - (scale if j in kept else z) * s for j, (m, s) in enumerate(zip(mean, deviation, strict=True))]


class TestSparseAndRelocatedPerturbations:
    @given(world=worlds, density=st.floats(0.01, 1.0), scale=st.floats(1.0, 5.0))
    def test_the_hybrid_attack_moves_the_weights_that_pruning_keeps_farther(
        self, world: World, density: float, scale: float
    ) -> None:
        gradient = mean_of(rows_of(world.honest))
        found = sent("hybrid_sparse", world, density=density, scale=scale, z=0.3)
        assert near(found, slow_hybrid(world, density, scale, 0.3, gradient))

    def test_its_mask_stays_what_it_was_in_the_first_round(self) -> None:
        first = kit.make_world(f=2, honest=6, d=20, seed=1)
        sent("hybrid_sparse", first, density=0.2)
        later = replace(kit.make_world(f=2, honest=6, d=20, seed=2), memory=first.memory)
        found = sent("hybrid_sparse", later, density=0.2, scale=2.0, z=0.3)
        stayed = slow_hybrid(replace(later, model=first.model), 0.2, 2.0, 0.3, mean_of(rows_of(first.honest)))
        assert near(found, stayed)
        assert not near(found, slow_hybrid(later, 0.2, 2.0, 0.3, mean_of(rows_of(later.honest))))

    def test_its_other_weights_are_moved_as_by_alie(self) -> None:
        world = kit.make_world(f=3, honest=7, d=40)
        off = (sent("hybrid_sparse", world, density=0.1)[0] - sent("alie", world)[0]).abs()
        assert int((off > 1e-12).sum()) == 4

    @given(world=worlds.filter(lambda world: world.own.shape[1] > 1), size=st.floats(0.1, 5.0), angle=st.floats(0, 360))
    def test_rop_sends_a_vector_of_its_length_at_its_angle_from_the_last_step(
        self, world: World, size: float, angle: float
    ) -> None:
        """Numbers of about 1, and quotients by lengths that are no smaller than a thousandth: 1e-9 is generous."""
        mean = world.honest.mean(dim=0)
        step = torch.zeros_like(mean) if world.previous is None else world.previous
        seen = mean if world.previous is None else 0.9 * step + 0.1 * mean
        for relocation in (1.0, 0.25):
            found = sent("rop", world, size=size, angle=angle, relocation=relocation)
            moved = found[0] - relocation * step - (1 - relocation) * mean
            assert float(moved.norm()) == pytest.approx(size, rel=1e-9)
            cosine = float(moved @ seen) / float(moved.norm() * seen.norm())
            assert cosine == pytest.approx(math.cos(math.radians(angle)), abs=1e-9)
            in_the_plane = torch.linalg.lstsq(torch.stack([seen, torch.ones_like(seen)], dim=1), moved[:, None])
            left = torch.stack([seen, torch.ones_like(seen)], dim=1) @ in_the_plane.solution - moved[:, None]
            assert float(left.norm()) <= 1e-9 * size
            assert torch.equal(found, found[:1].expand_as(found))

    def test_centered_clipping_lets_all_of_rop_pass_and_cuts_a_reversed_update(self) -> None:
        """With radius 1 around the last step, the attackers' share of the drift is theirs; a far row counts as 1."""
        world = replace(kit.make_world(f=3, honest=7, d=40), previous=torch.zeros(40, dtype=torch.float64))
        rule = aggregators.make(aggregators.resolve({"name": "centered_clipping", "radius": 1.0, "iterations": 1}))

        def moved(rows: Tensor) -> Tensor:
            everybody = torch.cat([rows, world.honest / 10])
            with_attack = rule(everybody, torch.ones(10, dtype=torch.int64), 3, Given(previous=world.previous))
            without = rule(
                torch.cat([0 * rows, world.honest / 10]),
                torch.ones(10, dtype=torch.int64),
                3,
                Given(previous=world.previous),
            )
            return with_attack - without

        rows = sent("rop", world, relocation=1.0)
        assert float(moved(rows).norm()) == pytest.approx(0.3)  # three of ten, each 1 long
        assert float(moved(rows) @ world.honest.mean(dim=0)) == pytest.approx(0.0, abs=1e-9)
        assert float(moved(5 * rows).norm()) == pytest.approx(0.3)

    @pytest.mark.parametrize(
        ("name", "parameters"),
        [
            ("rop", {"angle": 400.0}),
            ("rop", {"relocation": 1.5}),
            ("rop", {"history": -0.1}),
            ("rop", {"size": 0.0}),
            ("hybrid_sparse", {"density": 0.0}),
            ("hybrid_sparse", {"density": 1.5}),
            ("hybrid_sparse", {"scale": math.nan}),
        ],
    )
    def test_parameters_that_make_no_sense_are_refused(self, name: str, parameters: dict[str, float]) -> None:
        with pytest.raises(CloisterError, match=next(iter(parameters))):
            attacks.resolve({"name": name, **parameters})


class TestSendersWithoutUpdates:
    def test_zero_constant_and_random_send_what_they_are_called(self) -> None:
        world = kit.make_world(f=4, d=1000)
        assert not bool(sent("zero", world).any())
        assert torch.equal(sent("constant", world, value=-3.0), torch.full((4, 1000), -3.0, dtype=torch.float64))
        rows = sent("random", world, radius=0.5)
        assert float(rows.abs().max()) <= 0.5
        # 4,000 uniform draws: none beyond 0.99 of the radius has probability 0.99^4000 < 1e-17.
        assert float(rows.abs().max()) > 0.495
        assert not torch.equal(rows[0], rows[1])

    def test_a_delayed_free_rider_sends_the_last_global_step(self) -> None:
        world = kit.make_world()
        assert world.previous is not None
        assert torch.equal(sent("free_rider", world, std=0.0), world.previous.expand(3, -1))
        assert not bool(sent("free_rider", kit.make_world(round_index=0), std=0.0).any())

    def test_a_disguised_free_riders_noise_fades_as_it_says(self) -> None:
        """Round 8 of decay 1: a ninth of the first round's, from the same draws."""
        first = sent("free_rider", kit.make_world(round_index=0), kind="disguised", std=1.0, decay=1.0)
        later = sent("free_rider", kit.make_world(round_index=8), kind="disguised", std=1.0, decay=1.0)
        assert torch.allclose(later, first / 9)

    def test_a_constant_free_rider_repeats_its_first_update_also_where_others_join(self) -> None:
        memory: dict[str, Any] = {}
        first = replace(kit.make_world(seed=1), memory=memory)
        sent("free_rider", first, kind="constant", std=0.0)
        second = replace(kit.make_world(seed=2), memory=memory, numbers=(0, 2, 9))
        rows = sent("free_rider", second, kind="constant", std=0.0)
        assert torch.equal(rows[:2], first.own[[0, 2]])
        assert torch.equal(rows[2], second.own[2])

    @pytest.mark.parametrize(
        ("value", "expected"), [("nan", math.nan), ("inf", math.inf), ("-inf", -math.inf), ("huge", 1e30)]
    )
    def test_hostile_numbers_are_sent_as_they_are(self, value: str, expected: float) -> None:
        rows = sent("nan_inf_huge", kit.make_world(), value=value)
        assert torch.equal(rows.nan_to_num(7.0), torch.full_like(rows, expected).nan_to_num(7.0))

    def test_a_mixture_has_all_of_them(self) -> None:
        """Six values, 10,000 draws: one missing has probability 6 (5 / 6)^10000 < 1e-700."""
        rows = sent("nan_inf_huge", kit.make_world(f=2, d=5000))
        found = {str(value) for value in rows.flatten().tolist()}
        assert found == {"nan", "inf", "-inf", "1e+30", "-1e+30", "1e-40"}


def slow_mimic(rounds: list[list[list[float]]], z: list[float], warmup: int) -> Iterator[int]:
    """The published procedure with plain lists: which honest process is copied in each round."""
    mu: list[float] = []
    victim = 0
    for t, honest in enumerate(rounds):
        if t < warmup:
            mean = mean_of(honest)
            mu = mean if t == 0 else [t / (1 + t) * a + b / (1 + t) for a, b in zip(mu, mean, strict=True)]
            total = [0.0] * len(z)
            for row in honest:
                weight = math.fsum((x - m) * w for x, m, w in zip(row, mu, z, strict=True))
                total = [c + weight * (x - m) for c, x, m in zip(total, row, mu, strict=True)]
            size = math.sqrt(math.fsum(c * c for c in total))
            total = [c / size for c in total]
            z = total if t == 0 else [t / (1 + t) * a + b / (1 + t) for a, b in zip(z, total, strict=True)]
            size = math.sqrt(math.fsum(c * c for c in z))
            z = [c / size for c in z]
            scores = [math.fsum(x * w for x, w in zip(row, z, strict=True)) for row in honest]
            victim = scores.index(max(scores))
        yield victim


class TestMimic:
    @given(seed=st.integers(0, 2**16), warmup=st.integers(1, 5))
    def test_the_copied_process_is_the_one_of_the_published_procedure(self, seed: int, warmup: int) -> None:
        memory: dict[str, Any] = {}
        worlds = [replace(kit.make_world(seed=seed + t), memory=memory, round_index=t) for t in range(7)]
        start = public_stream(seed, "attack").normal(size=11).tolist()
        expected = slow_mimic([rows_of(world.honest) for world in worlds], start, warmup)
        for world, number in zip(worlds, expected, strict=True):
            rows = sent("mimic", world, warmup_rounds=warmup)
            assert torch.equal(rows, world.honest[number].expand(3, -1))

    def test_the_direction_that_is_learnt_is_the_one_of_the_largest_variance(self) -> None:
        rng = np.random.default_rng(0)
        memory: dict[str, Any] = {}
        for t in range(30):
            honest = torch.from_numpy(rng.normal(size=(7, 11)) * np.array([5.0, *[0.3] * 10]))
            sent("mimic", replace(kit.make_world(seed=t), honest=honest, memory=memory), warmup_rounds=30)
        assert abs(float(memory["direction"][0])) > 0.95

    def test_a_victim_that_is_absent_is_replaced_for_that_round_only(self) -> None:
        memory: dict[str, Any] = {}
        world = replace(kit.make_world(), memory=memory)
        sent("mimic", world, warmup_rounds=1)
        victim = memory["victim"]
        others = [number for number in world.honest_numbers if number != victim]
        absent = replace(world, honest=world.honest[[number - 3 for number in others]], honest_numbers=tuple(others))
        assert not torch.equal(sent("mimic", absent, warmup_rounds=1)[0], world.honest[victim - 3])
        assert torch.equal(sent("mimic", world, warmup_rounds=1)[0], world.honest[victim - 3])
