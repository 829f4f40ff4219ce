"""Gradients of all clients at once against a plain loop over torch's own layers, and learning itself."""

import numpy as np
import pytest
import torch
from torch import nn

from bench.models import cnn as cnn_module
from bench.models import models
from bench.models._dense import softmax_error
from bench.peers import Comparison, interleave, training
from bench.peers.training import GRADIENT_TOLERANCE, cases, client_gradient, load
from bench.training import LocalTraining, make_client_data, train_locally
from protocols.check import CloisterError

N, BATCH = 4, 6


def batch_for(case: training.Case) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(N, BATCH, *case.shape, generator=generator)
    labels = torch.randint(0, 10, (N, BATCH), generator=generator)
    parameters = 0.1 * torch.randn(N, case.network.dimension, generator=generator)
    return parameters, inputs, labels


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_gradients_of_all_clients_equal_those_of_a_loop_over_clients(case: training.Case) -> None:
    parameters, inputs, labels = batch_for(case)
    clients = [load(case.module(), row) for row in parameters]
    expected = torch.stack([client_gradient(*client) for client in zip(clients, inputs, labels, strict=True)])
    assert float((case.network.gradients(parameters, inputs, labels) - expected).abs().max()) <= GRADIENT_TOLERANCE


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_the_layers_are_the_parameters_of_torch_layers(case: training.Case) -> None:
    """Each block is one tensor of torch's: weights and bias apart, in the order of the flat rows."""
    assert case.network.layers == tuple(parameter.numel() for parameter in case.module().parameters())


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_logits_equal_those_of_torch_layers(case: training.Case) -> None:
    parameters, inputs, _ = batch_for(case)
    expected = torch.stack([load(case.module(), row)(x) for row, x in zip(parameters, inputs, strict=True)])
    assert torch.allclose(case.network.logits(parameters, inputs), expected, atol=1e-4)


@pytest.mark.parametrize("case", cases(), ids=lambda case: case.name)
def test_one_shared_row_of_parameters_gives_the_same_as_copies_of_it(case: training.Case) -> None:
    parameters, inputs, labels = batch_for(case)
    shared = parameters[:1].expand(N, -1)
    copies = case.network.gradients(shared.clone(), inputs, labels)
    # Other strides may choose another kernel, which adds in another order.
    assert float((case.network.gradients(shared, inputs, labels) - copies).abs().max()) <= GRADIENT_TOLERANCE


@pytest.mark.parametrize("side", [28, 32, 13, 17])
def test_the_cnn_takes_images_of_other_sides_and_depths(side: int) -> None:
    network = cnn_module.Cnn(channels=3).build((3, side, side), 10)
    small = (side - 5) // 2 + 1
    small = (small - 5) // 2 + 1
    module = nn.Sequential(
        nn.Conv2d(3, 3, 5, 2), nn.ReLU(), nn.Conv2d(3, 6, 5, 2), nn.ReLU(), nn.Flatten(), nn.Linear(6 * small**2, 10)
    )
    case = training.Case(name="cnn", network=network, module=lambda: module, shape=(3, side, side))
    parameters, inputs, labels = batch_for(case)
    expected = torch.stack(
        [client_gradient(load(module, row), x, y) for row, x, y in zip(parameters, inputs, labels, strict=True)]
    )
    assert float((network.gradients(parameters, inputs, labels) - expected).abs().max()) <= GRADIENT_TOLERANCE


def test_a_planted_error_in_the_input_gradient_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    original = cnn_module._input_gradient
    monkeypatch.setattr(cnn_module, "_input_gradient", lambda *given: original(*given).roll(1, dims=3))
    case = next(case for case in cases() if case.name.startswith("cnn"))
    with pytest.raises(AssertionError):
        test_gradients_of_all_clients_equal_those_of_a_loop_over_clients(case)


def test_the_peer_benchmark_refuses_to_time_gradients_that_differ(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "client_gradient", lambda client, x, y: 2 * client_gradient(client, x, y))
    with pytest.raises(AssertionError, match="gradients differ"):
        training.compare_training(n=2, batch=3, turns=1)


def test_interleaving_reports_the_median_ratio_of_the_peer_to_ours() -> None:
    comparison = interleave("a", "b", lambda: None, lambda: sum(range(20_000)), turns=5)
    assert isinstance(comparison, Comparison)
    assert comparison.ratio > 1


def test_the_softmax_error_sums_to_zero_over_classes() -> None:
    errors = softmax_error(
        torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([[0, 1, 4]] * 2)
    )
    assert float(errors.sum(dim=2).abs().max()) < 1e-6


@pytest.mark.parametrize(("name", "shape"), [("cnn", (64,)), ("cnn", (1, 8, 8)), ("cnn", (1, 28, 30))])
def test_a_model_says_in_words_which_inputs_it_cannot_take(name: str, shape: tuple[int, ...]) -> None:
    assert "square images" in str(models.make(models.resolve(name)).unfit(shape))


def separable(n: int) -> tuple[torch.Tensor, torch.Tensor, list[np.ndarray]]:
    generator = torch.Generator().manual_seed(5)
    labels = torch.randint(0, 3, (300,), generator=generator)
    inputs = 3 * nn.functional.one_hot(labels, 3) + torch.randn(300, 3, generator=generator)
    return inputs.float(), labels, [part.astype(np.int64) for part in np.array_split(np.arange(300), n)]


@pytest.mark.parametrize("steps", [1, 4])
def test_local_training_equals_plain_sgd_of_each_client(steps: int) -> None:
    """The same batches, one client at a time, with torch's own layer: equal to float32 rounding."""
    inputs, labels, parts = separable(3)
    data = make_client_data(inputs, labels, parts)
    network = models.make(models.resolve("logistic")).build((3,), 3)
    model = torch.zeros(network.dimension)
    training_ = LocalTraining(steps=steps, batch_size=8, learning_rate=0.3)
    updates = train_locally(network, model, data, training_, np.random.default_rng(7))
    rng = np.random.default_rng(7)
    batches = [data.batch(8, rng) for _ in range(steps)]
    for client in range(3):
        module = load(nn.Linear(3, 3), model)
        optimiser = torch.optim.SGD(module.parameters(), lr=0.3)
        for x, y in batches:
            optimiser.zero_grad()
            nn.functional.cross_entropy(module(x[client]), y[client]).backward()
            optimiser.step()
        expected = nn.utils.parameters_to_vector(module.parameters()).detach() - model
        assert float((updates[client] - expected).abs().max()) <= GRADIENT_TOLERANCE


def test_a_client_is_only_ever_given_its_own_rows() -> None:
    inputs = torch.arange(30.0)[:, None]
    parts = [np.arange(0, 3), np.arange(3, 20), np.arange(20, 30)]
    data = make_client_data(inputs, torch.zeros(30, dtype=torch.int64), parts)
    drawn, _ = data.batch(400, np.random.default_rng(0))
    for client, part in enumerate(parts):
        assert set(drawn[client].flatten().tolist()) == set(part.tolist())


def test_a_client_without_rows_is_refused_by_its_number() -> None:
    with pytest.raises(CloisterError, match="process 1 has no training rows"):
        make_client_data(torch.zeros(2, 1), torch.zeros(2), [np.array([0, 1]), np.array([], dtype=np.int64)])
