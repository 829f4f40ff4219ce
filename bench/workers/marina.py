"""Byz-VR-MARINA: mostly the change of a small batch's gradient, now and then the whole gradient."""

from collections.abc import MutableMapping
from dataclasses import dataclass

from torch import Tensor

from bench.workers import Work, workers
from bench.workers._gradients import full_gradients
from protocols import check
from protocols.randomness import public_stream


@workers.register(
    source="Gorbunov, Horvath, Richtarik, Gidel 2023, ICLR (variance reduction is an antidote to Byzantines), "
    "Algorithm 1 without compression",
    examples=({}, {"full": 0.5}),
    facts={"one_model": True, "whole_updates": True},
)
@dataclass(frozen=True, kw_only=True)
class Marina:
    """A client sends its full gradient with probability `full`, else the last global step plus its gradient's change.

    All clients toss the same coin. The change is between the last model and this one, on the same batch of the
    client's rows. Updates are gradients times minus the learning rate, with one local step a round; the first round,
    and one after a round without a step, takes full gradients. With compression it is refused: the source
    compresses the change, and a server that adds the last step to that; a compressor here sees the whole update, last
    step and all. Nothing is kept but the last model, which all know.

    Guarantees:
        Between full gradients, where nobody is tainted, the mean step changes by the mean change of the gradients.
    """

    full: float = 0.1

    def __post_init__(self) -> None:
        check.fraction(full=self.full)

    def __call__(self, work: Work, memory: MutableMapping[str, Tensor]) -> Tensor:  # noqa: ARG002
        """See Worker."""
        rate = work.training.learning_rate
        last = None if work.last is None or bool((work.last == work.model).all()) else work.last
        if last is None or public_stream(work.seed, "full gradients", work.round_index).random() < self.full:
            return -rate * full_gradients(work.network, work.model, work.data)
        rng = public_stream(work.seed, "batches", work.round_index)
        inputs, labels = work.data.batch(work.training.batch_size, rng)
        now, before = (
            work.network.gradients(model.expand(work.data.n, -1), inputs, labels) for model in (work.model, last)
        )
        return (work.model - last) / work.server_learning_rate - rate * (now - before)

    def unfit(self, *, rows: int, dimension: int, steps: int) -> str | None:  # noqa: ARG002
        """It is defined for one step a round."""
        return None if steps == 1 else f"marina takes one local step a round, and local_steps = {steps}"
