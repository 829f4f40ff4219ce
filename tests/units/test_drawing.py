"""The seeds of clusterings: given, or drawn by the cell's processes, when, from what and at which cost."""

import csv
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from bench.cell import Cell
from bench.data import Dataset
from bench.datasets import datasets
from bench.drawing import Draws, parties_to_draw, unfit_beacon
from bench.execute import Job
from bench.experiment import parse_experiment
from bench.federation import build, run_cell
from bench.grid import expand, skip_reason
from bench.round import form_clusters
from bench.run import Plan
from bench.store import load_results
from protocols.beacons import Occasion, beacons, value_of
from protocols.beacons.shared import Shared
from protocols.clustering import clusterings
from protocols.in_process import InProcessParties
from protocols.network import NetworkError
from protocols.party_pool import PartyPool
from protocols.randomness import SecretStreams
from protocols.secret_source import OwnSecrets
from protocols.types import Traffic
from tests.rounds import cell_with

ROOT = Path(__file__).parents[2]
EACH = {"name": "random", "every": 1}
SMALL = {"n": 6, "cluster_size": 3, "rounds": 4}
COST = Shared().cost(parties=6, clusters=1, coordinates=5)


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return datasets.make(datasets.resolve("digits")).load(None)


def cell(**axes: Any) -> Cell:
    return cell_with(**{**SMALL, "clustering": EACH, "beacon": "shared", **axes})


class TestWhatIsDrawn:
    def test_a_seed_is_the_value_of_the_sum_of_contributions_that_follow_from_the_cells_seed(self) -> None:
        sources = [OwnSecrets(SecretStreams.replayable(7, "beacon", process)) for process in range(6)]
        draws = Draws(cell(seed=7), None)
        for period in range(3):
            occasion = Occasion(purpose="clustering", number=period)
            columns = zip(*(Shared().contribution(source, occasion)[0].tolist() for source in sources), strict=True)
            words = [sum(column) % (2**61 - 1) for column in columns]
            assert draws.seed(period) == value_of(occasion, parties=6, qualified=range(6), words=words)

    def test_another_seed_of_the_cell_draws_others_and_the_same_one_the_same_among_threads_and_processes(
        self, pool: PartyPool
    ) -> None:
        drawn = [Draws(cell(seed=seed), company).seed(0) for seed, company in ((0, None), (0, pool), (1, None))]
        assert drawn[0] == drawn[1] != drawn[2]

    def test_a_given_seed_is_the_cells_and_nobody_is_asked(self) -> None:
        asked = mock.Mock()
        draws = Draws(cell(beacon="given", seed=7), asked)
        assert [draws.seed(0), draws.seed(3)] == [7, 7]
        assert asked.mock_calls == []
        assert draws.traffic(0) == Traffic.none()
        assert draws.seconds == 0

    def test_processes_that_cannot_draw_end_it_with_their_error(self) -> None:
        company = mock.Mock()
        company.open_sums.side_effect = NetworkError("too few")
        with pytest.raises(NetworkError, match="too few"):
            Draws(cell(), company).seed(0)


class TestWhenItIsDrawn:
    @pytest.mark.parametrize(
        ("clustering", "first_rounds"),
        [
            (EACH, [0, 1, 2, 3]),
            ({"name": "random", "every": 3}, [0, 3]),
            ("random", [0]),
            ({"name": "sticky", "every": 1}, [0]),
        ],
    )
    def test_once_for_each_new_clustering_whose_first_round_pays(
        self, clustering: object, first_rounds: list[int]
    ) -> None:
        draws = Draws(cell(clustering=clustering), None)
        seeds = [draws.seed(round_index) for round_index in range(4)]
        assert [r for r in range(4) if draws.traffic(r) == COST] == first_rounds
        assert all(draws.traffic(r) == Traffic.none() for r in range(4) if r not in first_rounds)
        assert len(set(seeds)) == len(first_rounds)

    def test_clusters_are_those_of_the_policy_under_the_seed_and_batches_of_sticky_stay_together(
        self, digits: Dataset
    ) -> None:
        federation = build(cell(), digits)
        for round_index in range(3):
            expected = clusterings.make(clusterings.resolve(EACH))(
                population=federation.population,
                cluster_size=3,
                seed=federation.draws.seed(round_index),
                round_index=round_index,
            )
            assert form_clusters(federation, round_index) == expected
        sticky = build(cell(clustering={"name": "sticky", "batch": 3}), digits)
        formed = [form_clusters(sticky, round_index).clusters for round_index in range(4)]
        assert {frozenset(map(frozenset, clusters)) for clusters in formed} == {frozenset(map(frozenset, formed[0]))}


class TestTheRow:
    def test_says_what_the_beacon_sent_which_is_in_the_totals(self, digits: Dataset) -> None:
        rows = {name: run_cell(cell(beacon=name), digits, InProcessParties(6)).metrics for name in ("given", "shared")}
        assert rows["given"]["bytes_beacon"] == rows["given"]["beacon_s"] == 0
        assert rows["shared"]["bytes_beacon"] == 4 * COST.wire_bytes
        assert rows["shared"]["beacon_s"] > 0
        assert rows["shared"]["bytes_total"] == rows["given"]["bytes_total"] + 4 * COST.wire_bytes
        for metrics in rows.values():
            parts = ("offline", "mpc", "upload", "exchange", "beacon")
            assert metrics["bytes_total"] == sum(metrics[f"bytes_{part}"] for part in parts)
            assert metrics["sum_exact"]

    def test_repeats_to_the_last_digit(self, digits: Dataset) -> None:
        first, again = (run_cell(cell(f=1, attack="ipm"), digits, InProcessParties(6)) for _ in range(2))
        timed = {name for name in first.metrics if name.endswith("_s")}
        assert {"beacon_s", "train_s", "mpc_s", "runtime_s"} == timed
        assert {k: v for k, v in first.metrics.items() if k not in timed} == {
            k: v for k, v in again.metrics.items() if k not in timed
        }

    def test_a_table_from_before_there_were_beacons_is_one_of_given_seeds(self, tmp_path: Path) -> None:
        with (ROOT / "reports" / "placement" / "results.csv").open(newline="") as file:
            lines = [{k: v for k, v in line.items() if "beacon" not in k} for line in csv.DictReader(file)][:2]
        with (tmp_path / "results.csv").open("w", newline="") as file:
            table = csv.DictWriter(file, lines[0])
            table.writeheader()
            table.writerows(lines)
        table = load_results(tmp_path)
        assert table["beacon"].tolist() == ["given"] * 2
        assert table["bytes_beacon"].tolist() == table["beacon_s"].tolist() == [0, 0]


class TestTheAxis:
    def test_clusters_that_do_not_change_with_a_seed_have_no_beacon(self) -> None:
        text = "[[grid]]\nclustering = ['round_robin', 'random']\nbeacon = ['given', 'shared']"
        cells = expand(parse_experiment(text, name="test"))
        assert [(each.clustering.name, each.beacon.name) for each in cells] == [
            ("round_robin", "given"),
            ("random", "given"),
            ("random", "shared"),
        ]

    def test_too_many_processes_or_too_few_are_a_skip_with_its_reason(self, digits: Dataset) -> None:
        assert skip_reason(cell(n=129), digits) == (
            "shared: parties = 129 cannot run this beacon; allowed: 3 to 128 (fewer than 3 have no honest majority "
            "with one faulty among them; more send 32 n^3 bytes)"
        )
        assert unfit_beacon(cell(n=129, beacon="given")) is None

    def test_a_pool_has_a_party_for_each_process_that_draws(self) -> None:
        drawing, given = cell(n=12), cell(n=12, beacon="given")
        assert (parties_to_draw(drawing), parties_to_draw(given)) == (12, 0)
        for each, parties in ((drawing, 12), (given, 3)):
            plan = Plan(experiment=mock.Mock(), jobs=(Job(cell=each, key=""),), skips=(), data=mock.Mock())
            assert plan.parties == parties

    def test_every_beacon_is_documented(self) -> None:
        assert set(beacons.entries()) == {"given", "shared"}
        assert all(entry.source and entry.summary for entry in beacons.entries().values())
