"""Multinomial logistic regression."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.models import models
from bench.models._dense import dense, dense_blocks, dense_gradients, softmax_error


@models.register(source="Cox 1958; the convex baseline of Blanchard et al. 2017 and of Yin et al. 2018")
@dataclass(frozen=True, kw_only=True)
class Logistic:
    """One dense layer, cross-entropy; starts at zero."""

    def build(self, shape: tuple[int, ...], classes: int) -> "LogisticNetwork":
        """See Model."""
        return LogisticNetwork(features=math.prod(shape), classes=classes)

    def unfit(self, shape: tuple[int, ...]) -> str | None:  # noqa: ARG002
        """Any shape is flattened."""
        return None


@dataclass(frozen=True, kw_only=True)
class LogisticNetwork:
    """See Network. Parameters: weights (classes, features), bias (classes)."""

    features: int
    classes: int

    @property
    def dimension(self) -> int:
        """See Network."""
        return self.classes * (self.features + 1)

    @property
    def layers(self) -> tuple[int, ...]:
        """See Network."""
        return dense_blocks(self.features, self.classes)

    def initial(self, generator: torch.Generator) -> Tensor:  # noqa: ARG002
        """The problem is convex: zero is as good a start as any."""
        return torch.zeros(self.dimension)

    def logits(self, parameters: Tensor, inputs: Tensor) -> Tensor:
        """See Network."""
        return dense(parameters, inputs.flatten(2), self.classes)

    def gradients(self, parameters: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """See Network."""
        rows = inputs.flatten(2)
        return dense_gradients(rows, softmax_error(dense(parameters, rows, self.classes), labels))
