"""One federated round: train, attack, clip, add noise, sum under encryption, aggregate."""

import time
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.api import OpenedRound
from bench.attacking import Sent, attacked
from bench.decentralised import Exchange, exchange_models, lost_members_silent, one_model, starting_models
from bench.given import given_of
from bench.measures import Excluded, deviation, excluded_clusters
from bench.misconduct import misconduct
from bench.noise import multipliers_of, noise_words, result_noise
from bench.observation import Observation, OpenedCluster, observe
from bench.opening import Opened, open_sums
from bench.replaying import learns
from bench.setting import Federation
from bench.workers import Work
from protocols.aggregators import NOTHING
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
    """The next model (d,), or without a server the clusters' models (m, d), and what the round showed and cost.

    `multipliers` (n,) are the noise multipliers that protected each process; None where nothing is proved. `report`
    is what everybody saw of the clusters, members by their numbers among all n processes. `said` is the verdict on
    the round before it ran, `observed` what it then showed; `revealed` are the processes whose words are in each
    opened sum, and `opened` the clusters with their means, by their numbers among all. `exchange` is how the clusters'
    exchange went, None where there is a server; `deviation` and `excluded` are what bench.measures makes columns of;
    `named` are the processes that a protocol named as cheats, `byzantine` those that are, and `lost_bytes` went into
    sums that opened nothing. `sum_exact` is about the clusters in which nobody misbehaved.
    """

    model: Tensor
    tainted_clusters: int
    tolerated_clusters: int
    clusters: int
    failed_clusters: int
    multipliers: NDArray[np.float64] | None
    report: Report
    revealed: tuple[tuple[int, ...], ...]
    opened: OpenedRound
    said: Verdict
    observed: Observation
    exchange: Exchange | None
    deviation: float | None
    excluded: Excluded | None
    named: frozenset[int]
    byzantine: frozenset[int]
    lost_bytes: int
    sum_exact: bool
    traffic: Traffic
    train_s: float
    mpc_s: float

    @property
    def wire_bytes(self) -> int:
        """All bytes on the wire: of the secure sums and of the exchange between clusters."""
        return self.traffic.wire_bytes + (0 if self.exchange is None else self.exchange.cost.wire_bytes)


def run_round(federation: Federation, model: Tensor, round_index: int, parties: Parties) -> RoundOutcome:
    """Return the outcome of one round from the global model (d,) float32; without a server, the clusters' (m, d).

    Guarantees:
        Exactly `participants` processes take part, drawn anew in every round.
        A process that does not take part trains nothing, sends nothing and loses no privacy.

    Raises: DivergedError when honest updates are no longer encodable, NetworkError when a party fails.
    """
    if federation.poisoning.changes:
        federation = replace(federation, data=federation.poisoning.data(round_index, one_model(model)))
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
    trained = _train(federation, starting_models(federation, model, clustering), round_index)
    updates = _clip(federation, trained, clustering)
    sent = attacked(federation, updates, clustering, one_model(model), round_index)
    words = _words(federation, sent, clustering, round_index)
    trained_at = time.perf_counter()
    previous = None if federation.past is None else (one_model(model) - federation.past.model).to(torch.float64)
    doings = misconduct(federation, words, clustering, previous, round_index)
    opened = open_sums(federation, words, clustering, parties, doings)
    opened_at = time.perf_counter()

    sizes, m = opened.added, len(opened.numbers)
    means = opened.means + _rogue_sums(federation, sent, opened) / sizes[:, None]
    tolerate = federation.told(m)
    exchange, combined, given = None, None, NOTHING
    if federation.graph is not None:
        exchange = exchange_models(federation, model, opened, means, clustering=clustering, round_index=round_index)
    else:
        past = federation.recall.history(clustering.clusters, opened.numbers, means)
        given = given_of(federation, past, model, round_index)
        combined = federation.combine(means, sizes, given)
        federation.recall.add(clustering.clusters, opened.numbers, means)
    sensitivity = None if combined is None else federation.rule.sensitivity(sizes, tolerate)
    return RoundOutcome(
        model=exchange.models if exchange else _moved(federation, model, combined, sensitivity, round_index),
        tainted_clusters=int((clustering.faulty_counts(federation.faulty)[opened.numbers] > 0).sum()),
        tolerated_clusters=tolerate,
        clusters=m,
        failed_clusters=len(clustering.clusters) - m - len(opened.empty),
        multipliers=multipliers_of(federation, clustering, sensitivity, opened.left_out(clustering)),
        report=Report(
            round_index=round_index,
            clusters=clustering.clusters,
            suspected=frozenset(opened.numbers[j] for j in _suspects(means, combined, tolerate)),
            failed=frozenset(range(len(clustering.clusters))) - frozenset(opened.numbers),
        ),
        revealed=tuple(tuple(int(federation.numbers[process]) for process in each) for each in opened.contributors),
        opened=OpenedRound(
            clusters=tuple(tuple(federation.numbers[list(clustering.clusters[j])].tolist()) for j in opened.numbers),
            means=means,
        ),
        said=said,
        observed=_observed(federation, opened, means, combined, said=said, exchange=exchange),
        exchange=exchange,
        deviation=deviation(combined, updates[torch.from_numpy(~federation.faulty)]),
        excluded=excluded_clusters(
            federation, clustering, opened, means, ran=combined is not None, exchange=exchange, given=given
        ),
        named=frozenset(int(federation.numbers[process]) for process in opened.named),
        byzantine=frozenset(federation.numbers[federation.faulty].tolist()),
        lost_bytes=opened.lost.wire_bytes,
        sum_exact=all(exact for j, exact in zip(opened.numbers, opened.exact, strict=True) if j not in opened.faulty),
        traffic=opened.traffic,
        train_s=trained_at - started,
        mpc_s=opened_at - trained_at,
    )


def _train(federation: Federation, model: Tensor, round_index: int) -> Tensor:
    """Return the updates (n, d) float32 that all would honestly send before any clipping, from the model (d,).

    Without a server the models are (n, d), each process's own.
    """
    work = Work(
        network=federation.network,
        model=model,
        last=None if federation.past is None else federation.past.model,
        data=federation.data,
        training=federation.training,
        numbers=federation.numbers,
        n=federation.everybody,
        server_learning_rate=federation.server_learning_rate,
        seed=federation.seed,
        round_index=round_index,
    )
    return federation.worker(work, federation.recall.worker)


def _verdict(federation: Federation, clustering: Clustering) -> Verdict:
    """Return what the placement can do to this round at worst, before it runs."""
    m = len(clustering.clusters)
    return verdict(
        clustering,
        federation.who_fails,
        federation.conditions,
        federation.withstands(m),
        tolerate=federation.told(m),
        numbers=federation.numbers.tolist(),
    )


def _observed(
    federation: Federation,
    opened: Opened,
    means: Tensor,
    combined: Tensor | None,
    *,
    said: Verdict,
    exchange: Exchange | None,
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
    observation = observe(
        clusters,
        means,
        opened.added,
        combined,
        said=said,
        faulty=federation.who_fails,
        rule=federation.rule,
        tolerate=federation.told(len(clusters)),
        numbers=federation.numbers.tolist(),
        replay=partial(learns, federation.protocol),
        empty=opened.empty,
    )
    return observation if exchange is None else replace(observation, near_honest=exchange.near)


def _moved(
    federation: Federation, model: Tensor, combined: Tensor | None, sensitivity: float | None, round_index: int
) -> Tensor:
    """Return the next model (d,) float32: one step along the combined update, with the noise that it gets, if any."""
    if combined is None:
        return model
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
    bound = federation.ring.bound(_terms(clustering))
    if federation.graph is not None:
        trained = lost_members_silent(federation, trained, clustering, bound)
    honest = trained[torch.from_numpy(~federation.faulty)]
    if not bool((honest.abs() <= bound).all()):  # False for NaN as well
        raise DivergedError("an honest update is not finite or beyond the range of the ring")
    return trained.to(torch.float64)


def _words(federation: Federation, sent: Sent, clustering: Clustering, round_index: int) -> Tensor:
    """Return the int64 words (n, d) that enter the sums: encoded updates plus the noise of those who add theirs.

    A number that no word stands for becomes the nearest one that has a word, and NaN zero; see _rogue_sums.
    """
    terms = _terms(clustering)
    faulty = torch.from_numpy(federation.faulty)
    possible = sent.rows.clone()
    possible[faulty] = federation.ring.saturate(sent.rows[faulty], terms=terms)
    words = federation.ring.encode(possible, terms=terms)
    if federation.conditions.opens_inputs:
        words[torch.from_numpy(sent.raw)] = 0
    noise = noise_words(federation, clustering, round_index, terms)
    if noise is not None:
        noise[torch.from_numpy(sent.silent)] = 0
        words += noise
    return words


def _rogue_sums(federation: Federation, sent: Sent, opened: Opened) -> Tensor | float:
    """Return what senders of raw numbers add to each opened sum, float64 (m, d), as they are: NaN, 1e30, 1e-40.

    Only where the protocol sends inputs in the clear; an encrypted sum adds words, and every word is a number in the
    range of the ring, so that nothing else can get into it.
    """
    if not federation.conditions.opens_inputs or not sent.raw.any() or not opened.contributors:
        return 0.0
    return torch.stack(
        [sent.rows[[process for process in each if sent.raw[process]]].sum(dim=0) for each in opened.contributors]
    )
