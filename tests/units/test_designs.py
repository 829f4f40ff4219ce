"""Which design to choose at which fault rate: the rule, its words, and that nothing unsafe or unmeasured is chosen."""

import itertools
import math
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
import pytest

from bench.datasets import datasets
from bench.experiment import load_experiment
from bench.grid import expand, skip_reason
from bench.report import page as page_module
from bench.report import write_report
from bench.report.canvas import settings_of
from bench.report.design_figure import design_map
from bench.report.design_tables import choices, overview
from bench.report.designs import GOALS, Trials, among_threads, chosen, configurations_of, is_choice, trials_of
from bench.report.figures import Picture
from bench.report.study import Study, study
from bench.report.theme import LIGHT
from bench.report.wording import human_bytes
from bench.report.words import stories
from bench.store import load_results
from tests.units.test_report import ENVIRONMENT, EXPERIMENT, Page, line, rounds_of

SAFE = {"predicted_why": "", "observed_private": True, "observed_correct": True, "observed_live": True}
REST = {"observed_why": "", "exposed_processes": 0, "contradicted": "", "predicted_live": True}
LOWEST = {
    **{("additive", 2): 0.4, ("median", 2): 0.8, ("norm_check", 2): 0.9},
    **{("additive", 6): 0.1, ("median", 6): 0.7, ("norm_check", 6): 0.705},
}
BYTES = {"additive": 1e4, "median": 3e5, "norm_check": 6e5}


def lines() -> list[dict[str, Any]]:
    """Three designs at 10 and 30 %: means are never correct, the norm check never private, the median not at 30 %."""
    cells = itertools.product(BYTES, (2, 6), ("none", "alie", "ipm"), (0, 1))
    rows: list[dict[str, Any]] = []
    for number, (protocol, f, attack, seed) in enumerate(cells):
        private = protocol != "norm_check" and not (protocol == "median" and f == 6 and seed)
        rows.append(
            line(number, seed=seed, attack=attack)
            | SAFE
            | REST
            | {"protocol": protocol, "f": f, "rounds": 4, "mpc_s": 8.0, "bytes_per_process_round": BYTES[protocol]}
            | {"predicted_private": private, "predicted_correct": protocol != "additive"}
            | {"accuracy": {"none": 0.95, "alie": 0.93, "ipm": LOWEST[protocol, f]}[attack]}
        )
    return rows


def found(rows: list[dict[str, Any]] | None = None) -> Study:
    results = pd.DataFrame(lines() if rows is None else rows)
    return study(results, rounds_of(results))


def names(goal: str, rate: float, rows: list[dict[str, Any]] | None = None) -> tuple[str | None, str | None]:
    best, cheaper = chosen(trials_of(found(rows)), rate, goal)
    return best and best.design.split()[0], cheaper and cheaper.design.split()[0]


def test_each_goal_has_the_design_with_the_highest_lowest_accuracy_of_those_called_safe() -> None:
    assert names("accuracy alone", 0.1) == ("norm_check", None)
    assert names("correct", 0.1) == ("norm_check", None)
    assert names("private", 0.1) == ("median", None)
    assert names("private and correct", 0.1) == ("median", None)
    assert names("private", 0.3) == ("additive", None)  # the median was called safe with one seed only
    assert names("private and correct", 0.3) == (None, None)


def test_a_cheaper_design_within_a_point_is_named() -> None:
    """At 30 % the norm check keeps half a point more, for twice the bytes."""
    assert names("accuracy alone", 0.3) == ("norm_check", "median")
    assert names("correct", 0.3) == ("norm_check", "median")


def test_a_design_that_did_not_meet_every_attack_is_not_chosen() -> None:
    """Its worst attack may be the one that is missing."""
    rows = [each for each in lines() if (each["protocol"], each["attack"]) != ("norm_check", "ipm")]
    assert names("accuracy alone", 0.1, rows) == ("median", None)
    shown = {row[0].text: row[1] for row in overview(trials_of(found(rows))).lines}
    assert "not in all trials that others met" in shown["norm_check in clusters"].note


def lost(rows: list[dict[str, Any]], *, status: str, **which: object) -> list[dict[str, Any]]:
    """The rows, with nothing measured in one trial, or no accuracy only where it is "ok"."""
    index = next(i for i, each in enumerate(rows) if all(each[name] == value for name, value in which.items()))
    measured = {"accuracy", "loss", "mpc_s", "bytes_per_process_round", *(SAFE | REST), "predicted_correct"}
    gone = {"accuracy"} if status == "ok" else measured | {"predicted_private"}
    return [
        each | ({"status": status} | dict.fromkeys(gone, math.nan) if number == index else {})
        for number, each in enumerate(rows)
    ]


@pytest.mark.parametrize("status", ["failed", "ok"])
def test_a_design_of_which_a_trial_failed_is_not_chosen(status: str) -> None:
    """Crashing where the accuracy would be lowest must not improve a design: of the other seed it would have 90 %."""
    rows = lost(lines(), status=status, protocol="norm_check", f=2, attack="ipm", seed=0)
    assert names("accuracy alone", 0.1) == ("norm_check", None)
    assert names("accuracy alone", 0.1, rows) == ("median", None)
    own = next(each for each in trials_of(found(rows)) if each.rate == 0.1 and each.design.startswith("norm_check"))
    assert (own.failed, own.number, own.complete) == (1, 6, False)
    shown = {row[0].text: row[1] for row in overview(trials_of(found(rows))).lines}
    assert "ipm, 1 of 6 failed" in shown["norm_check in clusters"].note
    assert "failed" not in shown["median in clusters"].note


def test_a_mean_of_seeds_says_so_and_the_lowest_trial_is_shown_beside_it() -> None:
    """One seed keeps 80 %, the other nothing: 40 % is what neither has."""
    apart = {("ipm", 0): 0.8, ("ipm", 1): 0.0}
    rows = [
        each | {"accuracy": apart.get((each["attack"], each["seed"]), each["accuracy"])}
        if (each["protocol"], each["f"]) == ("additive", 2)
        else each
        for each in lines()
    ]
    table = overview(trials_of(found(rows)))
    shown = {row[0].text: row[1] for row in table.lines}
    assert "lowest mean accuracy" in table.columns[1]
    assert (shown["additive in clusters"].text, shown["additive in clusters"].note.split("; ")[0]) == (
        "40.0 %",
        "ipm, 0.0 % in one trial",
    )
    assert "in one trial" not in shown["median in clusters"].note
    # Without attack nothing is lowest.
    clean = [each | ({"accuracy": 0.0} if each["attack"] == "none" else {}) for each in rows]
    assert [each.single for each in trials_of(found(clean))] == [each.single for each in trials_of(found(rows))]


def test_a_seed_that_other_designs_have_must_not_be_missing() -> None:
    rows = [each for each in lines() if (each["protocol"], each["attack"], each["seed"]) != ("norm_check", "ipm", 0)]
    assert names("accuracy alone", 0.1, rows) == ("median", None)


def test_a_design_that_always_failed_is_shown() -> None:
    rows = lines()
    for attack, seed in itertools.product(("none", "alie", "ipm"), (0, 1)):
        rows = lost(rows, status="failed", protocol="norm_check", f=2, attack=attack, seed=seed)
    assert names("accuracy alone", 0.1, rows) == ("median", None)
    shown = {row[0].text: row[1] for row in overview(trials_of(found(rows))).lines}
    assert shown["norm_check in clusters"].note == "6 of 6 failed; safe: on neither side"
    costs = {row[0].text: row[-2].text for row in overview(trials_of(found(rows))).lines}
    assert costs["norm_check in clusters"] == human_bytes(6e5)  # at the other rate
    assert sum(each.number for each in trials_of(found(rows))) == len(rows)


def in_two(axis: str, easy: object, hard: object, worse: dict[str, float]) -> list[dict[str, Any]]:
    """The lines in two environments; in the hard one accuracies are lower by what is said of the protocol."""
    return [
        each
        | {axis: value, "key": f"{each['key']} {value}"}
        | {"accuracy": each["accuracy"] - (worse[each["protocol"]] if value == hard else 0.0)}
        for each in lines()
        for value in (easy, hard)
    ]


ENVIRONMENTS = [("dataset", "digits", "iris"), ("placement", "uniform", "worst"), ("crashed", 0, 3), ("rounds", 4, 8)]


@pytest.mark.parametrize(("axis", "easy", "hard"), ENVIRONMENTS, ids=str)
def test_what_no_designer_chooses_is_met_at_its_worst(axis: str, easy: object, hard: object) -> None:
    """The norm check keeps most on average over both environments (.75), and less than the median in the hard one."""
    rows = in_two(axis, easy, hard, {"additive": 0.0, "median": 0.15, "norm_check": 0.3})
    own = trials_of(found(rows))
    assert {each.design for each in own} == {f"{protocol} in clusters" for protocol in BYTES}
    assert names("accuracy alone", 0.1, rows) == ("median", None)
    lowest = {each.design.split()[0]: each.lowest for each in own if each.rate == 0.1}
    assert lowest == pytest.approx({"additive": 0.4, "median": 0.65, "norm_check": 0.6})
    cells = configurations_of(found(rows))
    assert cells[0.1, "norm_check in clusters", "ipm"]["accuracy"] == pytest.approx(0.6)


@pytest.mark.parametrize(("axis", "easy", "hard"), ENVIRONMENTS, ids=str)
def test_what_no_designer_chooses_makes_no_study_of_designs(axis: str, easy: object, hard: object) -> None:
    rows = [each for each in in_two(axis, easy, hard, dict.fromkeys(BYTES, 0.1)) if each["protocol"] == "median"]
    assert not is_choice(found(rows))


def test_an_environment_that_only_others_met_may_be_the_worst() -> None:
    rows = in_two("dataset", "digits", "iris", dict.fromkeys(BYTES, 0.0))
    assert names("accuracy alone", 0.1, rows) == ("norm_check", None)
    easier = [each for each in rows if (each["protocol"], each["dataset"]) != ("norm_check", "iris")]
    assert names("accuracy alone", 0.1, easier) == ("median", None)


def test_designs_of_joined_runs_are_compared() -> None:
    assert names("accuracy alone", 0.1, [each | {"run": each["protocol"]} for each in lines()]) == ("norm_check", None)


def test_a_pair_of_threads_and_processes_is_noted() -> None:
    hidden = [each | {"protocol": "hidden(delegates=5)"} if each["protocol"] == "median" else each for each in lines()]
    assert among_threads(found(hidden))
    assert not among_threads(found())
    assert not among_threads(found([each for each in hidden if each["protocol"].startswith("hidden")]))


def test_one_unsafe_trial_is_enough_not_to_be_called_safe() -> None:
    rows = lines()
    rows[next(i for i, each in enumerate(rows) if each["protocol"] == "median")]["predicted_private"] = False
    assert names("private and correct", 0.1, rows) == (None, None)
    line_ = next(
        row
        for row in choices(trials_of(found(rows))).lines
        if [cell.text for cell in row[:2]] == ["10.0 %", "private and correct"]
    )
    assert line_[2].text == "none"
    assert line_[2].note == "closest: median in clusters, called safe in 5 of 6 trials"


def test_flags_that_were_read_from_a_file_are_words() -> None:
    rows = [each | {"predicted_private": str(each["predicted_private"])} for each in lines()]
    assert names("private and correct", 0.1, rows) == names("private and correct", 0.1)


def test_costs_are_those_of_a_round() -> None:
    (best, _) = chosen(trials_of(found()), 0.1, "private")
    assert best is not None
    assert (best.sent, best.seconds) == (3e5, 2.0)
    assert best.accuracy == pytest.approx({"none": 0.95, "alie": 0.93, "ipm": 0.8})
    assert best.number == 6


@pytest.mark.parametrize("changed", [{"f": 2}, {"protocol": "median"}, {"attack": "none"}, {"predicted_private": None}])
def test_without_several_rates_designs_attacks_or_verdicts_there_is_nothing_to_choose(changed: dict[str, Any]) -> None:
    rows = [each | changed | {"seed": number} for number, each in enumerate(lines())]
    assert not is_choice(found(rows))
    assert choices(trials_of(found(rows))).lines == ()


def test_a_design_is_told_by_what_varies() -> None:
    rows = [each | {"pre": "nnm" if each["protocol"] == "additive" else "none"} for each in lines()]
    rows = [
        each | {"cluster_size": 3 if each["protocol"] == "median" else 5, "worker": each["protocol"]} for each in rows
    ]
    assert [each.design for each in trials_of(found(rows)) if each.rate == 0.1] == [
        "additive in clusters of 5, then nnm, worker additive",
        "median in clusters of 3, worker median",
        "norm_check in clusters of 5, worker norm_check",
    ]


def nothing_drawn(*_: object) -> Picture:
    return Picture(light=b"", dark=b"", width=1, height=1)


def test_the_page_opens_with_the_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "draw", nothing_drawn)
    results = pd.DataFrame(lines())
    page = Page(write_report(tmp_path, results, rounds_of(results), [ENVIRONMENT], [EXPERIMENT]).read_text("utf-8"))
    assert "Which design to choose at which fault rate" in page.text
    assert page.text.index("Which design to choose") < page.text.index("Verdict and outcome")
    assert "closest: median in clusters, called safe in 3 of 6 trials" in page.text
    assert "compare their bytes, not their seconds" not in page.text


def test_the_page_says_what_ran_among_threads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_module, "draw", nothing_drawn)
    results = pd.DataFrame(lines()).replace({"protocol": {"median": "hidden"}})
    page = Page(write_report(tmp_path, results, rounds_of(results), [ENVIRONMENT], [EXPERIMENT]).read_text("utf-8"))
    assert "compare their bytes, not their seconds" in page.text


def test_every_design_is_drawn_at_every_rate_with_its_verdicts() -> None:
    with mpl.rc_context(settings_of(LIGHT)):
        figure = design_map(found(), LIGHT)
    panels = figure.axes[:-1]  # the last one is the scale of colours
    assert [axes.get_title(loc="left") for axes in panels] == ["10.0 % Byzantine", "30.0 % Byzantine"]
    words = [text.get_text() for axes in panels for text in axes.texts]
    assert words.count("unsafe") == 4  # of three designs at two rates: means are not correct, the check is not private
    assert words.count("safe in 3 of 6") == 1
    assert sum(word.startswith(".") for word in words) == 3 * 2 * 3
    assert not stories(found())["accuracy-by-attack"].absent
    assert "not drawn" not in stories(found())["accuracy-by-attack"].caption


def test_no_trial_is_counted_twice_and_every_goal_is_asked() -> None:
    trials = trials_of(found())
    assert sum(each.number for each in trials) == len(lines())
    assert all(isinstance(each, Trials) and set(each.safe) == set(GOALS) for each in trials)
    assert len(choices(trials).lines) == 2 * len(GOALS)


def test_every_cell_of_the_preset_can_be_run_and_its_designs_differ() -> None:
    """On digits: MNIST may not be there."""
    cells = expand(load_experiment("encrypted_robust").with_settings({"dataset": ["digits"]}))
    data = datasets.make(datasets.resolve("digits")).load(None)
    assert [reason for cell in cells if (reason := skip_reason(cell, data))] == []
    assert {cell.f / cell.n for cell in cells} == {0.1, 0.2, 0.3}
    designs = {(cell.labels()["protocol"], cell.labels()["pre"], cell.cluster_size) for cell in cells}
    assert len(designs) == 5


ROOT = Path(__file__).parents[2]
IN_THE_README = {
    "encrypted sums of 3, opened means, median": "additive in clusters of 3, then median",
    "the same, NNM before a trimmed mean": "additive in clusters of 3, then nnm and trimmed_mean",
    "sums of 3 that stay hidden among 5 delegates, median": "hidden(delegates=5) in clusters of 3, then median",
    "norm check in clusters of 3, median": "norm_check(norm=2.0) in clusters of 3, then median",
    "median in clusters of 5, median": "median in clusters of 5, then median",
}


def two_decimals(value: float) -> str:
    return f"{value:.2f}".removeprefix("0")


def test_the_readmes_table_of_designs_is_that_of_the_committed_results() -> None:
    """What the last line says it ought to be is what to write there once the report has been made again."""
    results = load_results(ROOT / "reports" / "encrypted_robust")
    own = {(each.design, each.rate): each for each in trials_of(study(results, rounds_of(results)))}
    expected: list[str] = []
    for name, design in IN_THE_README.items():
        trials = [own[design, rate] for rate in (0.1, 0.2, 0.3)]
        accuracies = [
            two_decimals(each.lowest) + (f" ({two_decimals(each.single)})" if each.single < each.lowest - 0.01 else "")
            for each in trials
        ]
        sent = max(each.sent for each in trials) / 1e6
        expected.append(f"| {name} | {' | '.join(accuracies)} | {f'{sent:.2f}' if sent < 1 else f'{sent:.1f}'} MB |")
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line_ for line_ in lines if line_.split(" | ")[0].removeprefix("| ") in IN_THE_README] == expected
    assert (len({each.number for each in own.values()}), len(expected)) == (1, 5)
