"""Local training of all clients at once: one tensor with a leading client axis, never a loop over clients."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from bench.models import Network
from protocols import check
from protocols.check import CloisterError

__all__ = ["ClientData", "LocalTraining", "make_client_data", "train_locally"]


@dataclass(frozen=True, kw_only=True)
class LocalTraining:
    """How every client trains in one round: plain SGD."""

    steps: int
    batch_size: int
    learning_rate: float

    def __post_init__(self) -> None:
        check.integer_at_least(1, local_steps=self.steps, batch_size=self.batch_size)
        check.positive(learning_rate=self.learning_rate)


@dataclass(frozen=True, kw_only=True)
class ClientData:
    """All clients' rows: one table of inputs, and for each client the numbers of its rows, padded.

    `inputs` float32 (N, *shape), `labels` int64 (N,), `rows` int64 (n, longest), `counts` int64 (n,).
    """

    inputs: Tensor
    labels: Tensor
    rows: Tensor
    counts: Tensor

    @property
    def n(self) -> int:
        """The number of clients."""
        return self.rows.shape[0]

    def of(self, clients: np.ndarray) -> "ClientData":
        """Return the data of some of the clients, in the order given."""
        chosen = torch.from_numpy(clients)
        return replace(self, rows=self.rows[chosen], counts=self.counts[chosen])

    def batch(self, size: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return inputs (n, size, *shape) and labels (n, size), drawn with replacement from each client's rows."""
        draws = torch.from_numpy(rng.random((self.n, size)))
        places = (draws * self.counts[:, None]).long()
        chosen = self.rows.gather(1, places)
        return self.inputs[chosen], self.labels[chosen]


def make_client_data(inputs: Tensor, labels: Tensor, parts: list[np.ndarray]) -> ClientData:
    """Return the clients' data for a partition of the rows; CloisterError names a client without rows."""
    counts = np.array([len(part) for part in parts], dtype=np.int64)
    if (counts == 0).any():
        raise CloisterError(f"process {int(counts.argmin())} has no training rows; allowed: at least one each")
    rows = np.zeros((len(parts), int(counts.max())), dtype=np.int64)
    for client, part in enumerate(parts):  # once a cell, to lay out the table
        rows[client, : len(part)] = part
    return ClientData(inputs=inputs, labels=labels, rows=torch.from_numpy(rows), counts=torch.from_numpy(counts))


def train_locally(
    network: Network, model: Tensor, data: ClientData, training: LocalTraining, rng: np.random.Generator
) -> Tensor:
    """Return the updates (n, d) float32: each client's parameters after local SGD minus the global model (d,)."""
    parameters = model.expand(data.n, -1)
    for _ in range(training.steps):
        inputs, labels = data.batch(training.batch_size, rng)
        parameters = parameters - training.learning_rate * network.gradients(parameters, inputs, labels)
    return parameters - model
