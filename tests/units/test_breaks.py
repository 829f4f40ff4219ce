"""The report's tables of which attack breaks which rule, and the known results that they have to show."""

import math
from pathlib import Path

import pandas as pd
import pytest

from bench.report import breaks
from bench.report.effects import effects
from bench.report.study import Study, study
from bench.report.tables import Table
from bench.store import load_results
from tests.units.test_report import results_of, rounds_of

ATTACKS = Path(__file__).parents[2] / "reports" / "attacks"
BY_RULE = {
    ("mean", "none"): {"none": 0.9, "ipm": 0.1, "alie": 0.88, "zero": 0.8},
    ("krum", "none"): {"none": 0.7, "ipm": 0.68, "alie": 0.39, "zero": 0.64},
    ("krum", "nnm"): {"none": 0.9, "ipm": 0.7, "alie": 0.85, "zero": 0.655},
}


def study_of(by_rule: dict[tuple[str, str], dict[str, float]] = BY_RULE) -> Study:
    tables: list[pd.DataFrame] = []
    for number, ((rule, pre), accuracies) in enumerate(by_rule.items()):
        table = results_of(tuple(accuracies), privacies=("none",), aggregator=rule, pre=pre)
        table["accuracy"] = table["attack"].map(accuracies) + 0.01 * (table["seed"] - 0.5)
        tables.append(table.assign(key=table["key"] + f"-{number}"))
    results = pd.concat(tables, ignore_index=True)
    return study(results, rounds_of(results))


def texts(table: Table) -> list[list[str]]:
    return [[cell.text for cell in line] for line in table.lines]


def test_each_attack_of_a_rule_breaks_it_hurts_it_or_does_neither() -> None:
    """Losses of 80, 2 and 10 points of the mean; of 2, 31 and 6 of Krum."""
    found = study_of()
    table = breaks.breaks(found, effects(found))
    assert table.columns[-4:] == ("without attack", "broken by", "hurt by", "withstands")
    assert {tuple(line[-4:]) for line in texts(table)} == {
        ("90.0 %", "ipm −80.0", "zero −10.0", "1 of 3"),
        ("70.0 %", "alie −31.0", "zero −6.0", "1 of 3"),
        ("90.0 %", "–", "zero −24.5, ipm −20.0, alie −5.0", "0 of 3"),
    }
    shown = [line[-4:-2] for line in table.lines]
    assert {cells[1].tone for cells in shown} == {"bad", "soft"}


def test_what_comes_before_a_rule_is_set_beside_the_rule_alone() -> None:
    (line,) = texts(breaks.restored(study_of()))
    assert line[-5:] == ["+20.0", "3 of 3", "0", "+46.0 alie", "+1.5 zero"]
    assert {"krum", "nnm"} <= set(line)


def test_without_a_partner_a_baseline_or_several_attacks_there_is_nothing_to_say() -> None:
    alone = study_of({key: value for key, value in BY_RULE.items() if key[1] == "none"})
    assert texts(breaks.restored(alone)) == []
    one = study_of({("mean", "none"): {"none": 0.9, "ipm": 0.1}})
    assert texts(breaks.breaks(one, effects(one))) == []
    lost = study_of({("mean", "none"): {"ipm": 0.1, "alie": 0.2}})
    (line,) = texts(breaks.breaks(lost, effects(lost)))
    assert line[-4:] == ["–", "–", "–", "0 of 0"]
    results = results_of(privacies=("none",))
    older = study(results, rounds_of(results))
    assert "pre" not in older.summary
    assert texts(breaks.restored(older)) == []


def test_a_failed_trial_is_in_neither_column() -> None:
    found = study_of()
    results = found.results.copy()
    gone = (results["aggregator"] == "mean") & (results["attack"] == "ipm")
    results.loc[gone, ["accuracy", "status"]] = [math.nan, "failed"]
    after = study(results.drop(columns="block"), rounds_of(results))
    lines = texts(breaks.breaks(after, effects(after)))
    assert ["90.0 %", "–", "zero −10.0", "1 of 2"] in [line[-4:] for line in lines]


def test_who_leads_a_rule_is_told_where_it_was_measured() -> None:
    """Krum uses one update of 20: the attackers' in three rounds of four, then in one, then in none."""
    found = study_of({key: value for key, value in BY_RULE.items() if key[1] == "none"})
    results = found.results.drop(columns="block").assign(excluded_clusters=math.nan, process_recall=math.nan)
    krum = results["aggregator"] == "krum"
    taken = results["attack"].map({"ipm": 0.75, "alie": 0.25, "zero": 0.0, "none": 1.0})
    results.loc[krum, "excluded_clusters"], results.loc[krum, "process_recall"] = 19, 1 - taken[krum] / 3
    single = study(results.assign(clusters=20), rounds_of(results))
    table = breaks.breaks(single, effects(single))
    assert table.columns[-1] == "led by"
    assert sorted(line[-1] for line in texts(table)) == ["ipm 75 %", "–"]
    clustered = study(results, rounds_of(results))
    assert breaks.breaks(clustered, effects(clustered)).columns[-1] == "withstands"


# ---- known results, in the committed report


def single_updates() -> pd.DataFrame:
    table = load_results(ATTACKS)
    return table[(table["clustering"] == "singletons") & (table["status"] == "ok")]


@pytest.fixture(scope="module")
def committed() -> pd.DataFrame:
    """Mean accuracies of single updates, by attack and rule."""
    return single_updates().pivot_table(index="attack", columns=["pre", "aggregator"], values="accuracy")


def test_the_plain_mean_collapses_under_inner_product_manipulation(committed: pd.DataFrame) -> None:
    """Xie, Koyejo and Gupta 2020: a large enough multiple of the mean, turned round, turns the plain mean round.

    Ten classes: a tenth is a guess. The rules withstand it to a point.
    """
    row = committed.loc["ipm(tau=10.0)"]
    assert row["none", "mean"] < 0.15
    assert committed.loc["none"]["none", "mean"] > 0.85
    assert row.drop(("none", "mean")).min() > 0.6


def test_a_little_is_enough_against_krum() -> None:
    """Baruch, Baruch and Goldberg 2019: within the deviation of honest updates Krum chooses the attacker's.

    With the z of the paper it does in every round, and one attacker of four is then not among the 19 left out. 1.5
    deviations are too many, and the mean turned round tenfold is never chosen.
    """
    single = single_updates()
    krum = single[(single["aggregator"] == "krum") & (single["pre"] == "none")].set_index("attack")
    assert set(krum["n"] - krum["excluded_clusters"]) == {1}
    chosen = {name: krum["f"][name] * (1 - krum["process_recall"][name]) for name in krum.index}
    assert chosen["alie"] == pytest.approx(1.0)
    assert chosen["alie(z=1.5)"] == chosen["ipm(tau=10.0)"] == pytest.approx(0.0)


def test_nearest_neighbour_mixing_restores_heterogeneous_data(committed: pd.DataFrame) -> None:
    """Allouah et al. 2023: before a trimmed mean, on classes dealt unevenly, it is better under most attacks."""
    gained = committed["nnm", "trimmed_mean"] - committed["none", "trimmed_mean"]
    assert gained["none"] > 0.005
    assert (gained > 0).mean() > 0.8
    assert gained.max() > 0.1
