"""One federated round: train, attack, clip, add noise, sum under encryption, aggregate."""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks import HonestView, OwnView, attacks
from attacks.api import view_class
from bench.noise import multipliers_of, noise_words, result_noise
from bench.observation import Observation, OpenedCluster, observe
from bench.opening import Opened, open_sums
from bench.setting import Federation
from bench.training import train_locally
from protocols.check import CloisterError
from protocols.parties import Parties
from protocols.population import Report
from protocols.privacy import clip_to_norm
from protocols.randomness import public_stream
from protocols.tolerance.verdict import Verdict, verdict
from protocols.types import Clustering, Traffic

__all__ = ["DivergedError", "RoundOutcome", "form_clusters", "run_round"]


class DivergedError(RuntimeError):
    """Training has left the numbers that a sum can take: an outcome of a cell, not a fault of the bench."""


@dataclass(frozen=True, kw_only=True)
class RoundOutcome:
    """The next model (d,), and what the round showed and cost.

    `multipliers` (n,) are the noise multipliers that protected each process; None where nothing is proved. `report`
    is what everybody saw of the clusters, members by their numbers among all n processes. `said` is the verdict on
    the round before it ran, `observed` what it then showed; `revealed` are the processes whose words are in each
    opened sum, by their numbers among all.
    """

    model: Tensor
    tainted_clusters: int
    tolerated_clusters: int
    clusters: int
    failed_clusters: int
    multipliers: NDArray[np.float64] | None
    report: Report
    revealed: tuple[tuple[int, ...], ...]
    said: Verdict
    observed: Observation
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
    if len(chosen) == federation.data.n:
        return _run_present(federation, model, round_index, parties)
    present = federation.of(chosen)
    outcome = _run_present(present, model, round_index, parties)
    outcome = replace(outcome, report=outcome.report.of(dict(enumerate(chosen.tolist()))))
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


def form_clusters(federation: Federation, round_index: int) -> Clustering:
    """Return the clusters of a round in which all processes of the federation take part."""
    return federation.policy(
        population=federation.population,
        cluster_size=federation.cluster_size,
        seed=federation.seed,
        round_index=round_index,
    )


def _run_present(federation: Federation, model: Tensor, round_index: int, parties: Parties) -> RoundOutcome:
    """Run a round in which all processes of the federation take part."""
    started = time.perf_counter()
    clustering = form_clusters(federation, round_index)
    said = _verdict(federation, clustering)
    rng = public_stream(federation.seed, "batches", round_index)
    trained = train_locally(federation.network, model, federation.data, federation.training, rng)
    updates = _clip(federation, trained, clustering)
    sent = _attack(federation, updates, round_index)
    words = _words(federation, sent, clustering, round_index)
    trained_at = time.perf_counter()
    opened = open_sums(federation, words, clustering, parties)
    opened_at = time.perf_counter()

    sizes, m = opened.added, len(opened.numbers)
    means = opened.means
    tolerate = federation.told(m)
    combined = federation.rule(means, sizes, tolerate) if m and tolerate >= 0 else None
    sensitivity = None if combined is None else federation.rule.sensitivity(sizes, tolerate)
    return RoundOutcome(
        model=model if combined is None else _moved(federation, model, combined, sensitivity, round_index),
        tainted_clusters=int((clustering.faulty_counts(federation.faulty)[opened.numbers] > 0).sum()),
        tolerated_clusters=tolerate,
        clusters=m,
        failed_clusters=len(clustering.clusters) - m,
        multipliers=multipliers_of(federation, clustering, sensitivity),
        report=Report(
            round_index=round_index,
            clusters=clustering.clusters,
            suspected=frozenset(opened.numbers[j] for j in _suspects(means, combined, tolerate)),
            failed=frozenset(range(len(clustering.clusters))) - frozenset(opened.numbers),
        ),
        revealed=tuple(tuple(int(federation.numbers[process]) for process in each) for each in opened.contributors),
        said=said,
        observed=_observed(federation, opened, means, combined, said),
        sum_exact=all(opened.exact),
        traffic=opened.traffic,
        train_s=trained_at - started,
        mpc_s=opened_at - trained_at,
    )


def _verdict(federation: Federation, clustering: Clustering) -> Verdict:
    """Return what the placement can do to this round at worst, before it runs."""
    m = len(clustering.clusters)
    return verdict(
        clustering,
        federation.who_fails,
        federation.conditions,
        federation.rule.breakdown(m),
        tolerate=federation.told(m),
        numbers=federation.numbers.tolist(),
    )


def _observed(
    federation: Federation, opened: Opened, means: Tensor, combined: Tensor | None, said: Verdict
) -> Observation:
    in_clear = bool(federation.conditions.opens_inputs)
    clusters = [
        OpenedCluster(
            number=number,
            contributors=contributors,
            exact=exact,
            in_clear=in_clear,
            withstands=federation.conditions.checked_inputs,
        )
        for number, contributors, exact in zip(opened.numbers, opened.contributors, opened.exact, strict=True)
    ]
    return observe(
        clusters,
        means,
        opened.added,
        combined,
        said=said,
        faulty=federation.who_fails,
        rule=federation.rule,
        tolerate=federation.told(len(clusters)),
        numbers=federation.numbers.tolist(),
    )


def _moved(
    federation: Federation, model: Tensor, combined: Tensor, sensitivity: float | None, round_index: int
) -> Tensor:
    """Return the next model (d,) float32: one step along the combined update, with the noise that it gets."""
    step = combined + result_noise(federation, sensitivity, round_index)
    return (model.to(torch.float64) + federation.server_learning_rate * step).to(torch.float32)


# A mean is suspected beyond so many times the median distance from the combined update.
_SUSPICIOUS = 2.0


def _suspects(means: Tensor, combined: Tensor | None, tolerate: int) -> list[int]:
    """Return which means (m, d) are suspected: among the `tolerate` farthest from the combined one, those far away."""
    if combined is None or tolerate < 1:
        return []
    distances = (means - combined).norm(dim=1)
    farthest = torch.topk(distances, min(tolerate, len(distances)))
    far = farthest.values > _SUSPICIOUS * distances.median()
    return farthest.indices[far].tolist()


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
    noise = noise_words(federation, clustering, round_index, terms)
    if noise is not None:
        if not attacks.entry(federation.attack.name).facts["adds_noise"]:
            noise[faulty] = 0
        words += noise
    return words
