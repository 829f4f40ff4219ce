"""Rounds without a server: each cluster's own model, what is told to whom, and what a row says of it."""

import dataclasses
import math
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks import attacks
from attacks.api import ExchangeView
from attacks.exchange.two_faces import TwoFaces
from attacks.testing._exchange import make_exchange_view
from bench.cell import Cell, cell_key
from bench.data import Dataset
from bench.decentralised import exchange_models, known_model, one_model
from bench.estimate import estimate_s
from bench.experiment import load_experiment, parse_experiment
from bench.federation import build, run_cell
from bench.grid import expand, skip_reason
from bench.metrics import score
from bench.opening import Opened
from bench.round import RoundOutcome, form_clusters, run_round
from bench.setting import Federation
from bench.training import train_locally
from protocols.decentralised.graph import Graph, metropolis_weights
from protocols.decentralised.heard import Heard
from protocols.decentralised.rules import Exchanged
from protocols.decentralised.rules.gossip import Gossip
from protocols.decentralised.rules.nna import NearestNeighbourAveraging
from protocols.in_process import InProcessParties
from protocols.network import HEADER_BYTES
from protocols.randomness import public_stream
from protocols.types import Traffic
from tests.rounds import cell_with, start


def one_cell(**axes: Any) -> Cell:
    settings = {"n": 15, "f": 2, "cluster_size": 3, "protocol": "plaintext", "topology": "ring", "exchange": "nna"}
    return cell_with(**{"rounds": 3, **settings, **axes})


def two_rounds(federation: Federation, parties: InProcessParties) -> tuple[Tensor, RoundOutcome]:
    """Return the models (m, d) before the second round, and its outcome."""
    first = run_round(federation, start(federation), 0, parties)
    return first.model, run_round(federation, first.model, 1, parties)


# ---- each cluster trains its own model, and exchanges it


@pytest.mark.parametrize("attack", ["none", "sign_flip"])
def test_a_later_round_equals_a_slow_reference(digits: Dataset, parties: InProcessParties, attack: str) -> None:
    """Each process by itself from its cluster's model, the weights one by one; what is left is rounding.

    Each of 3 words of a mean is off by at most half a unit; models are float32, 24 bits of their largest number.
    """
    federation = build(one_cell(exchange="gossip", attack=attack), digits)
    models, outcome = two_rounds(federation, parties)
    clusters = form_clusters(federation, 1).clusters
    home = {process: j for j, members in enumerate(clusters) for process in members}
    starts = torch.stack([models[home[process]] for process in range(15)])
    rng = public_stream(federation.seed, "batches", 1)
    updates = train_locally(federation.network, starts, federation.data, federation.training, rng).double()
    for process in np.flatnonzero(federation.faulty):
        updates[process] *= -4.0 if attack == "sign_flip" else 1.0
    stepped = [models[j].double() + updates[list(members)].mean(dim=0) for j, members in enumerate(clusters)]
    for j in range(5):
        expected = (stepped[j] + stepped[(j + 1) % 5] + stepped[(j - 1) % 5]) / 3  # all have two neighbours
        gap = float((outcome.model[j].double() - expected).abs().max())
        assert gap <= federation.ring.unit / 2 + float(expected.abs().max()) * 2.0**-23


def test_clusters_of_one_size_that_all_gossip_have_the_servers_model(
    digits: Dataset, parties: InProcessParties
) -> None:
    """The Metropolis weights of a complete graph are all 1/m: everybody computes what a server would."""
    served, alone = (
        build(one_cell(topology=name, exchange="gossip", aggregator="mean"), digits) for name in ("server", "complete")
    )
    model = start(served)
    for round_index in range(2):
        expected = run_round(served, model, round_index, parties).model
        found = run_round(alone, model, round_index, parties).model
        assert float((found - expected).abs().max()) <= float(expected.abs().max()) * 2.0**-23
        model = expected


def test_clusters_that_exchange_nothing_train_alone(digits: Dataset, parties: InProcessParties) -> None:
    """What faulty processes of other clusters send does not matter, and nothing is sent between clusters."""
    results = [
        run_cell(one_cell(exchange="none", attack=attack), digits, parties).metrics for attack in ("none", "sign_flip")
    ]
    for name in ("accuracy", "worst_honest_accuracy", "consensus_distance"):
        assert results[0][name] == results[1][name]
    assert results[1]["bytes_exchange"] == 0
    assert results[1]["consensus_distance"] > 0


@pytest.mark.parametrize(
    ("topology", "exchange", "messages"),
    [("ring", "gossip", 5 * 2), ("complete", "nna", 5 * 4), ("complete", {"name": "rpel", "samples": 3}, 5 * 3)],
)
def test_the_bytes_of_an_exchange_are_those_of_its_messages(
    digits: Dataset, parties: InProcessParties, topology: str, exchange: object, messages: int
) -> None:
    """Each message goes to the three members of a cluster: a float32 for each parameter, and a header."""
    metrics = run_cell(one_cell(topology=topology, exchange=exchange), digits, parties).metrics
    assert metrics["bytes_exchange"] == 3 * messages * 3 * (4 * metrics["parameters"] + HEADER_BYTES)
    parts = [metrics[f"bytes_{part}"] for part in ("offline", "mpc", "upload", "exchange")]
    assert sum(parts) == metrics["bytes_total"]


def test_a_cluster_that_opened_nothing_exchanges_the_model_that_it_has(digits: Dataset) -> None:
    federation = build(one_cell(exchange="gossip"), digits)
    models = torch.arange(5.0)[:, None].expand(5, federation.network.dimension)
    ones = torch.ones(4, federation.network.dimension, dtype=torch.float64)
    opened = Opened(numbers=[0, 1, 2, 4], means=ones, contributors=[(0,)] * 4, exact=[True] * 4, traffic=Traffic.none())
    found = exchange_models(
        federation, models, opened, ones, clustering=form_clusters(federation, 0), round_index=0
    ).models
    held = torch.tensor([1.0, 2.0, 3.0, 3.0, 5.0])
    assert torch.allclose(found[:, 0], (held + held.roll(1) + held.roll(-1)) / 3, rtol=1e-6)


# ---- Byzantine clusters


class Recorder:
    """A rule that keeps what was heard."""

    def __init__(self, inner: Any) -> None:
        self.inner, self.heard = inner, []

    def __call__(self, heard: Heard, tolerate: int, rng: np.random.Generator) -> Exchanged:
        self.heard.append((heard, tolerate))
        return self.inner(heard, tolerate, rng)

    def breakdown(self, degree: int) -> int:
        return self.inner.breakdown(degree)

    def reach(self, degree: int) -> float:
        return self.inner.reach(degree)


def heard_in(cell: Cell, digits: Dataset, parties: InProcessParties) -> tuple[Heard, int, tuple[int, ...]]:
    federation = build(cell, digits)
    federation = dataclasses.replace(federation, exchange=Recorder(federation.exchange))
    run_round(federation, start(federation), 0, parties)
    counts = form_clusters(federation, 0).faulty_counts(federation.faulty)
    ((heard, tolerate),) = federation.exchange.heard
    return heard, tolerate, tuple(np.flatnonzero(counts > 0).tolist())


def test_byzantine_clusters_tell_each_neighbour_what_the_attack_says(
    digits: Dataset, parties: InProcessParties
) -> None:
    heard, tolerate, tainted = heard_in(one_cell(attack="two_faces", topology="complete"), digits, parties)
    assert tuple(heard.liars.tolist()) == tainted
    assert tolerate == 2
    away = (heard.told[0] - heard.values).norm(dim=1)
    lengths = (heard.values - heard.values.mean(dim=0)).square().sum(dim=1).mean().sqrt()
    assert float((away / lengths - 3.0).abs().max()) <= 1e-12
    directions = (heard.told[0] - heard.values) / away[:, None]
    assert sorted((directions @ directions[0]).round().tolist()) in ([-1, -1, -1, 1, 1], [-1, -1, 1, 1, 1])


def test_without_an_attack_on_the_exchange_all_neighbours_hear_the_same(
    digits: Dataset, parties: InProcessParties
) -> None:
    heard, _, tainted = heard_in(one_cell(attack="sign_flip"), digits, parties)
    assert tainted
    assert len(heard.liars) == 0


def test_a_schedule_says_when_and_how_much_and_a_share_who_lies(digits: Dataset, parties: InProcessParties) -> None:
    later = {"name": "two_faces", "from_round": 2}
    assert len(heard_in(one_cell(attack=later), digits, parties)[0].liars) == 0
    ramped = {"name": "two_faces", "ramp_rounds": 2}
    half, _, tainted = heard_in(one_cell(attack=ramped), digits, parties)
    whole, _, _ = heard_in(one_cell(attack="two_faces"), digits, parties)
    held = half.values[list(tainted)][:, None]
    assert torch.allclose(half.told, held + 0.5 * (whole.told - held), rtol=0, atol=1e-12)
    shared, _, _ = heard_in(one_cell(attack={"name": "two_faces", "share": 0.5}), digits, parties)
    assert len(shared.liars) == 1 < len(tainted)
    assert int(shared.liars[0]) in tainted


def test_of_two_attacks_on_the_exchange_the_last_one_speaks(digits: Dataset, parties: InProcessParties) -> None:
    both, _, tainted = heard_in(one_cell(attack=["two_faces", "dissensus"]), digits, parties)
    alone, _, _ = heard_in(one_cell(attack="dissensus"), digits, parties)
    assert tuple(both.liars.tolist()) == tainted
    assert torch.equal(both.told, alone.told)


def test_dissensus_leaves_gossip_where_it_is_and_half_of_it_half_way() -> None:
    """What every honest neighbour draws, Byzantine ones undo: x_i + (1 - strength) sum over honest W_ij (x_j - x_i)."""
    view = make_exchange_view()
    honest = [j for j in range(7) if j not in view.liars]
    weights = view.weights.clone()
    reached = (weights[:, list(view.liars)] > 0).any(dim=1)
    weights[:, list(view.liars)] = 0.0
    weights.fill_diagonal_(0.0)
    drawn = weights @ view.held - weights.sum(dim=1, keepdim=True) * view.held
    for strength in (1.0, 0.5):
        told = attacks.make(attacks.resolve({"name": "dissensus", "strength": strength}))(view)
        graph = [(a, b) for a in range(7) for b in range(a + 1, 7) if view.weights[a, b] > 0]
        heard = Heard(values=view.held, graph=Graph.of(7, graph), liars=torch.tensor(view.liars), told=told)
        assert torch.equal(metropolis_weights(heard.graph), view.weights)
        found = Gossip()(heard, 0, public_stream(0, "none")).values
        left = torch.where(reached[:, None], 1 - strength, 1.0)
        assert float((found - view.held - left * drawn)[honest].abs().max()) <= 1e-14


def test_dissensus_on_a_complete_graph_costs_gossip_all_that_it_gives(
    digits: Dataset, parties: InProcessParties
) -> None:
    """Accuracy and distance are those of clusters that exchange nothing, to rounding of float32 in each of 3 rounds."""
    lied = run_cell(one_cell(topology="complete", exchange="gossip", attack="dissensus"), digits, parties).metrics
    alone = run_cell(one_cell(topology="complete", exchange="none"), digits, parties).metrics
    assert lied["consensus_distance"] == pytest.approx(alone["consensus_distance"], rel=1e-4)
    free = run_cell(one_cell(topology="complete", exchange="gossip"), digits, parties).metrics
    assert free["consensus_distance"] < 1e-6 * alone["consensus_distance"]


def test_a_cluster_whose_model_is_lost_does_not_end_the_training_of_the_others(
    digits: Dataset, parties: InProcessParties
) -> None:
    """Its honest members train from a model of 1e9 and get no number; theirs is the loss, and nearest neighbours hold.

    Plain gossip carries it to everybody.
    """
    axes = {"attack": {"name": "sign_flip", "scale": 1e12}, "topology": "complete", "rounds": 4}
    held = run_cell(one_cell(**axes, exchange="nna", local_steps=5), digits, parties).metrics
    assert held["diverged_round"] is None
    assert held["worst_honest_accuracy"] > 0.5
    carried = run_cell(one_cell(**axes, exchange="gossip", local_steps=5), digits, parties).metrics
    assert carried["accuracy"] < 0.3


def test_the_models_of_tainted_clusters_are_not_scored(digits: Dataset, parties: InProcessParties) -> None:
    """Accuracy is the clean clusters' average, beside their worst; distances are from their average, by hand."""
    cell = one_cell(attack={"name": "sign_flip", "scale": 1e3}, topology="complete")
    models: list[Tensor] = []
    real = run_round

    def keeping(*args: Any) -> RoundOutcome:
        outcome = real(*args)
        models.append(outcome.model)
        return outcome

    with mock.patch("bench.federation.run_round", keeping):
        metrics = run_cell(cell, digits, parties).metrics
    federation = build(cell, digits)
    clean = [j for j, count in enumerate(form_clusters(federation, 0).faulty_counts(federation.faulty)) if not count]
    assert 0 < len(clean) < 5
    rows = models[-1][clean].double()
    accuracies = [score(federation.network, models[-1][j], digits, None).accuracy for j in clean]
    assert metrics["accuracy"] == pytest.approx(sum(accuracies) / len(accuracies), abs=1e-12)
    assert metrics["worst_honest_accuracy"] == min(accuracies)
    squares = [float((row - rows.mean(dim=0)).square().sum()) for row in rows]
    assert metrics["consensus_distance"] == pytest.approx(math.sqrt(sum(squares) / len(squares)), rel=1e-9)


def test_where_every_cluster_is_tainted_no_model_is_an_honest_one(digits: Dataset, parties: InProcessParties) -> None:
    metrics = run_cell(one_cell(f=5, placement="spread"), digits, parties).metrics
    assert metrics["tainted_clusters"] == 5
    assert metrics["worst_honest_accuracy"] is metrics["consensus_distance"] is None
    assert metrics["accuracy"] > 0


def test_everybody_is_shown_the_average_of_the_models_that_are_numbers() -> None:
    models = torch.tensor([[1.0, 2.0], [3.0, 6.0], [math.nan, 0.0], [math.inf, 0.0]])
    assert one_model(models).tolist() == [2.0, 4.0]
    assert one_model(models[0]).tolist() == [1.0, 2.0]
    assert bool(one_model(models[2:]).isnan().any())


def test_byzantine_processes_know_the_models_of_their_own_clusters_only(digits: Dataset) -> None:
    federation = build(one_cell(f=1), digits)
    clusters = form_clusters(federation, 0).clusters
    models = torch.arange(5.0)[:, None].expand(5, 2)
    (theirs,) = (j for j, members in enumerate(clusters) if federation.faulty[list(members)].any())
    assert known_model(federation, models, clusters).tolist() == models[theirs].tolist()
    assert known_model(federation, models[1], clusters).tolist() == models[1].tolist()


# ---- predicted and observed


def test_the_prediction_counts_byzantine_clusters_against_the_fewest_neighbours(
    digits: Dataset, parties: InProcessParties
) -> None:
    """On a ring each cluster has two neighbours, of which nearest-neighbour averaging withstands one; gossip none."""
    for exchange, f, tolerated in (("nna", 1, True), ("nna", 2, False), ("gossip", 1, False), ("none", 2, True)):
        cell = one_cell(exchange=exchange, f=f, placement="spread", attack={"name": "two_faces", "spread": 100.0})
        metrics = run_cell(cell, digits, parties).metrics
        assert metrics["predicted_correct"] == tolerated, f"{exchange}, f = {f}"
        assert metrics["contradicted"] == ""


def test_a_rule_that_moves_clusters_too_far_contradicts_its_prediction(
    digits: Dataset, parties: InProcessParties
) -> None:
    """A planted bug: what a rule promises is looked at in every round, not only in its own tests."""
    right = NearestNeighbourAveraging.__call__

    def wrong(self: Any, heard: Heard, tolerate: int, rng: np.random.Generator) -> Exchanged:
        return right(self, heard, 0, rng)

    cell = one_cell(f=1, attack={"name": "two_faces", "spread": 100.0}, topology="complete")
    assert run_cell(cell, digits, parties).metrics["contradicted"] == ""
    with mock.patch.object(NearestNeighbourAveraging, "__call__", wrong):
        metrics = run_cell(cell, digits, parties).metrics
    assert metrics["contradicted"] == "correct"
    assert "farther" in metrics["observed_why"]


# ---- cells


def test_cells_that_differ_in_what_means_nothing_are_one() -> None:
    text = """[[grid]]\ntopology = ["server", "ring"]\nexchange = ["gossip", "nna"]\naggregator = ["median", "mean"]
    pre = ["none", "nnm", ["arc", "nnm"]]"""
    cells = expand(parse_experiment(text, name="test"))
    found = {(cell.topology.name, cell.exchange.name, cell.labels()["pre"], cell.aggregator.name) for cell in cells}
    assert found == {
        *(("server", "none", pre, rule) for pre in ("none", "nnm", "arc + nnm") for rule in ("median", "mean")),
        *(("ring", rule, "none", "mean") for rule in ("gossip", "nna")),
    }
    assert len(cells) == len(found) == len({cell_key(cell, "data") for cell in cells})


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({"cluster_size": 6}, "ring: a ring needs 3 clusters or more, and there are 2"),
        ({"topology": "torus"}, "torus: 5 clusters form no torus"),
        ({"participation": 0.5}, "clusters keep their models, and only 8 of 15 processes take part"),
        ({"clustering": {"name": "random", "every": 1}}, "random draws others in later rounds"),
        ({"clustering": "reputation"}, "reputation draws others in later rounds"),
        ({"privacy": "central"}, "central adds its noise at the server, and ring has none"),
        ({"topology": "server", "attack": "dissensus"}, "dissensus attacks the exchange between clusters"),
    ],
)
def test_what_makes_no_sense_without_a_server_is_skipped(digits: Dataset, axes: dict[str, Any], reason: str) -> None:
    assert reason in str(skip_reason(one_cell(**axes), digits))
    assert skip_reason(one_cell(), digits) is None


def test_every_cell_of_the_preset_can_be_run(digits: Dataset) -> None:
    cells = expand(load_experiment("decentralised"))
    assert [skip_reason(cell, digits) for cell in cells] == [None] * len(cells)
    assert {cell.topology.name for cell in cells} >= {"server", "ring", "torus", "complete"}


def test_noise_of_the_members_protects_without_a_server_too(digits: Dataset, parties: InProcessParties) -> None:
    private = {"name": "distributed", "noise_multiplier": 1.0}
    metrics = run_cell(one_cell(privacy=private, rounds=1), digits, parties).metrics
    served = run_cell(one_cell(privacy=private, rounds=1, topology="server"), digits, parties).metrics
    assert 0 < float(metrics["epsilon"]) < math.inf
    assert metrics["epsilon"] == served["epsilon"]


def test_an_attack_that_tells_another_shape_is_refused(digits: Dataset, parties: InProcessParties) -> None:
    def flat(self: TwoFaces, view: ExchangeView) -> Tensor:
        return view.held

    with (
        mock.patch.object(TwoFaces, "__call__", flat),
        pytest.raises(ValueError, match=r"attack 'two_faces' tells shape \(5, 650\); allowed: \(2, 5, 650\)"),
    ):
        run_cell(one_cell(attack="two_faces", rounds=1), digits, parties)


def test_a_cluster_with_few_neighbours_does_not_make_the_others_trust_everybody(
    digits: Dataset, parties: InProcessParties
) -> None:
    """The verdict goes by the weakest cluster, which withstands nobody here; each cluster by its own neighbours."""
    graph = Graph.of(5, [(0, 1), *((a, b) for a in range(1, 5) for b in range(a + 1, 5))])
    federation = build(one_cell(), digits)
    federation = dataclasses.replace(federation, graph=graph, exchange=Recorder(federation.exchange))
    outcome = run_round(federation, start(federation), 0, parties)
    assert outcome.tolerated_clusters == 0
    assert federation.exchange.heard[0][1] == 2


def test_how_long_such_a_plan_takes_can_be_estimated(digits: Dataset) -> None:
    assert estimate_s([one_cell(rounds=3)], [digits]) > 0
