"""A multi-layer perceptron with one hidden layer."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.models import models, uniform_
from bench.models._dense import dense, dense_blocks, dense_gradients, dense_size, dense_weights, softmax_error
from protocols import check


@models.register(source="Rumelhart, Hinton, Williams 1986, Nature", examples=({}, {"hidden": 64}))
@dataclass(frozen=True, kw_only=True)
class Mlp:
    """One hidden layer of `hidden` rectified units, cross-entropy."""

    hidden: int = 32

    def __post_init__(self) -> None:
        check.integer_at_least(1, hidden=self.hidden)

    def build(self, shape: tuple[int, ...], classes: int) -> "MlpNetwork":
        """See Model."""
        return MlpNetwork(features=math.prod(shape), hidden=self.hidden, classes=classes)

    def unfit(self, shape: tuple[int, ...]) -> str | None:  # noqa: ARG002
        """Any shape is flattened."""
        return None


@dataclass(frozen=True, kw_only=True)
class MlpNetwork:
    """See Network. Parameters: weights and bias of the first layer, then of the second."""

    features: int
    hidden: int
    classes: int

    @property
    def _first(self) -> int:
        return dense_size(self.features, self.hidden)

    @property
    def dimension(self) -> int:
        """See Network."""
        return self._first + dense_size(self.hidden, self.classes)

    @property
    def layers(self) -> tuple[int, ...]:
        """See Network."""
        return (*dense_blocks(self.features, self.hidden), *dense_blocks(self.hidden, self.classes))

    def initial(self, generator: torch.Generator) -> Tensor:
        """See Network."""
        start = torch.empty(self.dimension)
        uniform_(start[: self._first], self.features, generator)
        uniform_(start[self._first :], self.hidden, generator)
        return start

    def logits(self, parameters: Tensor, inputs: Tensor) -> Tensor:
        """See Network."""
        hidden = dense(parameters[:, : self._first], inputs.flatten(2), self.hidden).relu_()
        return dense(parameters[:, self._first :], hidden, self.classes)

    def gradients(self, parameters: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """See Network."""
        rows = inputs.flatten(2)
        last = parameters[:, self._first :]
        hidden = dense(parameters[:, : self._first], rows, self.hidden).relu_()
        errors = softmax_error(dense(last, hidden, self.classes), labels)
        back = torch.bmm(errors, dense_weights(last, self.hidden, self.classes)).mul_(hidden > 0)
        return torch.cat([dense_gradients(rows, back), dense_gradients(hidden, errors)], dim=1)
