"""Rounds whose inputs are shown to be in range: who enters more is left out and named, epsilon leaves nothing out."""

import math
from typing import Any

import pytest

from bench.cell import Cell
from bench.data import Dataset
from bench.datasets import datasets
from bench.federation import build, run_cell
from bench.grid import skip_reason
from bench.noise import multipliers_of
from bench.outcome import RoundOutcome
from bench.round import form_clusters, run_round
from protocols.in_process import InProcessParties
from protocols.playable import cluster_protocols
from tests.rounds import cell_with, start

NOBODY = InProcessParties(1)
"""All members of hidden sums are threads of the round's own."""
HIDDEN = {"name": "hidden", "input_check": "range"}
HUGE = {"name": "nan_inf_huge", "value": "huge"}


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return datasets.make(datasets.resolve("breast_cancer")).load(None)


@pytest.fixture(scope="module")
def parties() -> InProcessParties:
    return InProcessParties(3)


def checked_cell(**axes: Any) -> Cell:
    defaults = {"dataset": "breast_cancer", "protocol": HIDDEN, "aggregator": "median", "n": 15, "f": 2}
    return cell_with(**{**defaults, "cluster_size": 3, "attack": "none", "rounds": 1, **axes})


def added(outcome: RoundOutcome) -> list[int]:
    """Whose words are in what opened."""
    return sorted(process for each in outcome.revealed for process in each)


def one_round(cell: Cell, dataset: Dataset, parties: InProcessParties = NOBODY) -> RoundOutcome:
    federation = build(cell, dataset)
    return run_round(federation, start(federation), 0, parties)


@pytest.mark.parametrize(
    ("protocol", "aggregator", "left_out"),
    [
        (HIDDEN, "median", False),
        ("hidden", "median", True),
        ("range_check", "mean", False),
        ("additive", "mean", True),
    ],
)
def test_epsilon_leaves_out_what_wraps_around_exactly_where_nobody_looks(
    dataset: Dataset, parties: InProcessParties, protocol: object, aggregator: str, left_out: bool
) -> None:
    cell = checked_cell(protocol=protocol, aggregator=aggregator, privacy="central")
    assert skip_reason(cell, dataset) is None
    found = run_cell(cell, dataset, parties).metrics
    assert ("wraps around" in found["epsilon_leaves_out"]) is left_out
    assert float(found["epsilon"]) > 0


def test_where_all_pass_the_model_is_that_without_a_check(dataset: Dataset) -> None:
    """To the bit: a range takes some of the words' room, and none of their fraction."""
    ours, plain = (one_round(checked_cell(protocol=name, attack="sign_flip"), dataset) for name in (HIDDEN, "hidden"))
    assert ours.model.equal(plain.model)
    assert ours.sum_exact
    assert ours.named == frozenset()
    assert ours.traffic.comparisons > plain.traffic.comparisons


@pytest.mark.parametrize("how", [{}, {"sharing": "shamir"}, {"committees": 2}, {"sharing": "shamir", "committees": 2}])
def test_in_hidden_sums_who_enters_too_much_is_named_and_its_cluster_left_out(
    dataset: Dataset, how: dict[str, Any]
) -> None:
    cell = checked_cell(attack=HUGE, protocol={**HIDDEN, **how})
    outcome = one_round(cell, dataset)
    assert outcome.named == outcome.byzantine
    assert (outcome.clusters, outcome.tainted_clusters, outcome.failed_clusters) == (3, 0, 0)
    assert outcome.observed.contradicts(outcome.said) == ()
    assert outcome.sum_exact
    # The twin: without a check its cluster is among those that the rule combines.
    plain = one_round(checked_cell(attack=HUGE, protocol={**HIDDEN, **how, "input_check": "none"}), dataset)
    assert (plain.clusters, plain.tainted_clusters, plain.named) == (5, 2, frozenset())


def test_members_that_leave_once_their_words_are_dealt_are_in_what_opens_under_shamirs_sharing(
    dataset: Dataset,
) -> None:
    """Each in a cluster of its own, where two of three are enough; the twin shares its own words, and is missed."""
    for sharing, clusters in (("shamir", 5), ("additive", 0)):
        attack = {"name": "crash", "step": 1 if sharing == "shamir" else 2}
        cell = checked_cell(attack=attack, placement="spread", protocol={**HIDDEN, "sharing": sharing})
        outcome = one_round(cell, dataset)
        assert outcome.clusters == clusters
        assert outcome.observed.contradicts(outcome.said) == ()


def test_in_opened_sums_who_enters_too_much_is_named_and_left_out_alone(
    dataset: Dataset, parties: InProcessParties
) -> None:
    outcome = one_round(checked_cell(protocol="range_check", aggregator="mean", attack=HUGE), dataset, parties)
    assert outcome.named == outcome.byzantine
    assert added(outcome) == sorted(set(range(15)) - outcome.byzantine)
    assert outcome.sum_exact
    assert outcome.observed.contradicts(outcome.said) == ()


LONG = {"name": "sign_flip", "scale": 100.0}


@pytest.mark.parametrize(
    ("protocol", "attack", "named"),
    [
        ({"name": "norm_check", "norm": 10.0}, LONG, 0),
        ({"name": "norm_check", "norm": 10.0}, HUGE, 0),
        ("range_check", HUGE, 3),
        (HIDDEN, HUGE, 3),
    ],
)
def test_whom_a_check_does_not_pass_is_detected_and_named_only_where_no_honest_member_can_fail(
    dataset: Dataset, parties: InProcessParties, protocol: object, attack: object, named: int
) -> None:
    """No more and no fewer than the Byzantine three; a norm that is too small has honest ones fail, a range never."""
    cell = checked_cell(protocol=protocol, attack=attack, f=3, n=18, rounds=2, placement="spread")
    found = run_cell(cell, dataset, parties).metrics
    assert found["process_precision"] == found["process_recall"] == 1.0
    assert found["excluded_processes"] == 3
    assert (found["identified_culprits"], found["framed_processes"]) == (named, 0)
    assert found["excluded_clusters"] is None  # a median leaves no cluster out
    # The twin: what passes is not detected.
    quiet = run_cell(checked_cell(protocol=protocol, attack="sign_flip", f=3, n=18), dataset, parties).metrics
    assert (quiet["process_precision"], quiet["process_recall"], quiet["excluded_processes"]) == (None, 0.0, 0)


def test_the_last_honest_member_of_a_cluster_that_opens_nothing_is_excluded_with_the_others(
    dataset: Dataset, parties: InProcessParties
) -> None:
    """A sum of one does not open, and who it would have been of is not said: of three that are out two have failed."""
    cell = checked_cell(protocol="range_check", attack=HUGE, placement="packed")
    found = run_cell(cell, dataset, parties).metrics
    assert (found["excluded_processes"], found["process_recall"]) == (3, 1.0)
    assert found["process_precision"] == pytest.approx(2 / 3)
    assert (found["identified_culprits"], found["framed_processes"]) == (0, 0)


def test_honest_updates_that_are_too_long_are_false_alarms(dataset: Dataset, parties: InProcessParties) -> None:
    cell = checked_cell(protocol={"name": "norm_check", "norm": 1e-3}, attack=LONG, f=3, n=18)
    found = run_cell(cell, dataset, parties).metrics
    assert (found["excluded_processes"], found["process_recall"]) == (18, 1.0)
    assert found["process_precision"] == pytest.approx(3 / 18)
    assert found["framed_processes"] == 0


def test_a_rule_that_leaves_clusters_out_accuses_beside_the_check(dataset: Dataset, parties: InProcessParties) -> None:
    """Krum takes one of six means: the 15 others' members are accused, and who fails in the one that it takes."""
    cell = checked_cell(
        protocol={"name": "norm_check", "norm": 10.0}, attack=LONG, f=3, n=18, aggregator="krum", placement="spread"
    )
    outcome = one_round(cell, dataset, parties)
    assert outcome.excluded is not None
    assert outcome.excluded.excluded is not None
    assert outcome.excluded.failing is not None
    kept = ~outcome.excluded.excluded
    assert kept.sum() == 1
    assert outcome.excluded.accused == 15 + outcome.excluded.failing[kept].sum()
    assert outcome.excluded.convicted == 3


@pytest.mark.parametrize("protocol", ["range_check", "norm_check"])
@pytest.mark.parametrize("attack", ["garbage", "equivocate"])
def test_who_is_left_out_where_somebody_misbehaves_is_nobody_proven(
    dataset: Dataset, parties: InProcessParties, protocol: str, attack: str
) -> None:
    """Garbage may have honest members fail: they are excluded, and must not be named."""
    cell = checked_cell(protocol=protocol, attack=attack, placement="spread", rounds=2)
    found = run_cell(cell, dataset, parties).metrics
    assert (found["identified_culprits"], found["framed_processes"]) == (0, 0)
    assert found["contradicted"] == ""


def test_too_few_clusters_that_surely_pass_are_predicted(dataset: Dataset) -> None:
    """Of four clusters two have a Byzantine member: nothing opens for three delegates, and the model stays."""
    cell = checked_cell(n=12, f=2, attack=HUGE, placement="spread")
    federation = build(cell, dataset)
    model = start(federation)
    outcome = run_round(federation, model, 0, NOBODY)
    assert not outcome.said.live
    assert any("surely pass" in reason for reason in outcome.said.why)
    assert outcome.clusters == 0
    assert outcome.model.equal(model)
    assert outcome.named == outcome.byzantine
    assert one_round(checked_cell(n=12, f=2, attack="sign_flip", placement="spread"), dataset).clusters == 4


@pytest.mark.parametrize(("attack", "opens"), [("none", True), (HUGE, False)])
def test_whose_input_colluding_delegates_hold_is_hidden_by_its_own_noise_alone(
    dataset: Dataset, attack: object, opens: bool
) -> None:
    """Of four shares of the noise one is its own: also where so few of three clusters pass that nothing opens."""
    privacy = {"name": "distributed", "noise_multiplier": 0.3}
    axes: dict[str, Any] = {"n": 12, "f": 3, "cluster_size": 4, "aggregator": "mean", "privacy": privacy}
    exposed = set[bool]()
    for seed in range(8):
        cell = checked_cell(attack=attack, seed=seed, **axes)
        federation, outcome = build(cell, dataset), one_round(cell, dataset)
        assert outcome.multipliers is not None
        honest = outcome.multipliers[~federation.faulty]
        slack = 1 + 0.5 * federation.ring.unit * math.sqrt(federation.coordinates)
        own = 0.3 * math.sqrt(1 / 4) / slack
        exposed.add(not outcome.observed.private)
        assert outcome.clusters == (3 if opens else 0)
        if outcome.observed.private:
            assert (honest > 1.4 * own).any()
        else:
            assert honest == pytest.approx([own] * 9, rel=1e-12)
    assert exposed == {False, True}


def test_of_those_whose_input_is_told_only_their_own_share_of_the_noise_counts(dataset: Dataset) -> None:
    """Of each other member the shares of all honest ones of its group do."""
    privacy = {"name": "distributed", "noise_multiplier": 0.3}
    federation = build(checked_cell(n=12, f=0, cluster_size=4, aggregator="mean", privacy=privacy), dataset)
    found = multipliers_of(federation, form_clusters(federation, 0), None, told=frozenset({1, 5}))
    assert found is not None
    shares = (found / found.min()) ** 2
    assert shares == pytest.approx([1 if process in (1, 5) else 4 for process in range(12)], rel=1e-12)


@pytest.mark.parametrize("curious", [0, 3])
def test_a_round_that_delegates_stop_once_they_hold_inputs_counts_as_one_in_which_they_do(
    dataset: Dataset, curious: int
) -> None:
    """One member leaves in the middle; alone it is one delegate at most, and one of these knows nothing."""
    privacy = {"name": "distributed", "noise_multiplier": 0.3}
    axes: dict[str, Any] = {"n": 12, "f": 1, "curious": curious, "cluster_size": 4, "privacy": privacy}
    cell = checked_cell(attack={"name": "crash", "step": 2}, placement="spread", **axes)
    federation, outcome = build(cell, dataset), one_round(cell, dataset)
    assert outcome.clusters == 0
    assert outcome.multipliers is not None
    honest = outcome.multipliers[~(federation.faulty | federation.curious)]
    slack = 1 + 0.5 * federation.ring.unit * math.sqrt(federation.coordinates)
    assert (honest < 0.3 * math.sqrt(1 / 4) / slack * (1 + 1e-12)).all() == (curious > 0)
    assert outcome.observed.private == (curious == 0)
    assert outcome.observed.contradicts(outcome.said) == ()


@pytest.mark.parametrize("name", ["local", "distributed"])
def test_honest_members_pass_with_their_own_noise(dataset: Dataset, parties: InProcessParties, name: str) -> None:
    cell = checked_cell(protocol="range_check", aggregator="mean", privacy={"name": name, "noise_multiplier": 3.0})
    outcome = one_round(cell, dataset, parties)
    assert added(outcome) == list(range(15))
    assert outcome.multipliers is not None


@pytest.mark.parametrize(("n", "cluster_size"), [(15, 3), (17, 3), (16, 5)])
@pytest.mark.parametrize("protocol", [HIDDEN, "range_check"])
def test_the_largest_honest_word_with_the_largest_noise_is_in_range(
    dataset: Dataset, protocol: object, n: int, cluster_size: int
) -> None:
    federation = build(checked_cell(protocol=protocol, n=n, cluster_size=cluster_size), dataset)
    clustering = federation.policy(population=federation.population, cluster_size=cluster_size, seed=1, round_index=0)
    most = 2 * federation.ring.largest_word(federation.terms(clustering))
    checks = cluster_protocols.make(federation.protocol)
    together = [n] if federation.hidden else clustering.sizes
    assert all(most < 1 << checks.limit(parties=size) <= 2 * most + 4 for size in together)  # type: ignore[attr-defined]
