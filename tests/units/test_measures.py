"""What a row says of attack and defence: deviation, detection, recovery and classes, against slow counts."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attacks.plan import Part, Schedule
from bench.cell import Cell
from bench.data import Dataset
from bench.federation import build, run_cell
from bench.measures import MEASURES, Excluded, deviation, measures, recovery
from bench.metrics import Score, by_class_columns, score
from bench.report.defences import NOTE, defences
from bench.report.study import study
from bench.round import form_clusters, run_round
from bench.store import RESULT_COLUMNS
from protocols.in_process import InProcessParties
from protocols.registry import Spec
from tests.rounds import cell_with
from tests.units.test_report import results_of, rounds_of


def one_cell(**axes: Any) -> Cell:
    return cell_with(**{"n": 20, "f": 2, "cluster_size": 2, "protocol": "plaintext", **axes})


# ---- deviation


@given(st.integers(2, 6), st.integers(0, 3), st.floats(-3, 3))
def test_deviation_is_distance_over_spread(h: int, seed: int, far: float) -> None:
    honest = torch.from_numpy(np.random.default_rng(seed).normal(size=(h, 4)))
    centre = honest.mean(dim=0)
    spread = math.sqrt(sum(float((row - centre).norm()) ** 2 for row in honest) / h)
    direction = torch.tensor([0.6, 0.0, 0.8, 0.0], dtype=torch.float64)
    found = deviation(centre + far * direction, honest)
    assert found == pytest.approx(abs(far) / spread, rel=1e-9, abs=1e-9)


def test_there_is_no_deviation_without_a_result_or_without_differences() -> None:
    honest = torch.ones(3, 2, dtype=torch.float64)
    assert deviation(None, honest) is None
    assert deviation(honest[0] + 1.0, honest) is None
    assert deviation(honest[0] + 1.0, honest[:1]) is None
    assert deviation(torch.full((2,), math.nan, dtype=torch.float64), torch.eye(2, dtype=torch.float64)) is None


def test_a_mean_of_all_does_not_deviate_and_a_flipped_one_does(digits: Dataset, parties: InProcessParties) -> None:
    """Of equal clusters the mean is the mean of all; Byzantine ones who behave move it by their own spread only."""
    clean = run_cell(one_cell(f=0, aggregator="mean"), digits, parties).metrics["honest_deviation"]
    assert clean < 1e-3  # fixed point: half of 2^-16 in each of 650 coordinates, against a spread of about 0.1
    flipped = run_cell(one_cell(attack={"name": "sign_flip", "scale": 50.0}, aggregator="mean"), digits, parties)
    robust = run_cell(one_cell(attack={"name": "sign_flip", "scale": 50.0}, aggregator="median"), digits, parties)
    assert flipped.metrics["honest_deviation"] > 2 * robust.metrics["honest_deviation"] > 0


# ---- detection

MASKS = st.lists(st.tuples(st.booleans(), st.integers(0, 3), st.integers(1, 4)), min_size=1, max_size=6)


@given(st.lists(MASKS, max_size=4))
def test_precision_and_recall_are_those_of_a_slow_count(rounds: list[list[tuple[bool, int, int]]]) -> None:
    """Each cluster is (excluded, Byzantine members, honest members)."""
    seen = [
        Excluded(
            excluded=np.array([out for out, _, _ in clusters]),
            tainted=np.array([bad > 0 for _, bad, _ in clusters]),
            members=np.array([bad + good for _, bad, good in clusters]),
            faulty=np.array([bad for _, bad, _ in clusters]),
        )
        for clusters in rounds
    ]
    found = measures([], [*seen, None], {})
    every = [cluster for clusters in rounds for cluster in clusters]
    out = [cluster for cluster in every if cluster[0]]
    tainted = [cluster for cluster in every if cluster[1]]
    both = [cluster for cluster in out if cluster[1]]
    accused, caught = sum(b + g for _, b, g in out), sum(b for _, b, _ in out)
    byzantine = sum(b for _, b, _ in every)
    assert found["excluded_clusters"] == (len(out) / len(rounds) if rounds else None)
    assert found["cluster_precision"] == (len(both) / len(out) if out else None)
    assert found["cluster_recall"] == (len(both) / len(tainted) if tainted else None)
    assert found["process_precision"] == (caught / accused if accused else None)
    assert found["process_recall"] == (caught / byzantine if byzantine else None)


CHECKED = st.lists(st.tuples(st.booleans(), *[st.integers(0, 2)] * 4), min_size=1, max_size=6)


@given(st.lists(CHECKED, max_size=4), st.booleans())
def test_whom_a_check_did_not_pass_is_accused_beside_the_members_of_excluded_clusters(
    rounds: list[list[tuple[bool, int, int, int, int]]], selecting: bool
) -> None:
    """Each cluster is (excluded, Byzantine members that fail and that pass, honest ones that fail and that pass)."""
    seen = [
        Excluded(
            excluded=np.array([out for out, *_ in clusters]) if selecting else None,
            tainted=np.array([a + b > 0 for _, a, b, _, _ in clusters]),
            members=np.array([a + b + c + d for _, a, b, c, d in clusters]),
            faulty=np.array([a + b for _, a, b, _, _ in clusters]),
            failing=np.array([a + c for _, a, _, c, _ in clusters]),
            caught=np.array([a for _, a, *_ in clusters]),
        )
        for clusters in rounds
    ]
    found = measures([], seen, {})
    accused = convicted = byzantine = failing = 0
    for out, a, b, c, d in (cluster for clusters in rounds for cluster in clusters):
        whole = out and selecting
        accused += a + b + c + d if whole else a + c
        convicted += a + b if whole else a
        byzantine, failing = byzantine + a + b, failing + a + c
    assert found["process_precision"] == (convicted / accused if accused else None)
    assert found["process_recall"] == (convicted / byzantine if byzantine else None)
    assert found["excluded_processes"] == (failing / len(rounds) if rounds else None)
    assert (found["excluded_clusters"] is None) is (not rounds or not selecting)


def test_krum_excludes_all_but_one_and_the_median_nobody(digits: Dataset, parties: InProcessParties) -> None:
    """10 clusters of 2, of which 2 have a Byzantine member: 9 are excluded, among them both that ought to be."""
    axes = {"attack": {"name": "sign_flip", "scale": 50.0}, "placement": "spread"}
    found = run_cell(one_cell(aggregator="krum", **axes), digits, parties).metrics
    assert found["excluded_clusters"] == 9
    assert found["cluster_precision"] == pytest.approx(2 / 9)
    assert found["cluster_recall"] == found["process_recall"] == 1.0
    assert found["process_precision"] == pytest.approx(2 / 18)
    nobody = run_cell(one_cell(aggregator="median", **axes), digits, parties).metrics
    assert [nobody[name] for name in MEASURES[1:7]] == [None] * 6


def test_what_a_rule_excluded_is_counted_against_the_clusters_of_that_round(
    digits: Dataset, parties: InProcessParties
) -> None:
    federation = build(one_cell(aggregator="krum", attack={"name": "sign_flip", "scale": 50.0}), digits)
    model = federation.network.initial(torch.Generator().manual_seed(0))
    outcome = run_round(federation, model, 0, parties)
    counts = form_clusters(federation, 0).faulty_counts(federation.faulty)
    assert outcome.excluded is not None
    assert outcome.excluded.faulty.tolist() == counts.tolist()
    kept = int(np.flatnonzero(~outcome.excluded.excluded)[0])
    assert torch.equal(
        outcome.model, (model.double() + outcome.opened.means[kept] * federation.server_learning_rate).float()
    )


def test_without_a_server_those_whom_most_neighbours_ignore_are_excluded(
    digits: Dataset, parties: InProcessParties
) -> None:
    """A liar far away is ignored by all; plain gossip ignores nobody whose numbers it can use."""
    axes = {"attack": {"name": "two_faces", "spread": 100.0}, "topology": "complete", "placement": "spread"}
    found = run_cell(one_cell(exchange="nna", **axes), digits, parties).metrics
    assert found["cluster_recall"] == found["cluster_precision"] == 1.0
    assert found["process_precision"] == 0.5  # a cluster of two has one liar
    plain = run_cell(one_cell(exchange="gossip", **axes), digits, parties).metrics
    assert plain["excluded_clusters"] == 0
    assert plain["cluster_precision"] is None
    assert plain["cluster_recall"] == 0.0


# ---- recovery


def curve(*accuracies: float) -> list[dict[str, Any]]:
    return [{"round": number, "accuracy": accuracy} for number, accuracy in enumerate(accuracies, start=1)]


def part(senders: bool = True, **schedule: Any) -> Part:
    return Part(spec=Spec(name="ipm"), senders=np.array([senders, False]), schedules=(Schedule(**schedule),))


@pytest.mark.parametrize(
    ("accuracies", "lost", "rounds"),
    [
        ((0.8, 0.9, 0.3, 0.4, 0.7, 0.895, 0.9), 0.6, 2),  # back, within a point, in round 6; the attack ended with 4
        ((0.8, 0.9, 0.3, 0.4, 0.7, 0.8, 0.85), 0.6, None),  # not within the training
        ((0.8, 0.9, 0.9, 0.91, 0.92, 0.9, 0.9), 0.0, 0),  # no harm
        ((0.8, 0.9, 0.9, 0.7, 0.89, 0.9, 0.9), 0.2, 1),  # its last round harms
    ],
)
def test_recovery_counts_rounds_from_the_end_of_the_attack(
    accuracies: tuple[float, ...], lost: float, rounds: int | None
) -> None:
    found = recovery(curve(*accuracies), [part(from_round=3, until_round=4)], 7)
    assert found["accuracy_lost"] == pytest.approx(lost)
    assert found["rounds_to_recover"] == rounds


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [part()],  # from the first round: nothing is known of before
        [part(from_round=3)],  # without an end
        [part(from_round=3, until_round=4), part(from_round=4)],  # one of the two goes on
        [part(senders=False, from_round=3, until_round=4)],  # nobody uses it
    ],
)
def test_there_is_nothing_to_recover_from_without_a_beginning_and_an_end(parts: list[Part]) -> None:
    found = recovery(curve(0.8, 0.9, 0.3, 0.4, 0.9, 0.9, 0.9), parts, 7)
    assert found == {"accuracy_lost": None, "rounds_to_recover": None}


def test_a_training_under_an_attack_that_ends_says_when_it_was_back(digits: Dataset, parties: InProcessParties) -> None:
    attack = {"name": "sign_flip", "scale": 30.0, "from_round": 9, "until_round": 10}
    axes = {"aggregator": "mean", "rounds": 20, "local_steps": 5, "learning_rate": 0.5, "f": 2}
    found = run_cell(one_cell(attack=attack, **axes), digits, parties)
    accuracies = {point["round"]: point["accuracy"] for point in found.curve}
    assert found.metrics["accuracy_lost"] == pytest.approx(
        accuracies[8] - min(accuracies[number] for number in range(9, 21))
    )
    assert found.metrics["accuracy_lost"] > 0.1
    back = next(number for number in range(10, 21) if accuracies[number] >= accuracies[8] - 0.01)
    assert found.metrics["rounds_to_recover"] == back - 10


# ---- classes


def test_accuracy_by_class_is_that_of_its_rows(digits: Dataset) -> None:
    federation = build(one_cell(), digits)
    model = federation.network.initial(torch.Generator().manual_seed(3))
    found = score(federation.network, model, digits, None)
    predicted = federation.network.logits(model[None], digits.x_test[None])[0].argmax(dim=1)
    for label in range(10):
        own = digits.y_test == label
        assert found.by_class[label] == pytest.approx(float((predicted[own] == label).double().mean()))
    columns = by_class_columns(found)
    assert columns["worst_class_accuracy"] == min(share for share in found.by_class if share is not None)
    assert [float(each) for each in columns["class_accuracies"].split()] == pytest.approx(found.by_class, abs=5e-5)


def test_a_class_without_test_rows_has_no_accuracy() -> None:
    found = by_class_columns(Score(accuracy=0.5, loss=1.0, attack_success=None, by_class=(0.25, None, 1.0)))
    assert found == {"worst_class_accuracy": 0.25, "class_accuracies": "0.2500 - 1.0000"}


def test_a_label_flip_of_one_pair_shows_in_these_classes(digits: Dataset, parties: InProcessParties) -> None:
    """Average accuracy hides what the worst class shows: half of the processes flip all labels of theirs."""
    axes = {"f": 9, "aggregator": "mean", "rounds": 8, "local_steps": 5, "learning_rate": 0.5}
    found = run_cell(one_cell(attack="label_flip", **axes), digits, parties).metrics
    assert found["worst_class_accuracy"] < found["accuracy"]
    assert len(found["class_accuracies"].split()) == 10


# ---- the row, and the report


def test_every_measure_is_a_column_of_the_results(digits: Dataset, parties: InProcessParties) -> None:
    metrics = run_cell(one_cell(), digits, parties).metrics
    assert set(metrics) <= set(RESULT_COLUMNS)
    assert {*MEASURES, "worst_class_accuracy", "class_accuracies", "consensus_distance"} <= set(metrics)


def results(**measured: Any) -> pd.DataFrame:
    return results_of(privacies=("none",)).assign(**measured)


def test_the_report_shows_what_was_measured_and_only_that() -> None:
    table = results(honest_deviation=[0.5, 1.5, 2.0, 4.0, math.nan, math.nan], cluster_recall=math.nan)
    shown = defences(study(table, rounds_of(table)))
    assert shown.columns == ("attack", "clustering", "moved")
    assert [(line[0].text, line[-1].text) for line in shown.lines] == [("no attack", "1"), ("ipm", "3"), ("alie", "–")]
    old = results()
    assert defences(study(old, rounds_of(old))).lines == ()


def test_every_heading_of_the_report_is_explained() -> None:
    for word in (
        "Worst class",
        "Moved",
        "Excluded clusters",
        "precision",
        "recall",
        "not pass",
        "Lost and recovered",
        "worst of",
    ):
        assert word in NOTE


def test_a_rule_that_did_not_run_excluded_nobody(digits: Dataset, parties: InProcessParties) -> None:
    """More rows of NaN than krum is told to withstand: the round has no result, and nothing to say of whom it chose."""
    hostile = {"attack": {"name": "nan_inf_huge"}, "placement": "spread", "f": 9}
    found = run_cell(one_cell(aggregator="krum", **hostile), digits, parties).metrics
    assert found["excluded_clusters"] is None
    assert found["honest_deviation"] is None
