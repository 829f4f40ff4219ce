"""`bench tolerance` as a user runs it: readable lines, one object, tables, and mistakes in one line."""

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bench import cli, simulation, tolerance
from bench.tolerance.wording import shown
from protocols import playable
from protocols.check import CloisterError
from protocols.playable import cluster_protocols, conditions_under
from protocols.secure_robust import robust_statistics
from protocols.testing import refusal
from protocols.tolerance.conditions import Conditions
from protocols.tolerance.schemes import SCHEMES
from tests.command import run_bench

BENCH = Path(sys.executable).with_name("bench")
PROMISED = {
    *("n", "faulty", "cluster_sizes", "protocol", "threshold", "policy", "aggregator", "p_private_fail"),
    *("p_correct_fail", "p_live_fail", "p_fail", "union_bound", "worst_case_faulty", "best_cluster_size", "seconds"),
}


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: str) -> tuple[int, str, str]:
    return run_bench(capsys, monkeypatch, "tolerance", *words)


def test_the_installed_command_answers_in_a_few_lines() -> None:
    words = ["--n", "100", "--faulty", "0.2", "--cluster-size", "10", "--threshold", "c/2"]
    ended = subprocess.run([BENCH, "tolerance", *words], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    lines = ended.stdout.splitlines()
    assert len(lines) <= 10
    assert [line.split()[0] for line in lines[1:5]] == ["private", "correct", "live", "any"]
    assert "0.243584" in lines[1]
    assert any(line.startswith("worst case: up to 4 Byzantine") for line in lines)
    assert any(line.startswith("best size:") for line in lines)


def test_json_is_one_object_with_what_is_promised(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--n", "103", "--faulty", "0.2", "--cluster-size", "10", "--threshold", "c/2", "--rounds", "100")
    code, out, _ = run(capsys, monkeypatch, *words, "--json")
    found = json.loads(out)
    assert code == 0
    assert set(found) >= PROMISED
    assert (found["n"], found["faulty"], sum(found["cluster_sizes"])) == (103, 20, 103)
    assert max(found["cluster_sizes"]) - min(found["cluster_sizes"]) <= 1
    assert 0 < found["p_private_fail"] <= found["p_fail"] <= found["union_bound"]
    assert found["worst_case_faulty"] == 4
    assert found["p_fail_over_rounds"] >= found["p_fail"]


def test_a_range_is_a_table_and_a_list(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--n", "100", "--faulty", "3", "--cluster-size", "3:12", "--protocol", "additive")
    found = json.loads(run(capsys, monkeypatch, *words, "--json")[1])
    assert [record["n"] for record in found] == [100] * 10
    table = run(capsys, monkeypatch, *words)[1]
    assert all(f" {size} " in table for size in range(3, 13))


def test_a_count_and_its_fraction_are_the_same_question(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--n", "100", "--cluster-size", "10", "--json", "--faulty")
    asked = [json.loads(run(capsys, monkeypatch, *words, text)[1]) for text in ("29", "0.29", "29/100")]
    assert {record["faulty"] for record in asked} == {29}
    assert len({record["p_fail"] for record in asked}) == 1


def test_random_and_round_robin_have_one_law_and_different_words(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--n", "60", "--faulty", "5", "--cluster-size", "6", "--policy")
    found = [json.loads(run(capsys, monkeypatch, *words, name, "--json")[1]) for name in ("random", "round_robin")]
    assert found[0]["p_fail"] == found[1]["p_fail"]
    assert "nobody can arrange it" in run(capsys, monkeypatch, *words, "random")[1]
    assert "arranges it at will" in run(capsys, monkeypatch, *words, "round_robin")[1]


def assert_predicted_is_run(monkeypatch: pytest.MonkeyPatch, command: str, protocol: str) -> None:
    """The conditions that the command asks about are those by which `bench run` judges a cell of that protocol."""
    asked: list[Conditions] = []

    def noted(**given: object) -> None:
        asked.append(cast(Conditions, given["conditions"]))
        raise CloisterError("nothing more is needed")

    job = {"tolerance": tolerance, "simulate": simulation}[command]
    with monkeypatch.context() as patch:
        patch.setattr(job, {"tolerance": "ask", "simulate": "request"}[command], noted)
        words = ("--n", "30", "--faulty", "1", "--cluster-size", "6", "--protocol", protocol)
        patch.setattr(sys, "argv", ["bench", command, *words])
        with pytest.raises(SystemExit):
            cli.main()
    assert asked == [conditions_under(cluster_protocols.resolve(protocol), deviating=False)]


@pytest.mark.parametrize("command", ["tolerance", "simulate"])
@pytest.mark.parametrize("protocol", [*SCHEMES, "median", "norm_check", "range_check"])
def test_what_is_predicted_by_default_is_what_is_run(
    command: str, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert_predicted_is_run(monkeypatch, command, protocol)


@pytest.mark.parametrize("command", ["tolerance", "simulate"])
@pytest.mark.parametrize("protocol", ["shamir", "masked", "masked_graph"])
def test_a_command_that_opens_sums_as_soon_as_it_can_is_seen(
    command: str, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = playable.conditions_named

    def planted(name: str, **given: Any) -> Conditions:
        return replace(named(name, **given), least_honest=0)

    monkeypatch.setattr(playable, "conditions_named", planted)
    with pytest.raises(AssertionError):
        assert_predicted_is_run(monkeypatch, command, protocol)


def test_the_honest_inputs_that_a_sum_must_have_are_asked_for_and_said(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--n", "60", "--faulty", "3", "--crash", "6", "--cluster-size", "6", "--protocol", "masked")
    found = [
        json.loads(run(capsys, monkeypatch, *words, *more, "--json")[1])
        for more in ((), ("--least-honest", "1"), ("--least-honest", "2"), ("--least-honest", "3"))
    ]
    assert [each["least_honest"] for each in found] == [2, 1, 2, 3]
    assert found[0]["p_fail"] == found[2]["p_fail"]
    assert found[0]["p_live_fail"] < found[3]["p_live_fail"]  # 4 colluding of 6 at most, so 3 more do not fit
    lines = run(capsys, monkeypatch, *words)[1].splitlines()
    assert "(semi_honest, threshold 2c/3+1, least honest 2)" in lines[0]
    assert "each the sum of at least 5 inputs of 6" in lines[3]
    assert "least_honest = 4 needs 7 contributors" in run(capsys, monkeypatch, *words, "--least-honest", "4")[2]


def test_the_words_about_one_cluster_of_many_need_no_square_of_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--n", "200000", "--faulty", "1", "--cluster-size", "200000", "--aggregator", "mean")
    code, out, _ = run(capsys, monkeypatch, *words)
    assert code == 0
    assert "each the sum of at least 66668 inputs of 200000" in out


def test_without_clusters_every_update_is_exposed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--n", "60", "--faulty", "5", "--policy", "singletons", "--protocol", "additive", "--json")
    found = json.loads(run(capsys, monkeypatch, *words)[1])
    assert found["cluster_sizes"] == [1] * 60
    assert found["p_private_fail"] == 1.0
    assert found["p_correct_fail"] == 0.0
    assert found["worst_case_faulty"] == -1


def test_the_best_size_is_taken_where_none_is_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--n", "200", "--faulty", "2", "--protocol", "additive", "--target", "1e-6")
    found = json.loads(run(capsys, monkeypatch, *words, "--json")[1])
    assert min(found["cluster_sizes"]) == found["best_cluster_size"]
    assert found["p_fail"] <= 1e-6
    assert "the target 1e-06 is met" in run(capsys, monkeypatch, *words)[1]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--n", "10", "--faulty", "20"), "faulty = '20' does not fit n = 10"),
        (("--n", "10", "--faulty", "1.5"), "faulty = '1.5' is not allowed"),
        (("--n", "10", "--faulty", "-1"), "faulty = '-1' does not fit"),
        (("--n", "10", "--faulty", "many"), "faulty = 'many' is not a number"),
        (("--n", "10", "--faulty", "2", "--crash", "9"), "is more than n = 10"),
        (("--n", "0", "--faulty", "0"), "n = 0 is not allowed"),
        (("--n", "10", "--faulty", "2", "--least-honest", "0"), "least_honest = 0 is not allowed"),
        (
            ("--n", "10", "--faulty", "2", "--protocol", "additive", "--least-honest", "3"),
            "least_honest = 3 means nothing to protocol 'additive'",
        ),
        (
            ("--n", "10", "--faulty", "2", "--protocol", "hidden", "--least-honest", "3"),
            "least_honest means nothing to protocol 'hidden'",
        ),
        (("--n", "10", "--faulty", "2", "--cluster-size", "11"), "cluster_size = '11' does not fit n = 10"),
        (("--n", "10", "--faulty", "2", "--cluster-size", "0"), "cluster_size = '0' does not fit"),
        (("--n", "10", "--faulty", "2", "--cluster-size", "5:3"), "cluster_size = '5:3' does not fit"),
        (("--n", "10", "--faulty", "2", "--cluster-size", "few"), "cluster_size = 'few' is not understood"),
        (
            ("--n", "10", "--faulty", "2", "--cluster-size", "3:5", "--design"),
            "design means nothing to a range of sizes, cluster_size = '3:5'; allowed: one size, or none",
        ),
        (("--n", "10", "--faulty", "2", "--threshold", "c^2"), "threshold = 'c^2' is not understood"),
        (("--n", "10", "--faulty", "2", "--threshold", "9", "--cluster-size", "5"), "gives 9 for clusters of 5"),
        (("--n", "10", "--faulty", "2", "--target", "0"), "target = 0.0 is not allowed"),
        (("--n", "10", "--faulty", "2", "--target", "2^-x"), "target = '2^-x' is not a number"),
        (("--n", "10", "--faulty", "2", "--target", "0^-1"), "target = '0^-1' is not a number"),
        (("--n", "1e6", "--faulty", "2"), "Invalid value for '--n'"),
        (("--faulty", "2"), "Missing option '--n'"),
        (("--n", "10", "--faulty", "2", "--protocol", "committee", "--cluster-size", "2"), "servers = 3 do not fit"),
        (("--n", "10", "--faulty", "2", "--cluster-size", "2:2"), "threshold = 'c/3' gives 0 for clusters of 2"),
        (("--n", "10", "--faulty", "2", "--rounds", "0"), "rounds = 0 is not allowed"),
        (("--n", "10", "--faulty", "2", "--protocol", "shamri"), "did you mean 'shamir'"),
        (("--n", "10", "--faulty", "2", "--policy", "randm"), "did you mean 'random'"),
        (("--n", "10", "--faulty", "2", "--aggregator", "medain"), "did you mean 'median'"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, err = run(capsys, monkeypatch, *words)
    assert (code, out) == (2, "")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("probability", "text"),
    [(0.0, "0 (or below 1e-300)"), (1.0, "1"), (1 - 2e-8, "1 - 2e-08"), (1 - 1e-12, "above 1 - 1e-9"), (0.25, "0.25")],
)
def test_a_probability_is_shown_with_the_digits_that_are_vouched_for(probability: float, text: str) -> None:
    assert shown(probability) == text


def test_a_rule_that_counts_members_withstands_what_crashes_leave(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five clusters of three: with three members gone, two clusters have half of what is left."""
    for crash, weighted in (("0", 2), ("2", 2), ("3", 1)):
        for aggregator, tolerated in (("median", 2), ("weighted_median", weighted)):
            words = ("--n", "15", "--faulty", "2", "--crash", crash, "--cluster-size", "3", "--json")
            words = (*words, "--threshold", "1")
            code, out, _ = run(capsys, monkeypatch, *words, "--aggregator", aggregator)
            assert (code, json.loads(out)["clusters_tolerated"]) == (0, tolerated)
    refused = ("--n", "27", "--faulty", "2", "--policy", "hierarchical", "--aggregator", "weighted_median")
    code, _, error = run(capsys, monkeypatch, *refused)
    assert code == 2
    assert "counts members" in error


def test_a_target_may_be_a_power_of_two(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("--n", "100", "--faulty", "0", "--protocol", "additive", "--target", "2^-40", "--json")
    assert json.loads(run(capsys, monkeypatch, *words)[1])["target"] == 2**-40


def test_in_a_range_the_sizes_that_the_protocol_refuses_are_lines_with_a_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("--n", "30", "--faulty", "1", "--protocol", "hierarchical", "--cluster-size", "4:7")
    found = json.loads(run(capsys, monkeypatch, *words, "--json")[1])
    assert [each["cluster_size"] for each in found if "refused" in each] == [4, 5]
    assert all("one group of" in each["refused"] for each in found if "refused" in each)
    assert [each["cluster_sizes"][0] for each in found if "refused" not in each] == [6, 7]
    table = run(capsys, monkeypatch, *words)[1]
    assert table.count("refused") == 3  # two lines, and the reason of the first
    assert "one group of 4" in " ".join(table.split())


@pytest.mark.parametrize("protocol", [*SCHEMES, *robust_statistics.entries()])
def test_the_sizes_refused_are_those_that_a_run_refuses(protocol: str) -> None:
    plug_in = cluster_protocols.make(cluster_protocols.resolve(protocol))
    runs = [size for size in range(1, 10) if not refusal(lambda size=size: plug_in.check_size(parties=size))]
    conditions = playable.conditions_named(protocol)
    question = tolerance.ask(
        n=2520,  # all clusters have one size
        faulty="1",
        crash="0",
        curious="0",
        cluster_size="1:10",
        conditions=conditions,
        policy="random",
        aggregator="median",
        target=None,
        rounds=None,
    )
    assert [size for size in range(1, 10) if size not in tolerance.refusals(question)] == runs


HARD = ("--n", "400", "--faulty", "20", "--cluster-size", "10", "--policy", "stratified", "--placement", "by_domain")


def test_what_is_only_bounded_says_between_what_and_why_in_every_line_and_in_json(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (*HARD, "--domains", "133")
    lines = run(capsys, monkeypatch, *words)[1].splitlines()[1:5]
    found = json.loads(run(capsys, monkeypatch, *words, "--json")[1])
    for line, side in zip(lines, ("private", "correct", "live", "fail"), strict=True):
        low, high = found["bounds"][side]
        assert low < high
        assert found["engines"][side] == "bounds"
        assert f"fails with probability between {shown(low)} and {shown(high)}" in line
        assert f"bounds only, because {found['because'][side]}" in line
    exact = run(capsys, monkeypatch, *HARD, "--domains", "10")[1]
    assert "between" not in exact
    assert "bounds only" not in exact


@pytest.mark.parametrize(("target", "said"), [(1e-5, "missed"), (1e-3, "met by the lower bound only"), (0.9, "met")])
def test_a_target_between_the_bounds_is_neither_met_nor_missed(
    target: float, said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = run(capsys, monkeypatch, *HARD, "--domains", "133", "--target", str(target))[1]
    assert f"the target {target:g} is {said}; bounds only, because choices of domains" in out


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        ("reputation", "scores are learnt from what the faulty show"),
        ("sticky", "who is faulty in which batch is the same in all rounds"),
        ("overlapping", "covers whose sums tell too much are rejected"),
    ],
)
def test_rounds_that_depend_on_each_other_have_bounds_and_say_why(
    policy: str, why: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Of two kinds of fault: of one kind alone, rounds of batches are exact.
    faults = ("--n", "60", "--faulty", "3", "--curious", "1", "--cluster-size", "10")
    words = (*faults, "--policy", policy, "--rounds", "5")
    out = run(capsys, monkeypatch, *words)[1]
    found = json.loads(run(capsys, monkeypatch, *words, "--json")[1])
    low, high = found["p_fail_over_rounds_bounds"]
    assert low < high
    assert f"between {shown(low)} and {shown(high)} (bounds only, because {why}" in out
    assert found["p_fail_over_rounds_because"].startswith(why)
    drawn = json.loads(run(capsys, monkeypatch, *words[:-4], "--policy", "random", "--rounds", "5", "--json")[1])
    assert drawn["p_fail_over_rounds_because"] is None
