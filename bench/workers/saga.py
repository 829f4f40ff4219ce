"""Byrd-SAGA: each client corrects its gradients by the last ones that it saw of the same rows."""

from collections.abc import MutableMapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.training import ClientData
from bench.workers import Work, workers
from bench.workers._gradients import row_gradients
from protocols.randomness import public_stream

_MOST_BYTES = 2**31


@workers.register(source="Wu, Ling, Chen, Giannakis 2020, IEEE TSP (Byrd-SAGA), Algorithm 1", facts={"one_model": True})
@dataclass(frozen=True, kw_only=True)
class Saga:
    """A client's step follows mean(g_i - old g_i) over its batch, plus the mean of its old gradients of all rows.

    The old gradients are those of each row's last use, at first those at the model that the client starts from. The
    source draws one row a step and takes one step a round; here it is batch_size different rows, all where there are
    fewer, and local_steps steps. It keeps 4 d bytes for each training row, and is refused beyond 2 GiB.

    Guarantees:
        With batches of all rows it is gradient descent.
    """

    def __call__(self, work: Work, memory: MutableMapping[str, Tensor]) -> Tensor:
        """See Worker."""
        _start(work, memory)
        rng = public_stream(work.seed, "batches", work.round_index)
        parameters = work.model.expand(work.data.n, -1)
        for _ in range(work.training.steps):
            batch = _different_rows(work.data, work.training.batch_size, rng)
            parameters = parameters - work.training.learning_rate * _corrected(work, parameters, batch, memory)
        return parameters - work.model

    def unfit(self, *, rows: int, dimension: int, steps: int) -> str | None:  # noqa: ARG002
        """The gradients of all rows must fit into memory."""
        need = 4 * rows * dimension
        if need <= _MOST_BYTES:
            return None
        return f"saga keeps {rows} gradients of {dimension} numbers, {need / 2**30:.1f} GiB; allowed: 2 GiB"


@dataclass(frozen=True, kw_only=True)
class _Batch:
    """Row numbers (n, b) without repeats among a client's own, and which of them count (n, b)."""

    rows: Tensor
    used: Tensor


def _start(work: Work, memory: MutableMapping[str, Tensor]) -> None:
    """Fill the tables of the clients that take part for the first time."""
    own, d = torch.from_numpy(work.numbers), len(work.model)
    if "table" not in memory:
        memory["table"] = torch.zeros(len(work.data.labels), d)
        memory["mean"] = torch.zeros(work.n, d)
        memory["known"] = torch.zeros(work.n, dtype=torch.bool)
    new = (~memory["known"][own]).nonzero()[:, 0]
    if not len(new):
        return
    counts = work.data.counts[new]
    within = torch.arange(work.data.rows.shape[1]) < counts[:, None]
    rows = work.data.rows[new][within]
    inputs, labels = work.data.inputs[rows], work.data.labels[rows]
    memory["table"][rows] = row_gradients(work.network, work.model.expand(len(rows), -1), inputs, labels)
    owner = own[new].repeat_interleave(counts)
    sums = torch.zeros(work.n, d, dtype=torch.float64).index_add_(0, owner, memory["table"][rows].double())
    memory["mean"][own[new]] = (sums[own[new]] / counts[:, None]).float()
    memory["known"][own] = True


def _different_rows(data: ClientData, size: int, rng: np.random.Generator) -> _Batch:
    longest = data.rows.shape[1]
    keys = torch.from_numpy(rng.random((data.n, longest)))
    keys = keys.masked_fill(torch.arange(longest) >= data.counts[:, None], 2.0)  # behind all rows that there are
    places = keys.argsort(dim=1)[:, : min(size, longest)]
    used = torch.arange(places.shape[1]) < data.counts[:, None]
    return _Batch(rows=data.rows.gather(1, places), used=used)


def _corrected(work: Work, parameters: Tensor, batch: _Batch, memory: MutableMapping[str, Tensor]) -> Tensor:
    """Return the corrected gradients (n, d), and keep the new ones in the place of the old."""
    own, chosen = torch.from_numpy(work.numbers), batch.rows[batch.used]
    client = torch.arange(len(own))[:, None].expand_as(batch.rows)[batch.used]
    fresh = row_gradients(work.network, parameters[client], work.data.inputs[chosen], work.data.labels[chosen])
    change = fresh - memory["table"][chosen]
    sums = torch.zeros_like(parameters).index_add_(0, client, change)
    corrected = sums / batch.used.sum(dim=1, keepdim=True) + memory["mean"][own]
    # A gradient that is not finite would stay in the table's mean for ever.
    finite = torch.isfinite(sums).all(dim=1)
    kept = finite[client]
    memory["table"][chosen[kept]] = fresh[kept]
    memory["mean"][own[finite]] += sums[finite] / work.data.counts[finite, None]
    return corrected
