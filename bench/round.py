"""One federated round: train, attack, clip, add noise, sum under encryption, aggregate."""

import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks import HonestView, OwnView, attacks
from attacks.api import view_class
from bench.models import Network
from bench.training import ClientData, LocalTraining, train_locally
from protocols.aggregators import Aggregator
from protocols.check import CloisterError
from protocols.clustering import ClusteringPolicy
from protocols.network import NetworkError
from protocols.parties import Parties
from protocols.privacy import Mechanism, clip_to_norm
from protocols.randomness import SecretStreams, public_stream
from protocols.registry import Spec
from protocols.ring import FixedPoint
from protocols.types import Clustering, Traffic

__all__ = ["DivergedError", "Federation", "RoundOutcome", "run_round"]

# Rounded Gaussian noise of at least this many units adds up like Gaussian noise: see _noise_words.
_LEAST_NOISE_UNITS = 4.0
# No Gaussian draw of 53 bits is larger than 8.6 standard deviations.
_LARGEST_DRAW = 8.6


class DivergedError(RuntimeError):
    """Training has left the numbers that a sum can take: an outcome of a cell, not a fault of the bench."""


@dataclass(frozen=True, kw_only=True)
class Federation:
    """Everything that stays the same from round to round."""

    network: Network
    data: ClientData
    training: LocalTraining
    server_learning_rate: float
    attack: Spec
    policy: ClusteringPolicy
    cluster_size: int
    protocol: Spec
    ring: FixedPoint
    rule: Aggregator
    mechanism: Mechanism
    faulty: NDArray[np.bool_]
    declared_faulty: int
    participants: int
    noise: SecretStreams
    seed: int


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """The next model (d,), and what the round showed and cost.

    `multipliers` (n,) are the noise multipliers that protected each process; None where nothing is proved.
    """

    model: Tensor
    tainted_clusters: int
    tolerated_clusters: int
    clusters: int
    failed_clusters: int
    multipliers: NDArray[np.float64] | None
    sum_exact: bool
    traffic: Traffic
    train_s: float
    mpc_s: float


def run_round(federation: Federation, model: Tensor, round_index: int, parties: Parties) -> RoundOutcome:
    """Return the outcome of one round from the global model (d,) float32.

    Guarantees:
        Exactly `participants` processes take part, drawn anew in every round.
        A process that does not take part trains nothing, sends nothing and loses no privacy.

    Raises: DivergedError when honest updates are no longer encodable, NetworkError when a party fails.
    """
    chosen = _participants(federation, round_index)
    present = replace(federation, data=federation.data.of(chosen), faulty=federation.faulty[chosen])
    outcome = _run_present(present, model, round_index, parties)
    if outcome.multipliers is None:
        return outcome
    multipliers = np.full(federation.data.n, np.inf)
    multipliers[chosen] = outcome.multipliers
    return replace(outcome, multipliers=multipliers)


def _participants(federation: Federation, round_index: int) -> NDArray[np.int64]:
    """Return the numbers of the processes that take part, in order.

    They are public, as the members of a cluster know each other; so no privacy is gained by drawing them.
    """
    n = federation.data.n
    if federation.participants == n:
        return np.arange(n)
    rng = public_stream(federation.seed, "participants", round_index)
    return np.sort(rng.choice(n, size=federation.participants, replace=False))


def _run_present(federation: Federation, model: Tensor, round_index: int, parties: Parties) -> RoundOutcome:
    """Run a round in which all processes of the federation take part."""
    started = time.perf_counter()
    clustering = federation.policy(
        n=federation.data.n,
        cluster_size=federation.cluster_size,
        seed=federation.seed,
        round_index=round_index,
    )
    rng = public_stream(federation.seed, "batches", round_index)
    trained = train_locally(federation.network, model, federation.data, federation.training, rng)
    updates = _clip(federation, trained, clustering)
    sent = _attack(federation, updates, round_index)
    words = _words(federation, sent, clustering, round_index)
    trained_at = time.perf_counter()
    opened = _open_sums(federation, words, clustering, parties)
    opened_at = time.perf_counter()

    sizes, m = opened.added, len(opened.clusters)
    means = federation.ring.decode(opened.sums) / sizes[:, None]
    tainted = int((clustering.faulty_counts(federation.faulty)[opened.clusters] > 0).sum())
    tolerate = min(federation.declared_faulty, m, federation.rule.breakdown(m))
    sensitivity = federation.rule.sensitivity(sizes, tolerate)
    step = federation.rule(means, sizes, tolerate) + _result_noise(federation, sensitivity, round_index)
    return RoundOutcome(
        model=(model.to(torch.float64) + federation.server_learning_rate * step).to(torch.float32),
        tainted_clusters=tainted,
        tolerated_clusters=tolerate,
        clusters=m,
        failed_clusters=len(clustering.clusters) - m,
        multipliers=_multipliers(federation, clustering, sensitivity),
        sum_exact=opened.exact,
        traffic=opened.traffic,
        train_s=trained_at - started,
        mpc_s=opened_at - trained_at,
    )


def _terms(clustering: Clustering) -> int:
    # Half of the range is for the updates, half for the noise that members add to them.
    return 2 * max(clustering.sizes)


def _clip(federation: Federation, trained: Tensor, clustering: Clustering) -> Tensor:
    """Return float64 updates (n, d), clipped where the mechanism asks for it; what honest processes would send.

    Under a mechanism nothing that is visible may depend on an update before it is clipped: one that is not
    finite becomes zero, by its own process, and the run goes on.
    """
    clip_norm = federation.mechanism.clip_norm
    if clip_norm is not None:
        finite = torch.isfinite(trained).all(dim=1, keepdim=True)
        return clip_to_norm(torch.where(finite, trained, 0.0), clip_norm)
    honest = trained[torch.from_numpy(~federation.faulty)]
    bound = federation.ring.bound(_terms(clustering))
    if not bool((honest.abs() <= bound).all()):  # False for NaN as well
        raise DivergedError("an honest update is not finite or beyond the range of the ring")
    return trained.to(torch.float64)


def _attack(federation: Federation, updates: Tensor, round_index: int) -> Tensor:
    """Return what all processes send (n, d): the attack replaces the rows of the Byzantine ones."""
    facts = attacks.entry(federation.attack.name).facts
    if facts["surface"] != "update" or not federation.faulty.any():
        return updates
    faulty = torch.from_numpy(federation.faulty)
    view = _view(facts["knowledge"], updates[faulty], updates[~faulty], federation, round_index)
    attack: Any = attacks.make(federation.attack)
    rows = attack(view)
    if rows.shape != view.own.shape:
        raise CloisterError(
            f"attack {federation.attack.name!r} sends shape {tuple(rows.shape)}; allowed: {tuple(view.own.shape)}"
        )
    sent = updates.clone()
    sent[faulty] = rows
    return sent


def _view(
    knowledge: str, own: Tensor, honest: Tensor, federation: Federation, round_index: int
) -> OwnView | HonestView:
    rng = public_stream(federation.seed, "attack", round_index)
    n = federation.data.n
    if view_class(knowledge) is HonestView:
        return HonestView(own=own, honest=honest, n=n, round_index=round_index, rng=rng)
    return OwnView(own=own, n=n, round_index=round_index, rng=rng)


def _words(federation: Federation, sent: Tensor, clustering: Clustering, round_index: int) -> Tensor:
    """Return the int64 words (n, d) that enter the sums: encoded updates plus the noise of those who add theirs."""
    terms = _terms(clustering)
    faulty = torch.from_numpy(federation.faulty)
    possible = sent.clone()
    possible[faulty] = federation.ring.saturate(sent[faulty], terms=terms)
    words = federation.ring.encode(possible, terms=terms)
    noise = _noise_words(federation, clustering, round_index, terms)
    if noise is not None:
        if not attacks.entry(federation.attack.name).facts["adds_noise"]:
            noise[faulty] = 0
        words += noise
    return words


def _noise_words(federation: Federation, clustering: Clustering, round_index: int, terms: int) -> Tensor | None:
    """Return each member's noise, int64 (n, d), rounded to the ring's grid; None without noise inside the sum.

    The update is rounded before the noise is added, so a member's message is its rounded update plus rounded
    Gaussian noise: a post-processing of the Gaussian mechanism on the grid. The sum of c rounded Gaussians is
    a mixture, over c - 1 uniform offsets, of such post-processings, up to terms of exp(-2 pi^2 std^2) with std
    in units: at 4 units below 1e-137, which no delta notices.
    """
    stds = np.zeros(federation.data.n)
    for cluster in clustering.clusters:
        stds[list(cluster)] = federation.mechanism.member_std(len(cluster)) / federation.ring.unit
    if not stds.any():
        return None
    largest = federation.ring.largest_word(terms)
    if stds.min() < _LEAST_NOISE_UNITS or stds.max() * _LARGEST_DRAW > largest:
        raise CloisterError(
            f"noise std = {stds.min() * federation.ring.unit:.3g} to {stds.max() * federation.ring.unit:.3g} does not "
            f"fit the ring; allowed: {_LEAST_NOISE_UNITS * federation.ring.unit:.3g} to "
            f"{largest / _LARGEST_DRAW * federation.ring.unit:.3g}; change noise_multiplier, clip_norm or fraction_bits"
        )
    draws = federation.noise.gaussian(use=2 * round_index, lanes=len(stds), count=federation.network.dimension)
    return torch.round(draws * torch.from_numpy(stds)[:, None]).to(torch.int64)


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """The sums (m, d) of the clusters `opened` (m,), how many members each adds (m,), and what they cost."""

    clusters: list[int]
    sums: Tensor
    added: Tensor
    exact: bool
    traffic: Traffic


def _open_sums(federation: Federation, words: Tensor, clustering: Clustering, parties: Parties) -> _Opened:
    """Open every cluster's sum; a cluster that fails leaves the round, and its members the mean.

    Clusters of one size run as one batch. A batch that fails is run again cluster by cluster, so that a failing
    cluster takes no other one with it. Raises: NetworkError when no cluster can open its sum.
    """
    by_size: dict[int, list[int]] = defaultdict(list)
    for j, size in enumerate(clustering.sizes):
        by_size[size].append(j)
    results: dict[int, tuple[Tensor, tuple[int, ...]]] = {}
    exact, traffic, failure = True, Traffic.none(), None
    batches = list(by_size.values())
    while batches:
        chosen = batches.pop()
        members = words[torch.tensor([clustering.clusters[j] for j in chosen])]
        try:
            opened = parties.open_sums(federation.protocol, members)
        except NetworkError as error:
            failure = error
            batches += [[j] for j in chosen] if len(chosen) > 1 else []
            continue
        expected = federation.ring.wrap(members[:, list(opened.contributors)].sum(dim=1))
        exact = exact and torch.equal(opened.sums, expected)
        results.update({j: (sums, opened.contributors) for j, sums in zip(chosen, opened.sums, strict=True)})
        traffic = traffic.beside(opened.traffic)
    if failure is not None and not results:
        raise failure
    there = sorted(results)
    return _Opened(
        clusters=there,
        sums=torch.stack([results[j][0] for j in there]),
        added=torch.tensor([len(results[j][1]) for j in there]),
        exact=exact,
        traffic=traffic,
    )


def _result_noise(federation: Federation, sensitivity: float | None, round_index: int) -> Tensor | float:
    std = federation.mechanism.result_std(sensitivity, federation.data.n)
    if not std:
        return 0.0
    return std * federation.noise.gaussian(use=2 * round_index + 1, lanes=1, count=federation.network.dimension)[0]


def _multipliers(
    federation: Federation, clustering: Clustering, sensitivity: float | None
) -> NDArray[np.float64] | None:
    """Return noise std over sensitivity for each process; faulty ones need no protection and get infinity.

    None where nothing is proved: no noise hides what an omniscient attacker sends, because it is computed from
    the honest updates before their noise.
    """
    if federation.faulty.any() and attacks.entry(federation.attack.name).facts.get("knowledge") == "honest":
        return None
    multipliers = np.full(federation.data.n, np.inf)
    slack = _rounding_slack(federation)
    for cluster in clustering.clusters:
        honest = [process for process in cluster if not federation.faulty[process]]
        multiplier = federation.mechanism.noise_multiplier_of(len(cluster), len(honest), sensitivity)
        if multiplier is None:
            return None
        multipliers[honest] = multiplier / slack
    return multipliers


def _rounding_slack(federation: Federation) -> float:
    """Return how much longer than clip_norm a clipped update may be once each coordinate is rounded."""
    clip_norm = federation.mechanism.clip_norm
    if clip_norm is None:
        return 1.0
    return 1.0 + 0.5 * federation.ring.unit * np.sqrt(federation.network.dimension) / clip_norm
