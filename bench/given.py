"""What the server gives its rule beside the round's means."""

from functools import partial

import numpy as np
import torch
from torch import Tensor

from bench.compressing import given_in_code
from bench.setting import Federation
from bench.training import ClientData, train_locally
from protocols.aggregators import Given
from protocols.randomness import public_stream
from protocols.types import Clustering

__all__ = ["given_of", "guessed", "previous_update"]

# So many models are evaluated at once.
_AT_ONCE = 16


def given_of(federation: Federation, past: Tensor, model: Tensor, round_index: int) -> Given:
    """Return what there is in a round from the model (d,); `past` (m, d) is the history of the clusters opened.

    Where updates are compressed, and the rule combines rows of a code, it is also given rows of that code, and no
    layers: coordinates of a code are no parameters.

    `previous` is the last global step as everybody saw it, with the noise that was added to it: a rule that used the
    step before its noise would tell of it twice. `reference` and `loss` are from root rows that no client has.
    """
    return _given(federation, model, public_stream(federation.seed, "rule", round_index), round_index, past)


def guessed(federation: Federation, model: Tensor, clusters: Clustering, round_index: int) -> Given:
    """Return what an attacker takes for given that knows the rule and all data, but not the rule's random draws."""
    blank = torch.zeros(len(clusters.clusters), len(model), dtype=torch.float64)
    opened = range(len(clusters.clusters))
    rng = public_stream(federation.seed, "guess of the rule's draws", round_index)
    return _given(federation, model, rng, round_index, federation.recall.history(clusters.clusters, opened, blank))


def previous_update(federation: Federation, model: Tensor) -> Tensor | None:
    """Return the update (d,) of the round before, as everybody saw it, that led to the model; None in the first."""
    if federation.past is None:
        return None
    return (model.double() - federation.past.model.double()) / federation.server_learning_rate


def _given(federation: Federation, model: Tensor, rng: np.random.Generator, round_index: int, history: Tensor) -> Given:
    root = federation.root
    given = Given(
        rng=rng,
        previous=previous_update(federation, model),
        history=history,
        reference=None if root is None else _reference(federation, root, model, round_index),
        loss=None if root is None else partial(_losses, federation, root, model),
        layers=federation.network.layers,
    )
    return given_in_code(federation, given)


def _reference(federation: Federation, root: ClientData, model: Tensor, round_index: int) -> Tensor:
    """Return what the server's own training makes of the model: as many steps as a client's, on root rows."""
    rng = public_stream(federation.seed, "root batches", round_index)
    return train_locally(federation.network, model.to(torch.float32), root, federation.training, rng)[0].double()


def _losses(federation: Federation, root: ClientData, model: Tensor, updates: Tensor) -> Tensor:
    """Return the mean cross-entropy (k,) on all root rows after the server's step along each update (k, d)."""
    stepped = (model.double() + federation.server_learning_rate * updates.double()).to(torch.float32)
    inputs, labels = root.inputs[root.rows[0]], root.labels[root.rows[0]]
    found = [_loss(federation, row, inputs, labels) for row in stepped.split(_AT_ONCE)]
    return torch.cat(found)


def _loss(federation: Federation, parameters: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    k, rows = len(parameters), len(labels)
    logits = federation.network.logits(parameters, inputs.expand(k, *inputs.shape))
    flat = torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels.repeat(k), reduction="none")
    return flat.unflatten(0, (k, rows)).mean(dim=1)
