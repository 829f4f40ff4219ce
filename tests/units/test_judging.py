"""Verdicts and observations in rows, in the report and in the exit code of `bench run`."""

import math
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.linalg import matrix_rank

from bench import run as bench_run
from bench.cell import Cell
from bench.cli import main
from bench.data import Dataset
from bench.experiment import parse_experiment
from bench.federation import build, run_cell
from bench.grid import expand
from bench.judging import DISCLOSED, JUDGED, SIDES, Epoch, judged
from bench.outcome import RoundOutcome
from bench.report import write_report
from bench.report.study import study
from bench.report.verdicts import contradictions, policies, verdicts
from bench.round import run_round
from bench.run import Summary
from bench.store import Store, load_results, make_row
from protocols.aggregators.median import Median
from protocols.check import CloisterError
from protocols.in_process import InProcessParties
from tests.units.test_report import line, rounds_of

BASE = {"n": "12", "cluster_size": "4", "aggregator": "'median'", "clustering": "'round_robin'", "rounds": "2"}


def one_cell(text: str) -> Cell:
    given = dict(line.split(" = ", 1) for line in text.splitlines())
    lines = [f"{key} = {value}" for key, value in (BASE | given).items()]
    (cell,) = expand(parse_experiment("\n".join(["[[grid]]", "local_steps = 1", *lines]), name="test"))
    return cell


def row(text: str, digits: Dataset, parties: InProcessParties) -> dict[str, Any]:
    metrics = run_cell(one_cell(text), digits, parties).metrics
    assert set(JUDGED) <= set(metrics)
    return metrics


class TestRows:
    def test_a_cell_without_faults_is_safe_and_holds(self, digits: Dataset, parties: InProcessParties) -> None:
        found = row("f = 0", digits, parties)
        assert all(found[f"{kind}_{side}"] is True for kind in ("predicted", "observed") for side in SIDES)
        assert (found["predicted_why"], found["observed_why"], found["contradicted"]) == ("", "", "")
        assert found["exposed_processes"] == 0

    def test_packed_faults_taint_one_cluster_and_spread_ones_all(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        packed, spread = (
            row(f"f = 3\nattack = 'alie'\nplacement = '{each}'", digits, parties) for each in ("packed", "spread")
        )
        assert packed["predicted_correct"]
        assert not packed["predicted_private"]  # the fourth of the cluster is alone with three
        assert packed["exposed_processes"] == 1
        assert not spread["predicted_correct"]
        assert "are wrong or lost, 3 of 3; the rule withstands 1" in spread["predicted_why"]
        assert spread["predicted_private"]
        assert packed["contradicted"] == spread["contradicted"] == ""

    def test_curious_processes_change_nothing_but_secrecy(self, digits: Dataset, parties: InProcessParties) -> None:
        alone, seen = (row(f"f = 0\ncurious = {p}\nplacement = 'packed'", digits, parties) for p in (0, 3))
        assert seen["accuracy"] == alone["accuracy"]
        assert (alone["observed_private"], seen["observed_private"]) == (True, False)
        assert seen["exposed_processes"] == 1
        assert seen["predicted_correct"]
        assert seen["predicted_live"]

    def test_crashed_members_lose_an_additive_cluster_and_leave_a_shamir_sum(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        lost = row("f = 0\ncrashed = 1", digits, parties)
        kept = row("f = 0\ncrashed = 1\nprotocol = {name = 'shamir', mode = 'vss'}", digits, parties)
        assert lost["failed_clusters"] == 2  # one in each of two rounds
        assert lost["observed_live"]
        assert lost["predicted_live"]  # a median of three clusters does without one
        assert kept["failed_clusters"] == 0
        assert kept["sum_exact"]

    def test_more_lost_clusters_than_the_rule_withstands_leave_the_model_as_it_is(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        federation = build(one_cell("f = 0\ncrashed = 3\nplacement = 'spread'"), digits)
        model = federation.network.initial(torch.Generator().manual_seed(0))
        outcome = run_round(federation, model, 0, parties)
        assert (outcome.clusters, outcome.failed_clusters) == (0, 3)
        assert torch.equal(outcome.model, model)
        assert not outcome.said.live
        assert not outcome.observed.live
        assert judged([outcome])["contradicted"] == ""

    def test_only_the_noise_of_members_that_are_surely_there_protects(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        text = "privacy = {name = 'distributed', noise_multiplier = 1.0}\nprotocol = {name = 'shamir', mode = 'vss'}\n"
        model = torch.zeros(2410)
        several = []
        for faults in ("f = 0", "f = 0\ncrashed = 1", "f = 0\ncurious = 1"):
            federation = build(one_cell(text + faults), digits)
            outcome = run_round(federation, model, 0, parties)
            assert outcome.multipliers is not None
            several.append(outcome.multipliers)
            colluding = np.isinf(outcome.multipliers)
            assert colluding.tolist() == federation.curious.tolist()
        whole, crashed, curious = (each[np.isfinite(each)].min() for each in several)
        # Of four members' noise three parts are left: a factor sqrt(3 / 4).
        assert crashed / whole == pytest.approx(0.75**0.5)
        assert curious / whole == pytest.approx(0.75**0.5)

    def test_more_faults_than_processes_are_refused(self) -> None:
        with pytest.raises(CloisterError, match=r"f \+ crashed \+ curious = 12 of n = 12 processes"):
            one_cell("f = 4\ncrashed = 4\ncurious = 4")

    def test_a_rule_that_is_no_median_contradicts_its_verdict(self, digits: Dataset, parties: InProcessParties) -> None:
        cell = "f = 1\nattack = {name = 'gaussian', std = 100.0}"
        assert row(cell, digits, parties)["contradicted"] == ""
        with mock.patch.object(Median, "__call__", lambda self, means, sizes, tolerate, given=None: means.mean(dim=0)):
            found = row(cell, digits, parties)
        assert found["contradicted"] == "correct"
        assert found["observed_why"] == "round 1: the result is farther from the honest means than the rule promises"

    def test_fresh_partitions_disclose_static_updates_and_sticky_batches_never_do(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        """12 processes in 3 clusters: fresh partitions have rank 1 + 2 r, all 12 after ceil(11 / 2) = 6 rounds."""
        fresh, sticky, fixed = (
            row(f"f = 0\nrounds = 7\nclustering = {policy}", digits, parties)
            for policy in ("{name = 'random', every = 1}", "{name = 'sticky', every = 1, batch = 2}", "'random'")
        )
        assert (fresh["revealed_rank"], fresh["disclosed_processes"]) == (12, 12)
        assert fresh["disclosed_round"] >= 6
        assert sticky["revealed_rank"] <= 6  # a rank for each batch of two
        assert fixed["revealed_rank"] == 3
        for safe in (sticky, fixed):
            assert (safe["disclosed_processes"], safe["disclosed_round"]) == (0, None)
        # Batches of two stay together, clusters of four are all that fixed ones tell, and of one there is nothing left.
        assert (fresh["honest_support"], sticky["honest_support"], fixed["honest_support"]) == (1, 2, 4)

    def test_two_sums_that_differ_by_one_member_are_counted(self) -> None:
        epoch = Epoch(n=8, colluding=[7])
        everyone = ((0, 1, 2, 3), (4, 5, 6, 7))
        for revealed in (everyone, ((0, 1, 3), (4, 5, 6, 7))):  # process 2 has dropped out
            epoch.add(cast(RoundOutcome, SimpleNamespace(revealed=revealed)))
        found = epoch.columns()
        assert (found["differenced_processes"], found["disclosed_processes"], found["honest_support"]) == (1, 1, 1)
        epoch = Epoch(n=8, colluding=[7])
        for _ in range(2):
            epoch.add(cast(RoundOutcome, SimpleNamespace(revealed=everyone)))
        found = epoch.columns()
        assert (found["differenced_processes"], found["disclosed_processes"], found["honest_support"]) == (0, 0, 3)

    def test_the_round_of_disclosure_is_the_first_after_which_an_update_follows_from_the_sums(self) -> None:
        """Beside the rank of all sums so far with one more row, the update's own; two colluders of nine know theirs."""
        seen = set()
        for seed in range(12):
            rng, epoch, rows, expected = np.random.default_rng(seed), Epoch(n=9, colluding=(0, 1)), [], None
            for number in range(1, 6):
                order = rng.permutation(9)
                revealed = tuple(tuple(part.tolist()) for part in np.array_split(order, 3))
                outcome: Any = SimpleNamespace(revealed=revealed)
                epoch.add(outcome)
                rows += [[float(i in members) for i in range(2, 9)] for members in revealed]
                known = [
                    i for i in range(7) if matrix_rank(np.vstack([rows, np.eye(7)[i]])) == matrix_rank(np.array(rows))
                ]
                expected = number if expected is None and known else expected
                found = epoch.columns()
                assert found["disclosed_round"] == expected
                assert found["disclosed_processes"] == len(known)
            seen.add(expected)
        assert len(seen - {None}) > 1

    def test_without_clusters_everything_is_disclosed_at_once(self, digits: Dataset, parties: InProcessParties) -> None:
        found = row("f = 0\nclustering = 'singletons'", digits, parties)
        assert (found["disclosed_processes"], found["disclosed_round"]) == (12, 1)

    def test_colluders_know_their_own_updates(self, digits: Dataset, parties: InProcessParties) -> None:
        found = row("f = 0\ncurious = 3\nplacement = 'packed'", digits, parties)
        assert (found["disclosed_processes"], found["disclosed_round"]) == (1, 1)

    def test_a_coalition_that_moves_is_not_judged_over_rounds(self, digits: Dataset, parties: InProcessParties) -> None:
        found = row("f = 2\nplacement = 'targeted'\nclustering = {name = 'random', every = 1}", digits, parties)
        assert [found[name] for name in DISCLOSED] == [None] * 5

    def test_no_rounds_give_no_verdict(self) -> None:
        assert judged([]) == dict.fromkeys(JUDGED)


def results(**changed: Any) -> pd.DataFrame:
    safe = {f"{kind}_{side}": True for kind in ("predicted", "observed") for side in SIDES}
    words = {"predicted_why": "", "observed_why": "", "contradicted": "", "exposed_processes": 0}
    lines = [
        line(number, seed=seed, attack=attack, **(safe | words | {"placement": "uniform"} | changed))
        for number, (attack, seed) in enumerate([("none", 0), ("none", 1), ("ipm", 0), ("ipm", 1)])
    ]
    return pd.DataFrame(lines)


class TestReport:
    def page(self, tmp_path: Path, found: pd.DataFrame) -> str:
        return write_report(tmp_path, found, rounds_of(found), {}, "").read_text()

    def test_no_contradiction_is_no_alarm(self) -> None:
        found = results()
        assert contradictions(study(found, rounds_of(found))) == []

    def test_it_opens_with_what_was_said_and_seen_and_a_contradiction_is_red_and_named(self, tmp_path: Path) -> None:
        broken = {"contradicted": "live", "observed_live": False, "observed_why": "round 2: clusters [1] are lost"}
        page = self.page(tmp_path, results(**broken))
        assert page.index("Verdict and outcome") < page.index("In short")
        assert "Broke where the verdict said safe." in page
        assert "attack ipm, seed 1: live; round 2: clusters [1] are lost" in page
        assert "broke, though called safe" in page

    def test_unsafe_designs_that_broke_or_held_are_not_red(self, tmp_path: Path) -> None:
        found = results(predicted_private=False, observed_private=False, predicted_why="round 1: why; and more")
        table = verdicts(study(found, rounds_of(found)))
        (cells,) = table.lines
        at = dict(zip(table.columns, cells, strict=True))
        assert (at["private"].text, at["private"].note, at["private"].tone) == ("unsafe", "broke", "soft")
        assert at["first reason"].text == "round 1: why"
        assert at["accuracy lost"].note == "ipm"
        assert at["disclosed"].text == "–"

    @pytest.mark.parametrize(("rounds", "text"), [((math.nan, 4.0), "round 4"), ((math.nan, math.nan), "never")])
    def test_the_first_round_of_disclosure_is_shown(self, rounds: tuple[float, float], text: str) -> None:
        found = results(revealed_rank=12).assign(disclosed_round=[*rounds, *rounds])
        table = verdicts(study(found, rounds_of(found)))
        (cells,) = table.lines
        assert dict(zip(table.columns, cells, strict=True))["disclosed"].text == text

    def test_policies_are_compared_over_placements_and_the_best_is_marked(self) -> None:
        parts = [
            results(clustering=policy, placement=placement, predicted_private=policy == "sticky")
            for policy in ("random", "sticky")
            for placement in ("uniform", "packed")
        ]
        found = pd.concat(parts, ignore_index=True).assign(key=lambda table: [f"key{k}" for k in range(len(table))])
        table = policies(study(found, rounds_of(found)))
        place = table.columns.index("private safe")
        assert [(line[0].text, line[place].text, line[place].tone) for line in table.lines] == [
            ("random", "0%", ""),
            ("sticky", "100%", "good"),
        ]

    def test_one_policy_or_one_placement_is_nothing_to_compare(self) -> None:
        found = results()
        assert policies(study(found, rounds_of(found))).lines == ()

    def test_results_of_before_there_were_verdicts_have_no_such_table(self) -> None:
        found = results().drop(columns=list(JUDGED))
        assert verdicts(study(found, rounds_of(found))).lines == ()


@pytest.mark.parametrize(("contradicted", "code"), [(0, 0), (1, 1)])
def test_a_run_with_a_contradiction_ends_with_1(
    contradicted: int,
    code: int,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    summary = Summary(ok=4, failed=0, skipped=0, reused=0, missing=0, contradicted=contradicted, wall_s=1.0)
    monkeypatch.setattr(sys, "argv", ["bench", "run", "quick", "--out", str(tmp_path / "new")])
    monkeypatch.setattr(bench_run, "execute_plan", lambda *_, **__: summary)
    monkeypatch.setattr("bench.cli._write_report", lambda *_: tmp_path / "report.html")
    with pytest.raises(SystemExit) as ended:
        sys.exit(main())
    assert (ended.value.code or 0) == code
    assert ("broke where their verdict had said safe" in capsys.readouterr().out) is (contradicted > 0)


def test_a_table_keeps_flags_and_reasons(tmp_path: Path, digits: Dataset, parties: InProcessParties) -> None:
    cell = one_cell("f = 3\nplacement = 'packed'")
    found = run_cell(cell, digits, parties)
    store = Store(tmp_path)
    store.create()
    store.put(make_row(cell, "a key", status="ok", metrics=found.metrics, curve=found.curve))
    store.write_tables(["a key"])
    (read,) = load_results(tmp_path).to_dict("records")
    for column in JUDGED:
        assert read[column] == found.metrics[column]
