"""A cell as a federated training: build the parts, run the rounds, return one row of results."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType
from typing import Any

import numpy as np
import torch

from attacks import attacks
from attacks.plan import assign, specs_of
from bench.cell import NUMBERS, Cell
from bench.chain import real_links
from bench.churning import churning_of
from bench.columns import columns_of, point_of
from bench.data import Dataset
from bench.decentralised import known_model, score_models
from bench.drawing import Draws
from bench.hidden import protocol_of
from bench.hiring import Hire, Threads
from bench.judging import Epoch
from bench.metrics import score
from bench.misconduct import misconduct_among
from bench.models import models
from bench.partitions import partitions
from bench.placing import claimed, placing
from bench.poisoning import Poisoning
from bench.population import make_population, place, with_trust
from bench.recall import Recall
from bench.round import DivergedError, RoundOutcome, form_clusters, run_round
from bench.rules import rule_of
from bench.setting import Federation, Past
from bench.training import ClientData, LocalTraining, make_client_data
from bench.workers import workers
from protocols.beacons import Company
from protocols.clustering import clusterings
from protocols.compression import PLAIN, compressors
from protocols.decentralised.graph import Graph
from protocols.decentralised.graphs import topologies
from protocols.decentralised.rules import exchanges
from protocols.hidden_sums import hidden_sums
from protocols.parties import Parties
from protocols.placements import PlacementView
from protocols.playable import cluster_protocols, conditions_under, opens_sums
from protocols.privacy import mechanisms
from protocols.privacy.ledger import Ledger
from protocols.randomness import SecretStreams, public_stream
from protocols.tolerance.conditions import Conditions

__all__ = ["CellResult", "build", "cluster_sizes", "largest_cluster", "move_faults", "run_cell"]

# Axes that did not exist when results were first published: at these values a cell keeps its noise.
_LATER: Mapping[str, Any] = MappingProxyType(
    {
        "placement": {"name": "uniform"},
        "topology": {"name": "server"},
        "exchange": {"name": "none"},
        "beacon": {"name": "given"},
        "compression": {"name": "none"},
        "worker": {"name": "sgd"},
        "pre": {"name": "none"},
        **{
            name: NUMBERS[name]
            for name in ("crashed", "curious", "domains", "trust_quality", "root_rows", "churn", "reserve")
        },
    }
)

THREADS = Threads()


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What a cell measured: the columns of its row, and its learning curve, one entry an evaluated round."""

    metrics: dict[str, Any]
    curve: list[dict[str, Any]]


def cluster_sizes(cell: Cell) -> tuple[int, ...]:
    """Return the sizes of the clusters that the cell forms; CloisterError where its policy can form none."""
    return clusterings.make(cell.clustering).sizes(n=cell.participants, cluster_size=cell.cluster_size)


def largest_cluster(cell: Cell) -> int:
    """Return the size of the largest cluster that the cell forms: how many party processes it needs.

    One where sums stay hidden, since all members then are threads; see bench.hidden.
    """
    return 1 if cluster_protocols.is_hidden(cell.protocol.name) else max(cluster_sizes(cell))


def build(cell: Cell, dataset: Dataset, company: Company | None = None, hire: Hire = THREADS) -> Federation:
    """Return the parts of a cell; each random choice has a stream of its own.

    The company runs the cell's beacon, if any is run; None: threads of this process do. `hire` has the parties of
    clusters in which somebody misbehaves.

    Cells of one seed share their data, batches, uniform faults and start, so that they compare; they do not share
    their privacy noise, which would cancel in the difference of two cells' results.

    Raises: CloisterError for a fact that the policy or the placement lacks, or a placement that leaves nobody honest;
    NetworkError where a placement sees clusters whose beacon cannot be run.
    """
    parts = _deal(cell, dataset)
    population = make_population(cell, dataset.y_train.numpy(), parts, dataset.classes)
    protocol = cluster_protocols.make(cell.protocol)
    network = models.make(cell.model).build(dataset.shape, dataset.classes)
    clean = make_client_data(dataset.x_train, dataset.y_train, parts)
    federation = Federation(
        network=network,
        data=clean,
        root=_root(cell, dataset),
        worker=workers.make(cell.worker),
        recall=Recall(),
        training=LocalTraining(steps=cell.local_steps, batch_size=cell.batch_size, learning_rate=cell.learning_rate),
        server_learning_rate=cell.server_learning_rate,
        parts=(),
        memory={},
        poisoning=Poisoning(clean, (), classes=dataset.classes, network=network, seed=cell.seed),
        past=None,
        policy=clusterings.make(cell.clustering),
        draws=Draws(cell, company),
        churning=churning_of(cell),
        cluster_size=cell.cluster_size,
        protocol=protocol_of(cell, cluster_sizes(cell)),
        conditions=_conditions(cell),
        ring=protocol.ring,
        pre_specs=real_links(cell.pre),
        rule_spec=cell.aggregator,
        rule=rule_of(cell),
        graph=_graph(cell),
        exchange=exchanges.make(cell.exchange),
        compressor=compressors.make(cell.compression),
        code=PLAIN,
        centre=None,
        mechanism=mechanisms.make(cell.privacy),
        placement=placing(cell)[0],
        population=population,
        hire=hire,
        companies={},
        faulty=np.zeros(cell.n, dtype=np.bool_),
        crashed=np.zeros(cell.n, dtype=np.bool_),
        curious=np.zeros(cell.n, dtype=np.bool_),
        numbers=np.arange(cell.n),
        declared_faulty=cell.f,
        participants=cell.participants,
        everybody=cell.n,
        noise=SecretStreams.replayable(cell.seed, "privacy noise", _noise_name(cell)),
        seed=cell.seed,
    )
    view = _placement_view(cell, federation, 0, sees_clusters=placing(cell)[1] == "first")
    federation = _with_faults(cell, federation, place(federation.placement, view), 0)
    failing = federation.faulty | federation.crashed | federation.curious
    population = claimed(federation)
    poisoning = Poisoning(clean, federation.parts, classes=dataset.classes, network=network, seed=cell.seed)
    return replace(
        federation,
        data=clean if poisoning.changes else poisoning.data(0),
        poisoning=poisoning,
        population=replace(population, trust=with_trust(population, failing, cell.trust_quality)),
    )


def _conditions(cell: Cell) -> Conditions:
    """Return what the protocol tolerates in a cluster; where sums stay hidden, what a cluster does as a group."""
    if cluster_protocols.is_hidden(cell.protocol.name):
        return hidden_sums.make(cell.protocol).group_conditions
    return conditions_under(cell.protocol, deviating=_deviates(cell))


def _deviates(cell: Cell) -> bool:
    """Return whether some attack of the cell is on messages, so that Byzantine members do not follow protocols."""
    return any(attacks.entry(spec.name).facts["surface"] == "message" for spec in specs_of(cell.attack))


def _graph(cell: Cell) -> Graph | None:
    """Return who exchanges with whom; None with a server."""
    if not cell.decentralised:
        return None
    return topologies.make(cell.topology)(m=len(cluster_sizes(cell)), seed=cell.seed)


def _with_faults(cell: Cell, federation: Federation, mask: np.ndarray, round_index: int) -> Federation:
    """Return the federation with the faulty processes of a mask (n,): who is faulty in which way is drawn."""
    kinds = np.repeat(np.arange(3), (cell.f, cell.crashed, cell.curious))
    if cell.faulty > cell.f:
        kinds = public_stream(cell.seed, "kinds of faults", round_index).permutation(kinds)
    # A placement that is right on average only may place more of them than there are, or fewer.
    faulty = np.full(cell.n, -1)
    faulty[mask] = np.resize(kinds, int(mask.sum())) if len(kinds) else 0
    return replace(
        federation,
        faulty=faulty == 0,
        crashed=faulty == 1,
        curious=faulty == 2,
        parts=assign(cell.attack, faulty == 0, cell.seed),
    )


def _noise_name(cell: Cell) -> dict[str, Any]:
    """Return what names the cell's noise: everything, but as it was called when results were first published."""
    config = {key: value for key, value in cell.as_config().items() if key not in _LATER or value != _LATER[key]}
    return {**config, "clustering": {"name": "none"}} if config["clustering"] == {"name": "singletons"} else config


def _placement_view(
    cell: Cell, federation: Federation, round_index: int, *, sees_clusters: bool, previous: np.ndarray | None = None
) -> PlacementView:
    formed = form_clusters(federation, round_index) if sees_clusters else None
    m = len(federation.policy.sizes(n=federation.participants, cluster_size=federation.cluster_size))
    return PlacementView(
        population=federation.population,
        f=cell.faulty,
        conditions=federation.conditions,
        tolerate=federation.told(m),
        seed=federation.seed,
        round_index=round_index,
        clustering=formed,
        previous=previous,
    )


def move_faults(cell: Cell, federation: Federation, round_index: int) -> Federation:
    """Return the federation with the faults of a later round, for a placement that moves them."""
    failing = federation.faulty | federation.crashed | federation.curious
    view = _placement_view(cell, federation, round_index, sees_clusters=True, previous=failing)
    return _with_faults(cell, federation, place(federation.placement, view), 0)


def _deal(cell: Cell, dataset: Dataset) -> list[np.ndarray]:
    """Return each client's rows, of those that are not the server's."""
    others = np.setdiff1d(np.arange(len(dataset.y_train)), _root_rows(cell, dataset))
    groups = None if dataset.groups is None else dataset.groups.numpy()[others]
    deal = partitions.make(cell.partition)
    dealt = deal(dataset.y_train.numpy()[others], groups, cell.n, public_stream(cell.seed, "partition"))
    return [others[own] for own in dealt]


def _root_rows(cell: Cell, dataset: Dataset) -> np.ndarray:
    """Return the server's rows, drawn uniformly from the training rows."""
    rng = public_stream(cell.seed, "root rows")
    return np.sort(rng.choice(len(dataset.y_train), size=cell.root_rows, replace=False))


def _root(cell: Cell, dataset: Dataset) -> ClientData | None:
    """Return the server's rows as those of one client, clean whatever the clients' are."""
    if not cell.root_rows:
        return None
    return make_client_data(dataset.x_train, dataset.y_train, [_root_rows(cell, dataset)])


def run_cell(cell: Cell, dataset: Dataset, parties: Parties, hire: Hire = THREADS) -> CellResult:
    """Return what the cell measures; a training that diverges ends early and says in which round.

    `hire` has the parties of clusters in which somebody misbehaves; which, changes nothing but the time that it takes.

    Raises: CloisterError, NetworkError.
    """
    started = time.perf_counter()
    federation = build(cell, dataset, parties, hire)
    generator = torch.Generator().manual_seed(int(public_stream(cell.seed, "model").integers(2**31)))
    model = federation.network.initial(generator)
    attack = cell.attack if cell.f else None
    score_one = partial(
        score, federation.network, dataset=dataset, attack=attack, clean=federation.poisoning.clean_rows
    )
    ledger = Ledger(cell.n)
    outcomes: list[RoundOutcome] = []
    curve: list[dict[str, Any]] = []
    diverged_round = None
    learns = "reports" in federation.policy.needs
    moves = placing(cell)[1] == "each"
    # A mean of sums that stay hidden is one sum of all, which is what a round then reveals.
    sums = federation.hidden and cell.aggregator.name == "mean"
    plain = (opens_sums(cell.protocol) or sums) and not moves
    epoch = Epoch(n=cell.n, colluding=federation.who_fails.colluding if plain else None)
    for round_index in range(cell.rounds):
        if moves and round_index:
            federation = move_faults(cell, federation, round_index)
        try:
            outcome = run_round(federation, model, round_index, parties)
        except DivergedError:
            diverged_round = round_index + 1
            break
        outcomes.append(outcome)
        epoch.add(outcome)
        known = known_model(federation, model, outcome.report.clusters)
        federation = replace(federation, past=Past(model=known, opened=outcome.opened))
        model = outcome.model
        if learns:
            federation = replace(federation, population=federation.population.after(outcome.report))
        ledger.record(outcome.multipliers)
        if (round_index + 1) % cell.evaluate_every == 0 or round_index + 1 == cell.rounds:
            scored, _ = score_models(score_one, model, outcome.exchange)
            curve.append(point_of(round_index + 1, scored, outcomes, time.perf_counter() - started))
    final, exchanged = score_models(score_one, model, outcomes[-1].exchange if outcomes else None)
    metrics = columns_of(cell, federation, final, outcomes, ledger=ledger, curve=curve)
    metrics |= {**epoch.columns(), **exchanged, "diverged_round": diverged_round}
    metrics["misconduct_among"] = misconduct_among(federation)
    metrics["beacon_s"] = federation.draws.seconds
    metrics["runtime_s"] = time.perf_counter() - started
    return CellResult(metrics=metrics, curve=curve)
