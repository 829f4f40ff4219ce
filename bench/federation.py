"""A cell as a federated training: build the parts, run the rounds, return one row of results."""

import math
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from attacks import DataView, attacks
from bench.cell import Cell
from bench.data import Dataset
from bench.metrics import Score, score
from bench.models import Network, models
from bench.partitions import partitions
from bench.round import DivergedError, Federation, RoundOutcome, run_round
from bench.training import ClientData, LocalTraining, make_client_data
from protocols.aggregators import aggregators
from protocols.clustering import clusterings
from protocols.parties import Parties
from protocols.privacy import mechanisms
from protocols.privacy.ledger import Ledger
from protocols.randomness import SecretStreams, public_stream
from protocols.secure_sum import secure_sums

__all__ = ["CellResult", "largest_cluster", "place_faults", "run_cell"]


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What a cell measured: the columns of its row, and its learning curve, one entry an evaluated round."""

    metrics: dict[str, Any]
    curve: list[dict[str, Any]]


def place_faults(n: int, f: int, seed: int) -> np.ndarray:
    """Return a mask over the n processes with f faulty ones, uniformly at random from the placement stream."""
    faulty = np.zeros(n, dtype=bool)
    faulty[public_stream(seed, "placement").choice(n, size=f, replace=False)] = True
    return faulty


def largest_cluster(cell: Cell) -> int:
    """Return the size of the largest cluster that the cell forms: how many parties it needs."""
    policy = clusterings.make(cell.clustering)
    return max(policy(n=cell.participants, cluster_size=cell.cluster_size, seed=cell.seed, round_index=0).sizes)


def build(cell: Cell, dataset: Dataset) -> Federation:
    """Return the parts of a cell; each random choice has a stream of its own.

    Cells of one seed share their data, batches, faults and start, so that they compare; they do not share their
    privacy noise, which would cancel in the difference of two cells' results.
    """
    network = models.make(cell.model).build(dataset.shape, dataset.classes)
    faulty = place_faults(cell.n, cell.f, cell.seed)
    return Federation(
        network=network,
        data=_client_data(cell, dataset, faulty),
        training=LocalTraining(steps=cell.local_steps, batch_size=cell.batch_size, learning_rate=cell.learning_rate),
        server_learning_rate=cell.server_learning_rate,
        attack=cell.attack,
        policy=clusterings.make(cell.clustering),
        cluster_size=cell.cluster_size,
        protocol=cell.protocol,
        ring=secure_sums.make(cell.protocol).ring,
        rule=aggregators.make(cell.aggregator),
        mechanism=mechanisms.make(cell.privacy),
        faulty=faulty,
        declared_faulty=cell.f,
        participants=cell.participants,
        noise=SecretStreams.replayable(cell.seed, "privacy noise", cell.as_config()),
        seed=cell.seed,
    )


def _client_data(cell: Cell, dataset: Dataset, faulty: np.ndarray) -> ClientData:
    groups = None if dataset.groups is None else dataset.groups.numpy()
    deal = partitions.make(cell.partition)
    parts = deal(dataset.y_train.numpy(), groups, cell.n, public_stream(cell.seed, "partition"))
    inputs, labels = dataset.x_train, dataset.y_train
    if attacks.entry(cell.attack.name).facts["surface"] == "data" and faulty.any():
        rows = torch.from_numpy(np.concatenate([parts[process] for process in np.flatnonzero(faulty)]))
        view = DataView(
            inputs=inputs[rows],
            labels=labels[rows],
            classes=dataset.classes,
            rng=public_stream(cell.seed, "data attack"),
        )
        attack: Any = attacks.make(cell.attack)
        inputs, labels = inputs.clone(), labels.clone()
        inputs[rows], labels[rows] = attack(view)
    return make_client_data(inputs, labels, parts)


def run_cell(cell: Cell, dataset: Dataset, parties: Parties) -> CellResult:
    """Return what the cell measures; a training that diverges ends early and says in which round.

    Raises: CloisterError, NetworkError.
    """
    started = time.perf_counter()
    federation = build(cell, dataset)
    generator = torch.Generator().manual_seed(int(public_stream(cell.seed, "model").integers(2**31)))
    model = federation.network.initial(generator)
    attack = cell.attack if cell.f else None
    ledger = Ledger(cell.n)
    outcomes: list[RoundOutcome] = []
    curve: list[dict[str, Any]] = []
    diverged_round = None
    for round_index in range(cell.rounds):
        try:
            outcome = run_round(federation, model, round_index, parties)
        except DivergedError:
            diverged_round = round_index + 1
            break
        outcomes.append(outcome)
        model = outcome.model
        ledger.record(outcome.multipliers)
        if (round_index + 1) % cell.evaluate_every == 0 or round_index + 1 == cell.rounds:
            scored = score(federation.network, model, dataset, attack)
            curve.append(_point(round_index + 1, scored, outcomes, time.perf_counter() - started))
    final = score(federation.network, model, dataset, attack)
    metrics = _metrics(cell, federation.network, final, outcomes, ledger)
    metrics["diverged_round"] = diverged_round
    metrics["runtime_s"] = time.perf_counter() - started
    return CellResult(metrics=metrics, curve=curve)


def _point(number: int, scored: Score, outcomes: list[RoundOutcome], seconds: float) -> dict[str, Any]:
    return {
        "round": number,
        "accuracy": scored.accuracy,
        "loss": _finite(scored.loss),
        "bytes": sum(outcome.traffic.wire_bytes for outcome in outcomes),
        "seconds": seconds,
    }


def _metrics(
    cell: Cell, network: Network, final: Score, outcomes: list[RoundOutcome], ledger: Ledger
) -> dict[str, Any]:
    delta = mechanisms.make(cell.privacy).delta
    total_bytes = sum(outcome.traffic.wire_bytes for outcome in outcomes)
    return {
        "accuracy": final.accuracy,
        "loss": _finite(final.loss),
        "attack_success": final.attack_success,
        "epsilon": str(math.inf if delta is None else ledger.epsilon(delta)) if outcomes else None,
        "delta": delta,
        "clusters": max((outcome.clusters for outcome in outcomes), default=None),
        "tainted_clusters": max((outcome.tainted_clusters for outcome in outcomes), default=None),
        "failed_clusters": sum(outcome.failed_clusters for outcome in outcomes),
        "tolerated_clusters": min((outcome.tolerated_clusters for outcome in outcomes), default=None),
        "parameters": network.dimension,
        "bytes_total": total_bytes,
        "bytes_offline": sum(outcome.traffic.offline.wire_bytes for outcome in outcomes),
        "bytes_mpc": sum(outcome.traffic.mpc.wire_bytes for outcome in outcomes),
        "bytes_upload": sum(outcome.traffic.upload.wire_bytes for outcome in outcomes),
        "bytes_per_process_round": total_bytes / (cell.participants * len(outcomes)) if outcomes else None,
        "mpc_rounds": sum(outcome.traffic.mpc.rounds for outcome in outcomes),
        "sum_exact": all(outcome.sum_exact for outcome in outcomes) if outcomes else None,
        "train_s": sum(outcome.train_s for outcome in outcomes),
        "mpc_s": sum(outcome.mpc_s for outcome in outcomes),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
