"""The clients' ways to train, all clients at once, against one client after another in float64."""

import dataclasses
from collections.abc import MutableMapping

import numpy as np
import pytest
import torch

from bench.cell import PLUGINS
from bench.models import Network, models
from bench.training import ClientData, LocalTraining, make_client_data
from bench.workers import Work, Worker, workers
from bench.workers._gradients import full_gradients, row_gradients
from protocols.check import CloisterError
from protocols.randomness import public_stream

COUNTS = (5, 1, 9, 600)  # one row, an odd number, and more than two blocks and a part
FEATURES, CLASSES = 4, 3
# float32 sums of at most 600 products of numbers below 10: within 600 * 2^-24 * 10 of the float64 ones.
CLOSE = 4e-4

Memory = MutableMapping[str, torch.Tensor]


def make_data() -> ClientData:
    rng = public_stream(0, "worker data")
    total = sum(COUNTS)
    order = rng.permutation(total)
    ends = np.cumsum(COUNTS)
    parts = [np.sort(order[end - count : end]) for count, end in zip(COUNTS, ends, strict=True)]
    inputs = torch.from_numpy(rng.normal(size=(total, FEATURES))).float()
    return make_client_data(inputs, torch.from_numpy(rng.integers(CLASSES, size=total)), parts)


def network() -> Network:
    return models.make(models.resolve("logistic")).build((FEATURES,), CLASSES)


def model_of(seed: int) -> torch.Tensor:
    return torch.from_numpy(public_stream(seed, "worker model").normal(size=network().dimension)).float()


def work_of(round_index: int = 0, *, steps: int = 1, batch: int = 2, last: torch.Tensor | None = None) -> Work:
    return Work(
        network=network(),
        model=model_of(round_index),
        last=last,
        data=make_data(),
        training=LocalTraining(steps=steps, batch_size=batch, learning_rate=0.5),
        numbers=np.arange(len(COUNTS)),
        n=len(COUNTS),
        server_learning_rate=1.0,
        seed=3,
        round_index=round_index,
    )


def worker_of(name: str, **parameters: float) -> Worker:
    return workers.make(workers.resolve({"name": name, **parameters}))


def slow_gradient(model: np.ndarray, x: np.ndarray, label: int) -> np.ndarray:
    """The gradient of one row's cross-entropy of logistic regression, written out."""
    weights, bias = model[: CLASSES * FEATURES].reshape(CLASSES, FEATURES), model[CLASSES * FEATURES :]
    logits = weights @ x + bias
    error = np.exp(logits - logits.max())
    error = error / error.sum() - (np.arange(CLASSES) == label)
    return np.concatenate([np.outer(error, x).ravel(), error])


def rows_of(data: ClientData, client: int) -> list[int]:
    return data.rows[client, : data.counts[client]].tolist()


def slow_mean(model: np.ndarray, data: ClientData, rows: list[int]) -> np.ndarray:
    return np.mean([slow_gradient(model, data.inputs[row].double().numpy(), int(data.labels[row])) for row in rows], 0)


def test_full_gradients_are_those_of_every_row_of_every_client() -> None:
    work = work_of()
    found = full_gradients(work.network, work.model, work.data).double().numpy()
    for client in range(len(COUNTS)):
        expected = slow_mean(work.model.double().numpy(), work.data, rows_of(work.data, client))
        assert np.abs(found[client] - expected).max() <= CLOSE


def test_row_gradients_are_each_rows_own_at_its_own_parameters() -> None:
    data, parameters = make_data(), torch.stack([model_of(1), model_of(2)])
    found = row_gradients(network(), parameters, data.inputs[:2], data.labels[:2]).double().numpy()
    for row in range(2):
        expected = slow_gradient(
            parameters[row].double().numpy(), data.inputs[row].double().numpy(), int(data.labels[row])
        )
        assert np.abs(found[row] - expected).max() <= CLOSE


def slow_momentum(works: list[Work], beta: float) -> list[np.ndarray]:
    plain = [worker_of("sgd")(work, {}).double().numpy() for work in works]
    kept, sent = np.zeros_like(plain[0]), []
    for update in plain:
        kept = beta * kept + (1 - beta) * update
        sent.append(kept)
    return sent


def test_momentum_averages_over_the_past() -> None:
    works, memory = [work_of(k) for k in range(4)], {}
    expected = slow_momentum(works, 0.9)
    for work, wanted in zip(works, expected, strict=True):
        assert np.abs(worker_of("momentum")(work, memory).double().numpy() - wanted).max() <= CLOSE


def test_momentum_of_next_to_nothing_is_plain_sgd() -> None:
    works, memory = [work_of(k) for k in range(3)], {}
    for work in works:
        plain = worker_of("sgd")(work, {})
        assert float((worker_of("momentum", beta=1e-9)(work, memory) - plain).abs().max()) <= CLOSE


def test_momentum_forgets_an_update_that_is_no_number() -> None:
    memory: Memory = {}
    worker = worker_of("momentum")
    worker(work_of(0), memory)
    kept = memory["momentum"].clone()
    bad = dataclasses.replace(work_of(1), model=torch.full((network().dimension,), torch.nan))
    assert bool(worker(bad, memory).isnan().all())
    assert torch.equal(memory["momentum"], kept)


def slow_saga(works: list[Work]) -> list[np.ndarray]:
    """Each client by itself; only its draws are shared, as row numbers."""
    data = works[0].data
    first = works[0].model.double().numpy()
    tables = [{row: slow_mean(first, data, [row]) for row in rows_of(data, client)} for client in range(len(COUNTS))]
    sent = []
    for work in works:
        rng = public_stream(work.seed, "batches", work.round_index)
        parameters = [work.model.double().numpy().copy() for _ in COUNTS]
        for _ in range(work.training.steps):
            keys = rng.random((len(COUNTS), max(COUNTS)))
            for client, count in enumerate(COUNTS):
                own = rows_of(data, client)
                batch = [own[place] for place in np.argsort(keys[client, :count])[: work.training.batch_size]]
                table = tables[client]
                fresh = {row: slow_mean(parameters[client], data, [row]) for row in batch}
                average = np.mean(list(table.values()), axis=0)
                direction = np.mean([fresh[row] - table[row] for row in batch], axis=0) + average
                table.update(fresh)
                parameters[client] = parameters[client] - work.training.learning_rate * direction
        sent.append(np.array(parameters) - work.model.double().numpy())
    return sent


@pytest.mark.parametrize(("steps", "batch"), [(1, 1), (2, 3), (1, 700)])
def test_saga_is_the_slow_one_client_after_another(steps: int, batch: int) -> None:
    works, memory = [work_of(k, steps=steps, batch=batch) for k in range(3)], {}
    for work, wanted in zip(works, slow_saga(works), strict=True):
        assert np.abs(worker_of("saga")(work, memory).double().numpy() - wanted).max() <= CLOSE


def test_saga_keeps_the_mean_of_its_table() -> None:
    memory: Memory = {}
    for k in range(4):
        worker_of("saga")(work_of(k, batch=3), memory)
    data = make_data()
    for client in range(len(COUNTS)):
        mean = memory["table"][rows_of(data, client)].double().mean(dim=0)
        assert float((memory["mean"][client].double() - mean).abs().max()) <= CLOSE


def test_saga_with_batches_of_all_rows_is_gradient_descent() -> None:
    memory: Memory = {}
    for k in range(2):
        work = work_of(k, batch=max(COUNTS))
        expected = -0.5 * full_gradients(work.network, work.model, work.data)
        assert float((worker_of("saga")(work, memory) - expected).abs().max()) <= CLOSE


@pytest.mark.parametrize("name", ["saga", "momentum"])
def test_a_client_that_pauses_finds_its_own_memory_again(name: str) -> None:
    """Clients 1 and 3 alone in a round: the others' memory stays, and theirs is at their own numbers."""
    memory: Memory = {}
    worker_of(name)(work_of(0), memory)
    before = {key: value.clone() for key, value in memory.items()}
    some = np.array([1, 3])
    worker_of(name)(dataclasses.replace(work_of(1), numbers=some, data=make_data().of(some)), memory)
    key = "mean" if name == "saga" else "momentum"
    changed = (memory[key] != before[key]).any(dim=1)
    assert changed.tolist() == [False, True, False, True]


def test_saga_starts_a_client_that_comes_later() -> None:
    memory: Memory = {}
    some = np.array([0, 2])
    worker_of("saga")(dataclasses.replace(work_of(0), numbers=some, data=make_data().of(some)), memory)
    work = work_of(1, batch=max(COUNTS))
    found = worker_of("saga")(work, memory)
    expected = -0.5 * full_gradients(work.network, work.model, work.data)
    assert float((found - expected).abs().max()) <= CLOSE


def test_saga_refuses_a_table_beyond_memory() -> None:
    assert worker_of("saga").unfit(rows=1000, dimension=1000, steps=5) is None
    assert "22.4 GiB; allowed: 2 GiB" in str(worker_of("saga").unfit(rows=60_000, dimension=100_000, steps=5))


class TestMarina:
    def test_the_first_round_takes_full_gradients(self) -> None:
        work = work_of(0)
        expected = -0.5 * full_gradients(work.network, work.model, work.data)
        assert torch.equal(worker_of("marina")(work, {}), expected)

    def test_later_rounds_add_the_change_of_the_same_batch(self) -> None:
        """At full = 1e-9 the coin never falls on full gradients here."""
        work = work_of(1, last=model_of(0), batch=4)
        data, rng = work.data, public_stream(work.seed, "batches", 1)
        places = (torch.from_numpy(rng.random((len(COUNTS), 4))) * data.counts[:, None]).long()
        found = worker_of("marina", full=1e-9)(work, {}).double().numpy()
        now, last = work.model.double().numpy(), model_of(0).double().numpy()
        for client in range(len(COUNTS)):
            batch = [rows_of(data, client)[place] for place in places[client].tolist()]
            change = slow_mean(now, data, batch) - slow_mean(last, data, batch)
            assert np.abs(found[client] - (now - last - 0.5 * change)).max() <= CLOSE

    def test_all_clients_toss_the_same_coin_as_often_as_asked(self) -> None:
        """Of 200 rounds at 1/2, between 58 and 142 are full but for 2e-9 of the seeds (6 standard deviations)."""
        full = 0
        for k in range(1, 201):
            work = dataclasses.replace(work_of(0, last=model_of(1), batch=1), round_index=k)
            whole = torch.equal(
                worker_of("marina", full=0.5)(work, {}), -0.5 * full_gradients(work.network, work.model, work.data)
            )
            full += whole
        assert 58 <= full <= 142

    def test_a_round_after_none_takes_full_gradients(self) -> None:
        work = work_of(1, last=model_of(1))
        expected = -0.5 * full_gradients(work.network, work.model, work.data)
        assert torch.equal(worker_of("marina", full=1e-9)(work, {}), expected)

    def test_it_refuses_several_local_steps(self) -> None:
        assert worker_of("marina").unfit(rows=1, dimension=1, steps=1) is None
        assert "local_steps = 3" in str(worker_of("marina").unfit(rows=1, dimension=1, steps=3))


@pytest.mark.parametrize(
    ("name", "parameter", "value"), [("momentum", "beta", 1.0), ("momentum", "beta", 0.0), ("marina", "full", 0.0)]
)
def test_parameters_out_of_range_are_refused(name: str, parameter: str, value: float) -> None:
    with pytest.raises(CloisterError, match=f"{parameter} = {value} is not allowed"):
        worker_of(name, **{parameter: value})


@pytest.mark.parametrize("name", sorted(workers.entries()))
def test_every_worker_sends_updates_of_the_clients_that_take_part(name: str) -> None:
    entry = PLUGINS["worker"].entry(name)
    assert entry.source
    for example in ({}, *entry.examples):
        worker, memory = worker_of(name, **example), {}
        found = worker(work_of(0), memory)
        assert found.shape == (len(COUNTS), network().dimension)
        assert found.dtype == torch.float32
        again = worker(work_of(0), {})
        assert torch.equal(found, again), "equal work gives equal updates"
