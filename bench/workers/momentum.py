"""Worker momentum: each client sends an average over its past updates."""

from collections.abc import MutableMapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.training import train_locally
from bench.workers import Work, workers
from protocols import check
from protocols.randomness import public_stream


@workers.register(
    source="Farhadkhani, Guerraoui, Gupta, Pinot, Stephan 2022, ICML (RESAM), distributed heavy ball; "
    "Karimireddy, He, Jaggi 2021, ICML",
    examples=({}, {"beta": 0.99}),
)
@dataclass(frozen=True, kw_only=True)
class Momentum:
    """A client sends m = beta m + (1 - beta) u with its local SGD's update u; m is 0 before its first round.

    It keeps n d numbers of 4 bytes. Rounds in which a client does not take part leave its m as it is, and so does an
    update with a number that is not finite, which would stay in the average for ever.

    Guarantees:
        For beta -> 0 it is plain local SGD.
    """

    beta: float = 0.9

    def __post_init__(self) -> None:
        check.fraction(beta=self.beta)

    def __call__(self, work: Work, memory: MutableMapping[str, Tensor]) -> Tensor:
        """See Worker."""
        rng = public_stream(work.seed, "batches", work.round_index)
        fresh = train_locally(work.network, work.model, work.data, work.training, rng)
        if "momentum" not in memory:
            memory["momentum"] = torch.zeros(work.n, fresh.shape[1])
        own = torch.from_numpy(work.numbers)
        moved = self.beta * memory["momentum"][own] + (1.0 - self.beta) * fresh
        finite = torch.isfinite(moved).all(dim=1, keepdim=True)
        memory["momentum"][own] = torch.where(finite, moved, memory["momentum"][own])
        return moved

    def unfit(self, *, rows: int, dimension: int, steps: int) -> str | None:  # noqa: ARG002
        """It suits all."""
        return None
