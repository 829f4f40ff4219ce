"""Models, one a file: all clients' copies computed at once, with a leading client axis."""

import math
from typing import Protocol

import torch
from torch import Tensor

from protocols.registry import Registry

__all__ = ["Model", "Network", "accuracy_and_loss", "models", "uniform_"]


class Network(Protocol):
    """A model for inputs of one shape: parameters are flat float32 rows, one row a client."""

    @property
    def dimension(self) -> int:
        """The number of parameters d."""
        ...

    @property
    def layers(self) -> tuple[int, ...]:
        """The sizes of the parameter blocks, weights and biases apart, in their order; they add up to d."""
        ...

    def initial(self, generator: torch.Generator) -> Tensor:
        """Return random initial parameters, float32 of shape (d,)."""
        ...

    def logits(self, parameters: Tensor, inputs: Tensor) -> Tensor:
        """Return (n, b, classes) logits of parameters (n, d) on inputs (n, b, *shape)."""
        ...

    def gradients(self, parameters: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """Return (n, d): the gradient of each client's mean cross-entropy over its own batch.

        `parameters` (n, d) may be one row expanded; `inputs` (n, b, *shape) float32; `labels` (n, b) int64.
        """
        ...


class Model(Protocol):
    """A kind of model that a configuration file can name."""

    def build(self, shape: tuple[int, ...], classes: int) -> Network:
        """Return the network for inputs of that shape; only called when unfit() is None."""
        ...

    def unfit(self, shape: tuple[int, ...]) -> str | None:
        """Return why the model cannot take inputs of that shape, or None."""
        ...


models: Registry[Model] = Registry("model", ("bench.models",), "cloister.models")


def uniform_(rows: Tensor, fan_in: int, generator: torch.Generator) -> None:
    """Fill with the usual initial weights, uniform within 1 / sqrt(fan_in)."""
    rows.uniform_(-1.0 / math.sqrt(fan_in), 1.0 / math.sqrt(fan_in), generator=generator)


def accuracy_and_loss(network: Network, parameters: Tensor, inputs: Tensor, labels: Tensor) -> tuple[Tensor, float]:
    """Return the predicted labels (rows,) and the mean cross-entropy of one parameter row (d,)."""
    predicted: list[Tensor] = []
    loss = 0.0
    for rows, truth in zip(inputs.split(4096), labels.split(4096), strict=True):
        logits = network.logits(parameters[None], rows[None])[0]
        predicted.append(logits.argmax(dim=1))
        loss += float(torch.nn.functional.cross_entropy(logits, truth, reduction="sum"))
    return torch.cat(predicted), loss / len(labels)
