"""Rounds without a server: every cluster holds a model, trains it, and exchanges it with its neighbours.

A cluster with a Byzantine member is Byzantine in the exchange: its members know the model that it holds, and each of
them can speak for it. Whatever cannot be opened is not learnt: such a cluster exchanges the model that it has.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks import attacks
from attacks.api import ExchangeView
from bench.metrics import Score
from bench.opening import Opened
from bench.setting import Federation
from protocols.check import CloisterError
from protocols.decentralised.graph import Graph, metropolis_weights
from protocols.decentralised.heard import LARGEST, Heard
from protocols.decentralised.rules import Exchanged, ExchangeRule
from protocols.network import cost_of
from protocols.randomness import public_stream
from protocols.types import Clustering, Cost

__all__ = [
    "EXCHANGED",
    "Exchange",
    "clean_clusters",
    "exchange_models",
    "known_model",
    "lost_members_silent",
    "one_model",
    "score_models",
    "starting_models",
]

EXCHANGED = ("consensus_distance", "worst_honest_accuracy")
"""The columns that only a federation without a server has: the root mean square distance of the clean clusters' models
from their average, in units of parameters, and the lowest accuracy among them, in 0..1."""

_MODEL_BYTES = 4  # a coordinate of a model on the wire, float32


@dataclass(frozen=True, kw_only=True)
class Exchange:
    """What an exchange led to: the models (m, d) float32, its cost, and how it went.

    `clean` are the clusters without a Byzantine member. `near`: none of them was moved farther than the rule's reach,
    which it promises where no more neighbours are Byzantine than it withstands. `ignored` (m,) counts for each cluster
    the clean ones that gave it no weight, or less, and `asked` those that asked it.
    """

    models: Tensor
    clean: tuple[int, ...]
    near: bool
    ignored: NDArray[np.int64]
    asked: NDArray[np.int64]
    cost: Cost


def one_model(model: Tensor) -> Tensor:
    """Return the model (d,) that everybody is shown; without a server, the clusters' average, from (m, d).

    Models that are no longer finite numbers do not count.
    """
    if model.dim() == 1:
        return model
    usable = torch.isfinite(model).all(dim=1)
    rows = model[usable] if bool(usable.any()) else model
    return rows.to(torch.float64).mean(dim=0).to(torch.float32)


def known_model(federation: Federation, model: Tensor, clusters: Sequence[tuple[int, ...]]) -> Tensor:
    """Return the model (d,) that Byzantine processes know: the global one, or the average of those of their clusters.

    Without a server nobody sees the other clusters' models; `model` is (m, d) then, or (d,) before the first round.
    """
    theirs = [j for j, members in enumerate(clusters) if federation.faulty[list(members)].any()]
    return one_model(model[theirs] if model.dim() == 2 and theirs else model)


def starting_models(federation: Federation, model: Tensor, clustering: Clustering) -> Tensor:
    """Return the model that each process trains: (d,) for all of them, or (n, d), its cluster's."""
    if federation.graph is None:
        return model
    home = torch.empty(clustering.n, dtype=torch.int64)
    for j, members in enumerate(clustering.clusters):
        home[list(members)] = j
    return _by_cluster(model, len(clustering.clusters))[home]


def _by_cluster(model: Tensor, m: int) -> Tensor:
    return model.expand(m, -1) if model.dim() == 1 else model


def clean_clusters(federation: Federation, clustering: Clustering) -> tuple[int, ...]:
    """Return the clusters without a Byzantine member."""
    return tuple(np.flatnonzero(clustering.faulty_counts(federation.faulty) == 0).tolist())


def lost_members_silent(federation: Federation, trained: Tensor, clustering: Clustering, bound: float) -> Tensor:
    """Return the updates (n, d) where honest members of a Byzantine cluster whose training failed send zero.

    The model of such a cluster may be anything, so training from it may give no number that a sum can take; that is
    the loss of this cluster, not of the federation. What members of clean clusters trained stays as it is.
    """
    lost = torch.ones(len(trained), dtype=torch.bool)
    for j in clean_clusters(federation, clustering):
        lost[list(clustering.clusters[j])] = False
    failed = ~(trained.abs() <= bound).all(dim=1)  # NaN is not <= anything
    return torch.where((lost & failed)[:, None], 0.0, trained)


def exchange_models(
    federation: Federation, model: Tensor, opened: Opened, means: Tensor, *, clustering: Clustering, round_index: int
) -> Exchange:
    """Return what the clusters hold after a round in which these means (opened, d) were opened.

    `model` is what they held before, (m, d) float32, or (d,) before the first round. Each cluster takes a step of the
    server's learning rate along the mean of its members' updates, and tells its neighbours where that led, in float32,
    which is also what it goes on with.
    """
    graph = _graph(federation)
    held = _by_cluster(model, graph.m).to(torch.float64).clone()
    held[opened.numbers] += federation.server_learning_rate * means
    held = _in_float32(held)
    clean = clean_clusters(federation, clustering)
    heard = _told(federation, held, clustering, round_index)
    rng = public_stream(federation.seed, "exchange", round_index)
    found = federation.exchange(heard, federation.declared_faulty, rng)
    honest = torch.zeros(graph.m, dtype=torch.bool)
    honest[list(clean)] = True
    return Exchange(
        models=found.values.to(torch.float32),
        clean=clean,
        near=_near(federation.exchange, heard, found, honest),
        ignored=(found.ignored & honest[:, None]).sum(dim=0).numpy(),
        asked=(found.links & honest[:, None]).sum(dim=0).numpy(),
        cost=_cost(found, clustering, held.shape[1]),
    )


def _graph(federation: Federation) -> Graph:
    if federation.graph is None:
        raise CloisterError("topology 'server' has no exchange between clusters; allowed: one of the others")
    return federation.graph


def _told(federation: Federation, held: Tensor, clustering: Clustering, round_index: int) -> Heard:
    """Return what is heard: Byzantine clusters tell what the attacks on the exchange say, or else what they hold."""
    graph = _graph(federation)
    everybody = Heard.alike(held, graph)
    liars, told = everybody.liars, everybody.told
    for number, part in enumerate(federation.parts):
        if part.facts["surface"] != "exchange" or not part.strength(round_index):
            continue
        speaking = tuple(np.flatnonzero(clustering.faulty_counts(part.senders) > 0).tolist())
        if not speaking:
            continue
        view = ExchangeView(
            held=torch.where((held.abs() <= LARGEST).all(dim=1, keepdim=True), held, 0.0),
            liars=speaking,
            weights=metropolis_weights(graph),
            round_index=round_index,
            rng=public_stream(federation.seed, "exchange attack", round_index, number),
        )
        attack: Any = attacks.make(part.spec)
        lies = attack(view)
        if lies.shape != (len(speaking), *held.shape):
            raise CloisterError(
                f"attack {part.spec.name!r} tells shape {tuple(lies.shape)}; allowed: {(len(speaking), *held.shape)}"
            )
        honest = held[list(speaking)][:, None]
        lies = honest + part.strength(round_index) * (lies - honest) if part.strength(round_index) < 1 else lies
        kept = [place for place, liar in enumerate(liars.numpy()) if liar not in speaking]
        liars, told = torch.cat([liars[kept], torch.tensor(speaking)]), torch.cat([told[kept], lies])
    return Heard(values=held, graph=graph, liars=liars, told=_in_float32(told))


def _in_float32(rows: Tensor) -> Tensor:
    """Return the float64 numbers that a message of float32 ones holds: what is too large for it is an infinity."""
    return rows.to(torch.float32).to(torch.float64)


def _near(rule: ExchangeRule, heard: Heard, found: Exchanged, honest: Tensor) -> bool:
    """Return whether every clean cluster moved no farther than the rule's reach."""
    graph = heard.graph
    farthest = torch.where(graph.adjacency & honest, heard.distances, 0.0).amax(dim=1)
    reach = torch.tensor([rule.reach(degree) for degree in graph.degrees], dtype=torch.float64)
    moved = (found.values - heard.values).square().sum(dim=1).sqrt()
    # Rounding: 1e-9 of the bound, and of the numbers themselves where honest neighbours agree.
    allowed = torch.where(reach.isinf(), torch.inf, reach * farthest) * (1 + 1e-9)
    slack = 1e-9 * heard.values.square().sum(dim=1).sqrt()
    return bool((~honest | (moved <= allowed + slack)).all())


def _cost(found: Exchanged, clustering: Clustering, d: int) -> Cost:
    """Return what the messages cost: each member of a cluster gets what its neighbours say, so nobody relays it.

    Where models are pulled, each of these messages answers a request: a header, a round earlier.
    """
    asked = found.links.sum(dim=1)
    models = int((asked * torch.tensor(clustering.sizes)).sum())
    messages = models * (2 if found.pulled else 1)
    rounds = messages // models if models else 0
    return cost_of(messages=messages, payload_bytes=models * _MODEL_BYTES * d, rounds=rounds)


def score_models(
    score_one: Callable[[Tensor], Score], model: Tensor, exchange: Exchange | None
) -> tuple[Score, dict[str, float | None]]:
    """Return the score of a federation and the columns EXCHANGED: of its model, or of its clean clusters' models.

    Without a server the score is the average over the models of the clusters without a Byzantine member; of all
    clusters where there is none. Models are scored one after the other: the test rows of all at once need not fit.
    """
    columns: dict[str, float | None] = dict.fromkeys(EXCHANGED)
    if exchange is None:
        return score_one(one_model(model)), columns
    clean = list(exchange.clean)
    scores = [score_one(row) for row in (model[clean] if clean else model)]
    success = [score.attack_success for score in scores if score.attack_success is not None]
    score = Score(
        accuracy=float(np.mean([each.accuracy for each in scores])),
        loss=float(np.mean([each.loss for each in scores])),
        attack_success=float(np.mean(success)) if success else None,
        by_class=tuple(
            None if None in shares else float(np.mean(shares))
            for shares in zip(*(each.by_class for each in scores), strict=True)
        ),
    )
    if clean:
        columns = dict(zip(EXCHANGED, (_spread(model[clean]), min(each.accuracy for each in scores)), strict=True))
    return score, columns


def _spread(models: Tensor) -> float:
    rows = models.to(torch.float64)
    return float((rows - rows.mean(dim=0)).square().sum(dim=1).mean().sqrt())
