"""Plain local SGD."""

from collections.abc import MutableMapping
from dataclasses import dataclass

from torch import Tensor

from bench.training import train_locally
from bench.workers import Work, workers
from protocols.randomness import public_stream


@workers.register(source="McMahan et al. 2017, AISTATS, Algorithm 1")
@dataclass(frozen=True, kw_only=True)
class LocalSgd:
    """Each client takes its local steps of SGD and sends the difference; nothing is kept."""

    def __call__(self, work: Work, memory: MutableMapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """See Worker."""
        rng = public_stream(work.seed, "batches", work.round_index)
        return train_locally(work.network, work.model, work.data, work.training, rng)

    def unfit(self, *, rows: int, dimension: int, steps: int) -> str | None:  # noqa: ARG002
        """It suits all."""
        return None
