"""A faulty distributor in a grid: what one member's sum tells where models are not compared, and what happens else."""

from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks.api import ModelView, attacks
from bench.cell import Cell
from bench.data import Dataset
from bench.federation import build, run_cell
from bench.grid import skip_reason
from bench.handing import Handed, hand_out
from bench.models import Network, models
from bench.round import form_clusters, run_round
from bench.setting import Federation
from bench.training import LocalTraining, make_client_data, train_locally
from protocols.in_process import InProcessParties
from protocols.model_digest import Models, model_digest
from protocols.network import NetworkError
from protocols.party_pool import PartyPool
from protocols.randomness import public_stream
from protocols.registry import Spec
from protocols.ring import FixedPoint
from protocols.secure_sum import secure_sums
from tests.rounds import cell_with, start

CHECKED = ["additive", "authenticated", "shamir", "masked", "committee"]


def one_cell(**axes: Any) -> Cell:
    given: dict[str, Any] = {"n": 12, "f": 1, "cluster_size": 4, "model": "mlp", "local_steps": 3}
    return cell_with(**{**given, "attack": "inconsistent_model", **axes})


def attacked_cluster(federation: Federation) -> tuple[int, ...]:
    """The cluster that the distributor is after."""
    clusters = form_clusters(federation, 0).clusters
    (found,) = (members for members in clusters if federation.faulty[list(members)].any())
    return found


def trained(network: Network, shape: tuple[int, ...]) -> tuple[Tensor, Models]:
    """The ring words (4, d) of four members that train what the distributor hands out, and the models' digests.

    All have different images, with zeros and large numbers among them; the first member is the victim.
    """
    rng = public_stream(3, "images")
    inputs = torch.from_numpy(rng.normal(size=(48, *shape)) * 10).float().clamp(min=0)
    labels = torch.from_numpy(rng.integers(0, 10, 48))
    data = make_client_data(inputs, labels, [np.arange(48)[member::4] for member in range(4)])
    model = network.initial(torch.Generator().manual_seed(2))
    attack: Any = attacks.make(attacks.resolve("inconsistent_model"))
    view = ModelView(model=model, layers=network.layers, members=4, honest=(0, 1, 2, 3), round_index=0)
    handed = attack.hand_out(view)
    training = LocalTraining(steps=3, batch_size=8, learning_rate=0.1)
    updates = train_locally(network, handed, data, training, public_stream(3, "batches"))
    digests = tuple(model_digest({"model": row}) for row in handed)
    return FixedPoint().encode(updates.double(), terms=8), Models(announced=digests[0], held=digests)


@pytest.mark.parametrize(("name", "shape"), [("mlp", (64,)), ("cnn", (1, 28, 28))])
class TestOnRealModels:
    """Three steps of training of a perceptron and of a convolutional network."""

    def test_the_sum_is_the_victims_update_bit_for_bit_where_nothing_checks(
        self, name: str, shape: tuple[int, ...]
    ) -> None:
        """Ring words, of everything but the output's biases: of these a dead model learns how often labels occur."""
        network = models.make(models.resolve(name)).build(shape, 10)
        words, digests = trained(network, shape)
        weights = slice(0, network.dimension - network.layers[-1])
        in_the_clear = InProcessParties(4).open_sums(secure_sums.resolve("plaintext"), words[None], models=digests)
        # The check off: nobody says what the words were made from.
        unchecked = InProcessParties(4).open_sums(secure_sums.resolve("additive"), words[None])
        for opened in (in_the_clear, unchecked):
            assert opened.contributors == (0, 1, 2, 3)
            assert torch.equal(opened.sums[0, weights], words[0, weights])
        assert int((words[0, weights] != 0).sum()) > network.dimension // 10
        assert bool(words[1:, weights.stop :].any(dim=1).all())  # the output's biases do move

    @pytest.mark.parametrize("protocol", CHECKED)
    def test_no_sum_with_the_victims_update_opens_with_the_check(
        self, name: str, shape: tuple[int, ...], protocol: str
    ) -> None:
        words, digests = trained(models.make(models.resolve(name)).build(shape, 10), shape)
        with pytest.raises(NetworkError):
            InProcessParties(4).open_sums(secure_sums.resolve(protocol), words[None], models=digests)


@pytest.mark.parametrize("protocol", CHECKED)
def test_nothing_of_the_cluster_opens_where_its_protocol_compares_models(
    digits: Dataset, parties: InProcessParties, protocol: str
) -> None:
    federation = build(one_cell(protocol=protocol), digits)
    members = attacked_cluster(federation)
    outcome = run_round(federation, start(federation), 0, parties)
    assert members not in outcome.opened.clusters
    assert len(outcome.opened.clusters) == 2
    assert not outcome.named  # who was handed the wrong model cannot be told from who says so


@pytest.mark.parametrize(("protocol", "failed"), [("plaintext", 0), *((name, 2) for name in CHECKED)])
def test_a_cell_says_what_it_costs_and_breaks_no_promise(
    digits: Dataset, parties: InProcessParties, protocol: str, failed: int
) -> None:
    metrics = run_cell(one_cell(protocol=protocol), digits, parties).metrics
    assert metrics["failed_clusters"] == failed  # of three in each of two rounds
    assert (metrics["bytes_aborted"] > 0) == (failed > 0)
    assert metrics["framed_processes"] == metrics["identified_culprits"] == 0
    assert metrics["contradicted"] == ""


class TestHandingOut:
    def test_honest_processes_hold_what_is_announced_and_batches_run_as_before(self, digits: Dataset) -> None:
        federation = build(one_cell(attack="none"), digits)
        clustering, begun = form_clusters(federation, 0), start(federation)
        handed = hand_out(federation, begun, clustering, 0)
        assert handed.models is begun
        assert not handed.misled.any()
        assert handed.of_batch(clustering.clusters) == Models.same(handed.announced[0], members=4)

    def test_clusters_of_a_federation_without_a_server_hold_their_own_models(self, digits: Dataset) -> None:
        federation = build(one_cell(attack="none"), digits)
        clustering = form_clusters(federation, 0)
        rows = torch.randn(3, federation.network.dimension, generator=torch.Generator().manual_seed(0))
        home = np.empty(12, dtype=np.int64)
        for j, members in enumerate(clustering.clusters):
            home[list(members)] = j
        handed = hand_out(federation, rows[home], clustering, 0)
        assert not handed.misled.any()
        assert len(set(handed.held)) == 3
        batch = handed.of_batch(clustering.clusters)
        assert set(batch.held) == {batch.announced}
        assert handed.of_batch(clustering.clusters[:1]).announced == handed.announced[clustering.clusters[0][0]]

    def test_only_clusters_with_a_colluding_member_are_handed_others(self, digits: Dataset) -> None:
        federation = build(one_cell(), digits)
        clustering, begun = form_clusters(federation, 0), start(federation)
        handed = hand_out(federation, begun, clustering, 0)
        colluding = attacked_cluster(federation)
        misled = set(np.flatnonzero(handed.misled).tolist())
        assert misled
        assert misled < set(colluding)
        others = [process for process in range(12) if process not in colluding]
        assert torch.equal(handed.models[others], begun.expand(8, -1))
        assert {handed.held[process] for process in others} == {handed.announced[others[0]]}

    def test_one_misled_process_shows_in_its_place_of_the_batch(self) -> None:
        held = tuple(bytes([int(process == 5)]) * 32 for process in range(8))
        handed = Handed(models=torch.zeros(1), held=held, announced=(bytes(32),) * 8)
        batch = handed.of_batch([(0, 1, 2, 3), (4, 5, 6, 7)])
        assert [model == batch.announced for model in batch.held] == [True, False, True, True]

    def test_the_digest_of_the_real_model_goes_to_the_parties_in_every_round(
        self, digits: Dataset, parties: InProcessParties
    ) -> None:
        seen: list[Models | None] = []
        original = InProcessParties.open_sums

        def listening(self: InProcessParties, spec: Spec, words: Tensor, **how: Any) -> Any:
            if words.shape[2] > 1:  # not what looks for digits of randomness in tiny sums
                seen.append(how["models"])
            return original(self, spec, words, **how)

        with mock.patch.object(InProcessParties, "open_sums", listening):
            run_cell(one_cell(attack="none", protocol="additive"), digits, parties)
        assert len(seen) == 2
        assert all(batch is not None and set(batch.held) == {batch.announced} for batch in seen)
        assert seen[0] != seen[1]  # the model of the first round has moved


def test_party_processes_open_the_same_round_with_its_model(
    digits: Dataset, parties: InProcessParties, pool: PartyPool
) -> None:
    federation = build(one_cell(attack="none", protocol="additive"), digits)
    threads = run_round(federation, start(federation), 0, parties)
    processes = run_round(build(one_cell(attack="none", protocol="additive"), digits), start(federation), 0, pool)
    assert torch.equal(threads.model, processes.model)
    assert threads.opened.clusters == processes.opened.clusters


class TestTheDeadModel:
    def test_has_another_last_hidden_layer_and_nothing_else(self, digits: Dataset) -> None:
        network = build(one_cell(), digits).network
        model = torch.randn(network.dimension, generator=torch.Generator().manual_seed(1))
        attack: Any = attacks.make(attacks.resolve("inconsistent_model"))
        view = ModelView(model=model, layers=network.layers, members=4, honest=(1, 2, 3), round_index=0)
        rows = attack.hand_out(view)
        assert torch.equal(rows[:2], model.expand(2, -1))
        first = sum(network.layers[:2])
        assert torch.equal(rows[2], rows[3])
        assert torch.equal(rows[2, first:], model[first:])
        assert not bool(network.logits(rows[2:3], torch.rand(1, 5, 64))[0].std(dim=0).any())  # no input comes through

    def test_a_lone_honest_member_is_handed_the_model(self, digits: Dataset) -> None:
        network = build(one_cell(), digits).network
        model = torch.ones(network.dimension)
        attack: Any = attacks.make(attacks.resolve("inconsistent_model"))
        view = ModelView(model=model, layers=network.layers, members=3, honest=(1,), round_index=0)
        assert torch.equal(attack.hand_out(view), model.expand(3, -1))


@pytest.mark.parametrize(
    ("axes", "reason"),
    [
        ({"model": "logistic"}, "attack 'inconsistent_model' needs a hidden layer"),
        ({"topology": "ring"}, "inconsistent_model hands out the global model, and with ring there is none"),
        ({"worker": "momentum"}, "inconsistent_model hands out other models in every round, and momentum remembers"),
    ],
)
def test_a_cell_that_it_does_not_suit_is_skipped_with_the_reason(
    digits: Dataset, axes: dict[str, Any], reason: str
) -> None:
    said = skip_reason(one_cell(**axes), digits)
    assert said is not None
    assert reason in said
