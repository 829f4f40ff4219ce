"""One federated round: train, attack, clip, add noise, sum under encryption, aggregate."""

import time
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.attacking import attacked
from bench.centring import around_centre, centre_of, from_centre
from bench.compressing import code_of, combined_rows, updates_of, with_memory, with_residue
from bench.decentralised import exchange_models, known_model, starting_models
from bench.given import given_of
from bench.handing import Handed, hand_out
from bench.hidden import hidden_verdict, open_aggregate
from bench.misconduct import misconduct
from bench.noise import result_noise
from bench.opening import Opened, open_sums
from bench.outcome import Decision, Played, RoundOutcome, outcome_of
from bench.promised import promised_verdict
from bench.setting import Federation
from bench.words import DivergedError, clipped, compressed, encoded, with_raw_numbers
from bench.workers import Work
from protocols.aggregators import NOTHING
from protocols.faulty_link import Fault
from protocols.parties import Parties
from protocols.randomness import public_stream
from protocols.tolerance.verdict import Verdict, verdict
from protocols.types import Clustering

__all__ = ["DivergedError", "RoundOutcome", "form_clusters", "run_round"]


def run_round(federation: Federation, model: Tensor, round_index: int, parties: Parties) -> RoundOutcome:
    """Return the outcome of one round from the global model (d,) float32; without a server, the clusters' (m, d).

    Guarantees:
        Exactly `participants` processes take part, drawn anew in every round, or those that have joined and not left.
        A process that does not take part trains nothing, sends nothing and loses no privacy.

    Raises: DivergedError when honest updates are no longer encodable, NetworkError when a party fails.
    """
    federation = replace(federation, code=code_of(federation, round_index))
    federation = replace(federation, centre=centre_of(federation, model))
    if federation.poisoning.changes:
        known = known_model(federation, model, form_clusters(federation, round_index).clusters)
        federation = replace(federation, data=federation.poisoning.data(round_index, known))
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
    if federation.churning is not None:
        form_clusters(federation, round_index)
        return federation.churning.present(round_index)
    if federation.participants == n:
        return np.arange(n)
    rng = public_stream(federation.seed, "participants", round_index)
    return np.sort(rng.choice(n, size=federation.participants, replace=False))


def form_clusters(federation: Federation, round_index: int) -> Clustering:
    """Return the clusters of a round in which all processes of the federation take part, by their places.

    Where processes wait in reserve, the clusters are of those that have joined.
    """
    churning = federation.churning
    if churning is None:
        return _drawn_clusters(federation, round_index)
    if len(federation.numbers) == federation.everybody:

        def draw(now: int, present: NDArray[np.int64]) -> Clustering:
            return _drawn_clusters(federation.of(present), now)

        churning.advance(round_index, draw, federation.parts, federation.population)
    return churning.clustering(round_index)


def _drawn_clusters(federation: Federation, round_index: int) -> Clustering:
    """Return the clusters that the policy forms."""
    return federation.policy(
        population=federation.population,
        cluster_size=federation.cluster_size,
        seed=federation.draws.seed(round_index),
        round_index=round_index,
    )


def _run_present(federation: Federation, model: Tensor, round_index: int, parties: Parties) -> RoundOutcome:
    """Run a round in which all processes of the federation take part."""
    # 1. Clusters form, 2. and what the placement can do to them at worst is said before it happens.
    clustering = form_clusters(federation, round_index)
    started = time.perf_counter()  # a beacon's time is counted apart
    handed = hand_out(federation, starting_models(federation, model, clustering), clustering, round_index)
    said = _verdict(federation, clustering, handed)
    # 3. All train what they are handed, 4. clip what they learned, 5. and send it or something worse, 6. compressed, as
    # words with noise.
    trained = _train(federation, handed.models, round_index)
    updates = clipped(federation, trained, clustering)
    known = known_model(federation, model, clustering.clusters)
    sent = attacked(federation, with_memory(federation, updates), clustering, known, round_index)
    sent = compressed(federation, sent, clustering)
    words = encoded(federation, sent, clustering, round_index)
    trained_at = time.perf_counter()
    # 7. Each cluster opens its sum, against those who misbehave in it, 8. which shows a mean.
    doings = misconduct(federation, words, clustering, _last_step(federation, known), round_index)
    opened = _opened(federation, words, clustering, parties, doings, handed=handed, round_index=round_index)
    opened_at = time.perf_counter()
    means = combined_rows(federation, with_raw_numbers(federation, sent, opened))
    # 9. The server combines the means, or the clusters exchange them, 10. and the model takes its step.
    decision = _decide(federation, model, opened, means, clustering=clustering, round_index=round_index)
    played = Played(
        round_index=round_index,
        clustering=clustering,
        said=said,
        updates=updates,
        opened=opened,
        means=means,
        decision=decision,
        model=_moved(federation, model, decision, opened, round_index),
        train_s=trained_at - started,
        mpc_s=opened_at - trained_at,
    )
    return outcome_of(federation, played)


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


def _verdict(federation: Federation, clustering: Clustering, handed: Handed) -> Verdict:
    """Return what the placement can do to this round at worst, before it runs."""
    m = len(clustering.clusters)
    said = verdict(
        clustering,
        handed.who_fails(federation),
        federation.conditions,
        federation.withstands(m),
        tolerate=federation.told(m),
        numbers=federation.numbers.tolist(),
    )
    said = promised_verdict(federation, clustering, said)
    return hidden_verdict(federation, clustering, said) if federation.hidden else said


def _opened(
    federation: Federation,
    words: Tensor,
    clustering: Clustering,
    parties: Parties,
    doings: Mapping[int, Fault],
    *,
    handed: Handed,
    round_index: int,
) -> Opened:
    """Return the clusters' means, or what the rule makes of them where they stay hidden."""
    if federation.hidden:
        return open_aggregate(federation, words, clustering, doings, handed=handed, round_index=round_index)
    centred = from_centre(federation, words)
    opened = open_sums(federation, centred, clustering, parties, doings, handed=handed, round_index=round_index)
    return around_centre(federation, opened)


def _last_step(federation: Federation, known: Tensor) -> Tensor | None:
    """Return the step (d,) float64 that led to the model that Byzantine processes know; None in the first round."""
    return None if federation.past is None else (known - federation.past.model).to(torch.float64)


def _decide(
    federation: Federation, model: Tensor, opened: Opened, means: Tensor, *, clustering: Clustering, round_index: int
) -> Decision:
    """Return what the clusters' exchange makes of the means (m, d), or the server of its rows, which it remembers."""
    if federation.graph is not None:
        exchange = exchange_models(federation, model, opened, means, clustering=clustering, round_index=round_index)
        return Decision(combined=None, exchange=exchange, given=NOTHING, sensitivity=None)
    updates = updates_of(federation, means)
    past = federation.recall.history(clustering.clusters, opened.numbers, updates)
    given = given_of(federation, past, model, round_index)
    combined = opened.aggregate if federation.hidden else federation.combine(means, opened.added, given)
    federation.recall.add(clustering.clusters, opened.numbers, updates)
    tolerate = federation.told(len(opened.numbers))
    sensitivity = None if combined is None else federation.rule.sensitivity(opened.added, tolerate)
    return Decision(combined=combined, exchange=None, given=given, sensitivity=sensitivity)


def _moved(federation: Federation, model: Tensor, decision: Decision, opened: Opened, round_index: int) -> Tensor:
    """Return the next model (d,) float32: one step along the combined update, with the noise that it got or gets.

    Without a server it is the clusters' models (m, d) after their exchange; without a result the model stays.
    """
    if decision.exchange is not None:
        return decision.exchange.models
    if decision.combined is None:
        return model
    noise = opened.noise if federation.hidden else result_noise(federation, decision.sensitivity, round_index)
    noisy = decision.combined + (0.0 if noise is None else noise)
    whole = with_residue(noisy, federation.recall.residue)
    step = updates_of(federation, whole[None])[0]
    if federation.compressor.server_memory:
        federation.recall.residue = whole - federation.code.compress(step[None])[0]
    return (model.to(torch.float64) + federation.server_learning_rate * step).to(torch.float32)
