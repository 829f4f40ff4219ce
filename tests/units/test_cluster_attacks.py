"""Attacks that know the clusters: where they sit, what they claim, and what they send together."""

import dataclasses
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from scipy import stats

from attacks import attacks
from attacks.api import ClaimView, ClusterView, OpenedRound
from attacks.cluster.isolate import Isolate
from attacks.testing import make_update_view
from bench.cell import Cell
from bench.data import Dataset
from bench.federation import build, run_cell
from bench.grid import skip_reason
from bench.round import form_clusters
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.in_process import InProcessParties
from protocols.population import Population, Report
from protocols.randomness import public_stream
from protocols.testing.fault_placements import example_view
from tests.rounds import cell_with


@pytest.fixture(scope="module")
def parties() -> InProcessParties:
    return InProcessParties(8)


def one_cell(attack: object, **axes: Any) -> Cell:
    return cell_with(**{"n": 24, "f": 5, "cluster_size": 4, "protocol": "plaintext", "attack": attack, **axes})


def counts(cell: Cell, digits: Dataset) -> list[int]:
    federation = build(cell, digits)
    return sorted(form_clusters(federation, 0).faulty_counts(federation.faulty).tolist())


# ---- placing the budget


def test_spread_taint_taints_as_many_clusters_as_there_are_faulty(digits: Dataset, parties: InProcessParties) -> None:
    assert counts(one_cell(["spread_taint", "ipm"]), digits) == [0, 1, 1, 1, 1, 1]
    metrics = run_cell(one_cell(["spread_taint", "ipm"]), digits, parties).metrics
    assert metrics["tainted_clusters"] == 5


def test_pack_break_exposes_where_chance_does_not(digits: Dataset, parties: InProcessParties) -> None:
    """Three of the four members of a cluster: the sum that is opened tells the fourth one's update."""
    cell = one_cell({"name": "pack_break", "aim": "private"}, protocol="additive")
    assert max(counts(cell, digits)) == 3
    metrics = run_cell(cell, digits, parties).metrics
    assert metrics["exposed_processes"] >= 1
    assert not metrics["predicted_private"]
    assert metrics["contradicted"] == ""


def test_rejoining_gathers_the_faulty_and_without_attempts_nobody_moves(digits: Dataset) -> None:
    """With 1000 attempts a process misses the 4 places of 24 with probability (20/24)^1000 < 1e-79 where one is free.

    The cluster aimed at is full before the fifth.
    """
    assert counts(one_cell({"name": "rejoin", "attempts": 1000}), digits)[-1] == 4
    stays = build(one_cell({"name": "rejoin", "attempts": 0}), digits)
    assert np.array_equal(stays.faulty, build(one_cell("none"), digits).faulty)


def test_a_rejoining_process_comes_to_a_uniform_place_at_each_attempt() -> None:
    """One process, one attempt, clusters of 2 among 6: from outside it is in the aim with probability 2/6.

    With one process the aim is its own cluster, so a second one that sits there already is needed: of the draws in
    which two start apart, the second one's cluster counts. 600 seeds; bad luck below 1e-6, a rule that never joins or
    always does is seen at once.
    """
    attack = attacks.make(attacks.resolve({"name": "rejoin", "attempts": 1}))
    start = attacks.make(attacks.resolve({"name": "rejoin", "attempts": 0}))
    tries = joined = 0
    for seed in range(600):
        view = example_view(6, 2, 2, seed=seed)
        before, after = start.place(view), attack.place(view)
        clusters = view.clustering.clusters
        apart = max(int(before[list(members)].sum()) for members in clusters) == 1
        tries += apart
        joined += apart and max(int(after[list(members)].sum()) for members in clusters) == 2
    # Of the two places in the aim one is taken by the other, with whom it would only swap.
    assert stats.binomtest(joined, tries, 1 / 6).pvalue > 1e-6
    assert tries > 300


@pytest.mark.parametrize(
    ("attack", "axes", "reason"),
    [
        (["spread_taint", "rejoin"], {}, "spread_taint and rejoin both place the faulty processes"),
        ("rejoin", {"placement": "packed"}, "rejoin places the faulty processes itself, and placement = packed"),
        ("rejoin", {"participation": 0.5}, "only 12 of 24 take part"),
        (["isolate", "spread_taint"], {}, "isolate changes the clusters by what it claims"),
        ("isolate", {"placement": "spread"}, "isolate changes the clusters by what it claims"),
    ],
)
def test_what_cannot_be_placed_is_skipped(digits: Dataset, attack: object, axes: dict[str, Any], reason: str) -> None:
    assert reason in str(skip_reason(one_cell(attack, **axes), digits))


# ---- isolating a victim


def test_isolation_leaves_one_victim_among_its_mimics(digits: Dataset, parties: InProcessParties) -> None:
    """Under clustering by similarity, on skewed data: its update is told, and by chance it is not."""
    skewed = {"name": "dirichlet", "alpha": 0.1}
    axes = {"clustering": "similarity", "partition": skewed, "protocol": "additive", "f": 4}
    lied = run_cell(one_cell("isolate", **axes), digits, parties).metrics
    honest = run_cell(one_cell("none", **axes), digits, parties).metrics
    assert lied["exposed_processes"] == 1
    assert honest["exposed_processes"] == 0
    assert not lied["predicted_private"]
    elsewhere = run_cell(one_cell("isolate", **{**axes, "clustering": "random"}), digits, parties).metrics
    assert elsewhere["exposed_processes"] == 0


def test_the_victim_is_the_loneliest_honest_process_and_just_enough_mimic_it() -> None:
    features = np.array([[0.0, 1.0], [0.1, 0.9], [1.0, 0.0], [0.5, 0.5], [0.5, 0.4], [0.0, 0.95], [0.3, 0.3]])
    faulty = np.array([False, False, False, True, True, False, True])
    view = ClaimView(features=features.copy(), faulty=faulty, cluster_size=3, rng=public_stream(0, "claims"))
    claimed = Isolate().claim(view)
    assert (claimed[[3, 4]] == features[2]).all()
    assert (claimed[[0, 1, 2, 5, 6]] == features[[0, 1, 2, 5, 6]]).all()


def test_a_claim_about_honest_processes_is_refused(digits: Dataset) -> None:
    with (
        mock.patch.object(Isolate, "claim", lambda self, view: view.features + 1.0),
        pytest.raises(CloisterError, match="attack 'isolate' changes features that are not its own"),
    ):
        build(one_cell("isolate"), digits)


# ---- what is sent


def colluding(cancel: float = 10.0, **changed: Any) -> tuple[ClusterView, torch.Tensor]:
    """Senders 0, 1, 2 in clusters of two: 0 and 1 share one, 2 is with an honest process."""
    view = make_update_view("cluster")
    assert isinstance(view, ClusterView)
    view = dataclasses.replace(view, **changed)
    return view, attacks.make(attacks.resolve({"name": "collude_cluster", "cancel": cancel}))(view)


def test_colluders_choose_the_mean_of_a_cluster_that_they_fill() -> None:
    """Against their own mean, and as long as the median of the means that were opened before."""
    view, sent = colluding()
    expected = view.own.mean(dim=0)
    assert view.opened is not None
    length = view.opened.means.norm(dim=1).quantile(0.5)
    mean = sent[:2].mean(dim=0)
    assert float((mean + expected * length / expected.norm()).abs().max()) <= 1e-12 * 10 * float(length)
    assert float(sent[0].norm()) > 5 * float(length)
    assert float(sent[1].norm()) > 5 * float(length)


def test_a_colluder_alone_makes_up_for_the_honest_member() -> None:
    """If that one sent the colluders' own mean, the cluster's would be what they aim at."""
    view, sent = colluding()
    expected = view.own.mean(dim=0)
    assert view.opened is not None
    length = view.opened.means.norm(dim=1).quantile(0.5)
    mean = (sent[2] + expected) / 2
    assert float((mean + expected * length / expected.norm()).abs().max()) <= 1e-12 * float(length) * 10


def test_without_cancelling_all_rows_of_a_cluster_are_alike() -> None:
    _, sent = colluding(cancel=0.0)
    assert torch.equal(sent[0], sent[1])
    assert not torch.equal(sent[0], sent[2])


def test_the_length_of_their_own_mean_serves_where_nothing_was_opened() -> None:
    for opened in (None, OpenedRound(clusters=(), means=torch.empty(0, 11, dtype=torch.float64))):
        view, sent = colluding(opened=opened)
        assert float((sent[:2].mean(dim=0) + view.own.mean(dim=0)).abs().max()) <= 1e-12


def test_score_gaming_strikes_when_the_clustering_would_trust_it() -> None:
    """Its score is the one of the clustering `reputation` for what it did so far, if strikes are flagged."""
    attack = attacks.make(attacks.resolve({"name": "score_gaming", "trust": 0.7}))
    reputation = clusterings.make(clusterings.resolve("reputation"))
    memory: dict[str, Any] = {}
    reports: tuple[Report, ...] = ()
    struck: list[bool] = []
    for round_index in range(12):
        view = dataclasses.replace(make_update_view("own"), memory=memory, round_index=round_index)
        sent = attack(view)
        strikes = not torch.equal(sent, view.own)
        if strikes:
            assert torch.equal(sent, -4.0 * view.own)
        score = reputation.scores(Population(n=2, reports=reports), round_index)[0]
        assert strikes == (score >= 0.7)
        struck.append(strikes)
        flagged = frozenset({0}) if strikes else frozenset()
        reports += (Report(round_index=round_index, clusters=((0,), (1,)), suspected=flagged),)
    assert struck[:3] == [False, False, True]  # 1/2, 2/3, then 3/4
    assert sum(struck) == 3


def test_who_omits_its_noise_makes_its_cluster_less_private(digits: Dataset, parties: InProcessParties) -> None:
    """The noise that protects the honest is the same; that of the opened sums is less, and accuracy no worse.

    Epsilon counts honest members' noise only, whatever the faulty say that they add.
    """
    private = {"name": "distributed", "noise_multiplier": 0.5}
    axes = {"privacy": private, "protocol": "additive", "f": 8, "rounds": 1}
    omitting = build(one_cell("omit_noise", **axes), digits)
    assert omitting.parts[0].facts["adds_noise"] is False
    kept, omitted = (run_cell(one_cell(name, **axes), digits, parties).metrics for name in ("none", "omit_noise"))
    assert kept["epsilon"] == omitted["epsilon"]
    assert kept["honest_deviation"] > omitted["honest_deviation"]
