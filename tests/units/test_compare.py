"""Two runs side by side: no line lost, a planted change found, the same run identical."""

import io
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from bench.compare import as_records, compare, render
from bench.trials import IDENTITY
from protocols.check import CloisterError


def run(accuracies: dict[str, list[float]] | None = None) -> pd.DataFrame:
    """Results with the given accuracies by attack, one for each seed."""
    accuracies = accuracies or {"none": [0.9, 0.91, 0.92], "ipm": [0.5, 0.52, 0.55], "alie": [0.7, 0.72, 0.69]}
    return pd.DataFrame(
        [
            dict.fromkeys(IDENTITY, "none")
            | {"n": 20, "f": 3, "cluster_size": 4, "rounds": 5, "attack": attack, "seed": seed}
            | {"status": "ok", "error": "", "accuracy": value, "loss": 1 - value}
            | {"bytes_total": 1000.0, "runtime_s": 2.0}
            for attack, values in accuracies.items()
            for seed, value in enumerate(values)
        ]
    )


def fail(
    results: pd.DataFrame, attack: str, error: str, status: str = "failed", seeds: tuple = (0, 1, 2)
) -> pd.DataFrame:
    changed = results.copy()
    lost = (changed["attack"] == attack) & changed["seed"].isin(seeds)
    changed.loc[lost, ["accuracy", "loss", "bytes_total", "runtime_s"]] = math.nan
    changed.loc[lost, "status"], changed.loc[lost, "error"] = status, error
    return changed


def verdicts(a: pd.DataFrame, b: pd.DataFrame) -> dict[str, str]:
    found = compare(a, b)
    return dict(zip(found["attack"], found["verdict"], strict=True))


def shifted(attack: str, by: float) -> pd.DataFrame:
    results = run()
    results.loc[results["attack"] == attack, "accuracy"] += by
    return results


def text(comparison: pd.DataFrame, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(render(comparison))
    return console.export_text()


def test_a_run_is_identical_to_itself() -> None:
    assert set(compare(run(), run())["verdict"]) == {"identical"}


def test_the_order_of_the_lines_changes_nothing() -> None:
    assert set(compare(run(), run().iloc[::-1])["verdict"]) == {"identical"}


@pytest.mark.parametrize(("by", "verdict"), [(-0.1, "worse"), (0.1, "better"), (0.002, "same"), (-0.002, "same")])
def test_a_planted_change_is_found_where_it_was_planted(by: float, verdict: str) -> None:
    assert verdicts(run(), shifted("ipm", by)) == {"none": "identical", "ipm": verdict, "alie": "identical"}


def test_a_smaller_margin_finds_a_smaller_change() -> None:
    found = compare(run(), shifted("ipm", -0.002), margin=0.001)
    assert list(found["verdict"]) == ["identical", "worse", "identical"]


def test_a_change_that_seeds_disagree_on_is_unclear() -> None:
    other = run({"none": [0.9, 0.91, 0.92], "ipm": [0.3, 0.9, 0.55], "alie": [0.7, 0.72, 0.69]})
    assert verdicts(run(), other)["ipm"] == "unclear"


def test_an_equal_accuracy_with_another_loss_is_same_and_not_identical() -> None:
    other = run()
    other.loc[0, "loss"] += 1e-12
    assert verdicts(run(), other) == {"none": "same", "ipm": "identical", "alie": "identical"}


def test_one_seed_is_unclear_unless_identical() -> None:
    one, other = run({"none": [0.9], "ipm": [0.5]}), run({"none": [0.9], "ipm": [0.1]})
    assert verdicts(one, other) == {"none": "identical", "ipm": "unclear"}


@given(st.lists(st.floats(0, 1), min_size=3, max_size=3), st.lists(st.floats(0, 1), min_size=3, max_size=3))
def test_exchanging_the_runs_turns_better_into_worse(a: list[float], b: list[float]) -> None:
    opposite = {"better": "worse", "worse": "better"}
    there, back = (verdicts(*pair)["x"] for pair in ((run({"x": a}), run({"x": b})), (run({"x": b}), run({"x": a}))))
    assert back == opposite.get(there, there)


@given(st.sets(st.sampled_from("abcd")), st.sets(st.sampled_from("abcd")))
def test_every_configuration_of_either_run_has_one_line(left: set[str], right: set[str]) -> None:
    a, b = (run({"none": [0.5], **{name: [0.5] for name in sorted(names)}}) for names in (left, right))
    found = verdicts(a, b)
    assert set(found) == {"none"} | left | right
    assert len(compare(a, b)) == len(found)
    assert {name for name, verdict in found.items() if verdict == "only in A"} == left - right
    assert {name for name, verdict in found.items() if verdict == "only in B"} == right - left


def test_a_configuration_that_failed_in_b_says_why() -> None:
    assert verdicts(run(), fail(run(), "ipm", "out of memory"))["ipm"] == "failed in B: out of memory"


def test_a_configuration_skipped_in_both_for_one_reason_says_it_once() -> None:
    both = fail(run(), "ipm", "no sum", status="skipped")
    assert verdicts(both, both)["ipm"] == "skipped in both: no sum"


def test_a_configuration_lost_for_two_reasons_names_both() -> None:
    a, b = fail(run(), "ipm", "no sum", status="skipped"), fail(run(), "ipm", "")
    assert verdicts(a, b)["ipm"] == "skipped in A: no sum; failed in B: no reason given"


def test_a_single_failed_seed_is_named_in_the_note() -> None:
    found = compare(run(), fail(run(), "ipm", "lost", seeds=(1,))).set_index("attack").loc["ipm"]
    assert found["note"] == "1 failed in B"
    assert (found["pairs"], found["verdict"]) == (2, "same")


def test_a_seed_that_only_one_run_has_is_named_in_the_note() -> None:
    found = compare(run({"x": [0.5, 0.6]}), run({"x": [0.5, 0.6, 0.7]})).iloc[0]
    assert (found["note"], found["verdict"]) == ("seeds only in B: 1", "same")


def test_a_failed_trial_that_only_one_run_has_is_named_too() -> None:
    found = compare(run({"none": [0.5]}), fail(run(), "ipm", "lost")).set_index("attack").loc["ipm"]
    assert found["verdict"] == "only in B"
    assert found["note"] == "3 failed in B"


def test_ratios_are_those_of_b_to_a() -> None:
    other = run()
    other["bytes_total"] *= 2
    other["runtime_s"] /= 4
    found = compare(run(), other)
    assert set(found["bytes_ratio"]) == {2.0}
    assert set(found["runtime_ratio"]) == {0.25}


def test_runs_are_matched_whatever_their_names() -> None:
    assert set(compare(run().assign(run="x"), run().assign(run="y"))["verdict"]) == {"identical"}


def test_a_setting_of_training_that_both_record_separates_configurations() -> None:
    found = compare(run().assign(learning_rate=0.1), run().assign(learning_rate=0.2))
    assert set(found["verdict"]) == {"only in A", "only in B"}


def test_a_setting_that_neither_run_gives_matches() -> None:
    a = run().assign(cluster_size=math.nan)
    assert set(compare(a, a.copy())["verdict"]) == {"identical"}


def test_one_seed_twice_is_refused() -> None:
    with pytest.raises(CloisterError, match="run B holds two finished trials of one seed"):
        compare(run(), pd.concat([run(), run()]))


def test_an_absent_column_is_named() -> None:
    with pytest.raises(CloisterError, match="'loss'"):
        compare(run(), run().drop(columns="loss"))


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan)), min_size=1, max_size=3))
def test_the_records_are_json_without_nan(values: list[float]) -> None:
    records = as_records(compare(run({"x": values}), fail(run({"x": [0.1], "y": [0.2]}), "x", "lost")))
    assert len(json.loads(json.dumps(records, allow_nan=False))) == 2


def test_records_hold_plain_numbers() -> None:
    record = as_records(compare(run(), run()))[0]
    assert not [name for name, value in record.items() if isinstance(value, np.generic)]
    assert record["accuracy_a"] == pytest.approx(0.91)


def test_the_table_shows_what_changed_and_counts_what_did_not() -> None:
    shown = text(compare(run(), shifted("ipm", -0.1)))
    assert "worse" in shown
    assert "-0.100 ±0.000" in shown
    assert "2 identical" in shown
    assert "alie" not in shown


def test_an_error_text_is_no_markup() -> None:
    assert "[/red] [bold]" in text(compare(run(), fail(run(), "ipm", "[/red] [bold]")), width=160)


def test_comparing_nothing_says_so() -> None:
    assert "nothing to compare" in text(compare(run().iloc[:0], run().iloc[:0]))
