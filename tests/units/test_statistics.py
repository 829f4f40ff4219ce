"""Means, intervals and paired differences against scipy, and summaries that lose no trial."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from bench.statistics import MEANS, SUMMARISED, interval_by, mean_interval, paired_difference, summarise, worst_epsilon
from bench.trials import IDENTITY, STATUSES, counts, distinguishing, identity_columns, setting_text
from protocols.check import CloisterError

FINITE = st.integers(-(10**6), 10**6).map(lambda number: number / 1000)
LEVELS = st.sampled_from([0.5, 0.9, 0.95, 0.99])


def line(*, status: str = "ok", seed: float = 0, **changed: object) -> dict[str, object]:
    """One line of results; a line that is not ok has nothing measured."""
    settings = dict.fromkeys(IDENTITY, "none") | {"n": 20, "f": 3, "cluster_size": 4, "rounds": 5}
    measured = dict.fromkeys(("accuracy", *MEANS, *SUMMARISED), 1.0) | {
        "epsilon": "inf",
        "sum_exact": True,
        "diverged_round": math.nan,
    }
    if status != "ok":
        measured = dict.fromkeys(measured, math.nan)
    return {"status": status, "error": "", "seed": seed, **settings, **measured, **changed}


def table(*lines: dict[str, object]) -> pd.DataFrame:
    return pd.DataFrame(list(lines))


@given(st.lists(FINITE, min_size=2, max_size=30), LEVELS)
def test_the_interval_is_the_one_that_scipy_gives(values: list[float], level: float) -> None:
    assume(len(set(values)) > 1)
    found = mean_interval(values, level)
    low, high = stats.t.interval(level, len(values) - 1, loc=np.mean(values), scale=stats.sem(values))
    assert found.mean == pytest.approx(np.mean(values), abs=1e-9)
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert found.half_width == pytest.approx((high - low) / 2)


@given(st.lists(FINITE, max_size=10), st.lists(st.sampled_from([math.nan, math.inf, -math.inf]), max_size=5))
def test_values_that_are_not_finite_are_counted_and_change_nothing(values: list[float], lost: list[float]) -> None:
    found, without = mean_interval([*lost, *values]), mean_interval(values)
    assert (found.missing, found.count) == (len(lost), len(values))
    assert found.mean == without.mean or math.isnan(found.mean)


def test_one_value_has_a_mean_and_no_interval() -> None:
    found = mean_interval([0.5])
    assert found.mean == 0.5
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_no_value_has_neither_mean_nor_interval() -> None:
    found = mean_interval([])
    assert math.isnan(found.mean)
    assert found.count == 0


def test_equal_values_have_an_interval_of_no_length() -> None:
    found = mean_interval([0.25, 0.25, 0.25])
    assert (found.low, found.high) == (0.25, 0.25)


@pytest.mark.parametrize("level", [0, 1, 95, math.nan])
def test_a_level_that_is_no_fraction_is_refused(level: float) -> None:
    with pytest.raises(CloisterError, match="level"):
        mean_interval([1, 2], level)


def test_the_interval_covers_the_true_mean_as_often_as_its_level_says() -> None:
    draws = np.random.default_rng(0).normal(0.7, 0.1, size=(2000, 3))
    inside = [found.low <= 0.7 <= found.high for found in map(mean_interval, draws)]
    assert 0.93 < np.mean(inside) < 0.97


@given(st.lists(st.tuples(FINITE, FINITE), min_size=2, max_size=20))
def test_the_p_is_the_one_that_scipy_gives(pairs: list[tuple[float, float]]) -> None:
    a, b = (dict(enumerate(side)) for side in zip(*pairs, strict=True))
    deltas = np.array([b[seed] - a[seed] for seed in a])
    # Where the differences hardly differ, scipy warns of lost precision.
    assume(np.std(deltas) > 1e-6)
    found = paired_difference(a, b)
    assert found.p == pytest.approx(stats.ttest_rel(list(b.values()), list(a.values())).pvalue, abs=1e-9)
    assert found.mean == pytest.approx(np.mean(deltas), abs=1e-9)


def test_seeds_of_one_side_are_counted_and_do_not_enter_the_mean() -> None:
    found = paired_difference({0: 1.0, 1: 2.0, 2: math.nan, 3: 50.0}, {0: 1.5, 1: 3.0, 2: 4.0, 9: -70.0})
    assert (found.pairs, found.unpaired) == (2, 3)
    assert found.mean == pytest.approx(0.75)


def test_pairs_are_made_by_seed_and_not_by_position() -> None:
    a = pd.Series([0.1, 0.2, 0.3], index=[0, 1, 2])
    b = pd.Series([0.3, 0.1, 0.2], index=[2, 0, 1])
    assert paired_difference(a, b).mean == 0
    assert paired_difference(a, pd.Series([0.3, 0.1, 0.2], index=[0, 1, 2])).high > 0


def test_differences_that_are_all_zero_have_p_one_and_equal_others_p_zero() -> None:
    a = {0: 1.0, 1: 2.0}
    assert paired_difference(a, a).p == 1
    assert paired_difference(a, {0: 2.0, 1: 3.0}).p == 0


def test_one_pair_has_neither_interval_nor_p() -> None:
    found = paired_difference({0: 1.0}, {0: 2.0})
    assert found.mean == 1
    assert math.isnan(found.low)
    assert math.isnan(found.p)


@given(st.dictionaries(st.integers(0, 9), FINITE, min_size=2), st.dictionaries(st.integers(0, 9), FINITE, min_size=2))
def test_exchanging_the_sides_turns_the_difference_around(a: dict[int, float], b: dict[int, float]) -> None:
    there, back = paired_difference(a, b), paired_difference(b, a)
    assert there.pairs == back.pairs
    if there.pairs:
        assert there.mean == pytest.approx(-back.mean, abs=1e-12)


def test_a_seed_that_occurs_twice_is_refused() -> None:
    with pytest.raises(CloisterError, match="seed 3 twice"):
        paired_difference(pd.Series([1.0, 2.0], index=[3, 3]), {3: 1.0})


@given(st.lists(st.tuples(st.sampled_from("ab"), st.one_of(FINITE, st.just(math.nan))), min_size=1, max_size=30))
def test_each_line_of_interval_by_is_the_interval_of_its_group(values: list[tuple[str, float]]) -> None:
    frame = pd.DataFrame(values, columns=["name", "value"])
    for found in interval_by(frame, ["name"], "value").to_dict("records"):
        own = mean_interval([value for name, value in values if name == found["name"]])
        for key in ("mean", "low", "high", "count", "missing"):
            assert found[key] == pytest.approx(getattr(own, key), nan_ok=True)


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 2)), max_size=12))
def test_the_distinguishing_columns_tell_all_lines_apart(rows: list[tuple[int, int, int]]) -> None:
    frame = pd.DataFrame(rows, columns=["x", "y", "z"])
    kept = distinguishing(frame, ["x"], ["y", "z"])
    assert len(frame.drop_duplicates()) == len(frame[["x", *kept]].drop_duplicates())


def test_a_column_that_follows_from_another_is_not_distinguishing() -> None:
    frame = pd.DataFrame({"x": [0, 0, 1, 1], "y": [5, 5, 6, 6], "z": [1, 2, 1, 2]})
    assert distinguishing(frame, ["x"], ["y", "z"]) == ["z"]


@given(st.lists(st.sampled_from(STATUSES), min_size=1, max_size=12))
def test_every_line_is_counted_in_exactly_one_status(statuses: list[str]) -> None:
    found = summarise(table(*(line(status=status, seed=seed) for seed, status in enumerate(statuses))))
    assert len(found) == 1
    assert {word: found.iloc[0][word] for word in STATUSES} == {word: statuses.count(word) for word in STATUSES}


def test_a_configuration_whose_every_trial_failed_keeps_its_line() -> None:
    found = summarise(table(line(), line(status="failed", attack="ipm"), line(status="skipped", seed=math.nan, f=9)))
    assert list(found["ok"]) == [1, 0, 0]
    assert math.isnan(found.iloc[1]["accuracy"])
    assert found.iloc[2]["skipped"] == 1


def test_a_summary_holds_the_interval_over_the_finished_seeds_only() -> None:
    rows = [line(seed=seed, accuracy=value) for seed, value in enumerate([0.5, 0.7, 0.9])]
    found = summarise(table(*rows, line(seed=3, status="failed"))).iloc[0]
    own = mean_interval([0.5, 0.7, 0.9])
    assert (found["accuracy"], found["accuracy_low"], found["accuracy_high"]) == (own.mean, own.low, own.high)


def test_a_finished_trial_without_accuracy_is_counted_as_missing() -> None:
    found = summarise(table(line(accuracy=math.nan), line(seed=1))).iloc[0]
    assert (found["ok"], found["missing"], found["accuracy"]) == (2, 1, 1.0)


def test_a_summary_has_one_line_for_each_configuration_and_run() -> None:
    rows = [line(seed=seed, attack=attack, run=run) for seed in (0, 1) for attack in ("none", "ipm") for run in "ab"]
    found = summarise(table(*rows))
    assert len(found) == 4
    assert set(found["ok"]) == {2}


def test_a_setting_of_training_separates_configurations() -> None:
    found = summarise(table(line(learning_rate=0.1), line(learning_rate=0.2)))
    assert list(found["learning_rate"]) == [0.1, 0.2]
    assert "learning_rate" in identity_columns(found)


def test_two_finished_trials_of_one_seed_are_refused() -> None:
    with pytest.raises(CloisterError, match=r"two finished trials of .*seed=0"):
        summarise(table(line(), line()))


def test_an_unknown_status_is_refused() -> None:
    with pytest.raises(CloisterError, match="'lost'"):
        counts(table(line(status="lost")))


def test_an_absent_column_is_named() -> None:
    with pytest.raises(CloisterError, match="'privacy'"):
        summarise(table(line()).drop(columns="privacy"))


def test_the_summary_of_nothing_has_the_columns_of_any_summary() -> None:
    full = table(line())
    assert list(summarise(full.iloc[:0])) == list(summarise(full))


def test_one_inexact_sum_makes_the_configuration_inexact() -> None:
    rows = [line(seed=seed) for seed in range(3)]
    assert bool(summarise(table(*rows)).iloc[0]["sum_exact"])
    rows[1]["sum_exact"] = False
    assert not bool(summarise(table(*rows)).iloc[0]["sum_exact"])


def test_seeds_with_more_tainted_clusters_than_tolerated_are_counted() -> None:
    rows = [line(seed=seed, tainted_clusters=number, tolerated_clusters=1) for seed, number in enumerate([0, 1, 2, 3])]
    found = summarise(table(*rows)).iloc[0]
    assert (found["exceeded"], found["tainted_clusters"], found["tolerated_clusters"]) == (2, 3, 1)


@pytest.mark.parametrize(
    ("values", "worst"),
    [
        (["1.5", "12.25"], "12.25"),
        (["9", "inf", "10"], "inf"),
        (["inf", "unsupported"], "unsupported"),
        ([math.nan, ""], ""),
        ([], ""),
    ],
)
def test_the_worst_epsilon_is_the_weakest_guarantee(values: list[object], worst: str) -> None:
    assert worst_epsilon(values) == worst


def test_an_epsilon_that_is_no_number_is_refused() -> None:
    with pytest.raises(CloisterError, match="epsilon"):
        worst_epsilon(["1", "small"])


@pytest.mark.parametrize(
    ("value", "text"),
    [(20.0, "20"), (0.1, "0.1"), (7, "7"), ("krum", "krum"), (math.nan, "not given"), (None, "not given")],
)
def test_a_setting_reads_as_it_was_written(value: object, text: str) -> None:
    assert setting_text(value) == text
