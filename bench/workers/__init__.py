"""What clients do with their own gradients before they send anything, one way a file."""

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from bench.models import Network
from bench.training import ClientData, LocalTraining
from protocols.registry import Registry

__all__ = ["Work", "Worker", "workers"]


@dataclass(frozen=True, kw_only=True)
class Work:
    """One round's work: the clients that take part, and what all of them know.

    `model` (d,) float32 is the global model, `last` the one before it, None in the first round; where clusters keep
    models of their own, `model` is (p, d), each client's. `data` are those of
    the p clients that take part, `numbers` (p,) their numbers among all `n`.
    """

    network: Network
    model: Tensor
    last: Tensor | None
    data: ClientData
    training: LocalTraining
    numbers: NDArray[np.int64]
    n: int
    server_learning_rate: float
    seed: int
    round_index: int


class Worker(Protocol):
    """Turns the clients' data into the updates that honest ones send, all clients at once.

    One whose definition needs a global model registers with facts={"one_model": True}, and is then not asked where
    clusters keep models of their own. One whose updates the server must get whole registers with
    facts={"whole_updates": True}, and is not asked where they are compressed.
    """

    def __call__(self, work: Work, memory: MutableMapping[str, Tensor]) -> Tensor:
        """Return the updates (p, d) float32; `memory` is the worker's own, and lasts from round to round.

        What it keeps for each client lies at the client's number, so that a client that pauses finds it again.
        """
        ...

    def unfit(self, *, rows: int, dimension: int, steps: int) -> str | None:
        """Return why it does not suit so many training rows, parameters and local steps, in words, or None."""
        ...


workers: Registry[Worker] = Registry("worker", ("bench.workers",), "cloister.workers")
