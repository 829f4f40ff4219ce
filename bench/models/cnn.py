"""A small convolutional network for square images."""

from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from bench.models import cross_entropy_sum, models, uniform_
from bench.models._dense import dense, dense_size
from protocols import check

_KERNEL, _STRIDE = 5, 2


def _side_after(side: int) -> int:
    return (side - _KERNEL) // _STRIDE + 1


@models.register(
    source="LeCun et al. 1998, Proc. IEEE, Section II, with strides for pooling as in Zhu, Liu, Han 2019, NeurIPS",
    examples=({}, {"channels": 12}),
)
@dataclass(frozen=True, kw_only=True)
class Cnn:
    """Two 5x5 convolutions with stride 2 (`channels` and twice as many), then one dense layer."""

    channels: int = 8

    def __post_init__(self) -> None:
        check.integer_at_least(1, channels=self.channels)

    def build(self, shape: tuple[int, ...], classes: int) -> "CnnNetwork":
        """See Model."""
        depth, side, _ = shape
        return CnnNetwork(depth=depth, side=side, channels=self.channels, classes=classes)

    def unfit(self, shape: tuple[int, ...]) -> str | None:
        """Square images of at least 13 x 13 pixels."""
        if len(shape) == 3 and shape[1] == shape[2] and shape[1] >= 13:
            return None
        return f"cnn needs square images of at least 13 x 13 pixels; the inputs have shape {shape}"


@dataclass(frozen=True, kw_only=True)
class CnnNetwork:
    """See Network. All clients' convolutions run as one grouped convolution, a group a client."""

    depth: int
    side: int
    channels: int
    classes: int

    @property
    def _sizes(self) -> tuple[int, ...]:
        window = _KERNEL * _KERNEL
        c, side = self.channels, _side_after(_side_after(self.side))
        return (c * self.depth * window, c, 2 * c * c * window, 2 * c, dense_size(2 * c * side * side, self.classes))

    @property
    def dimension(self) -> int:
        """See Network."""
        return sum(self._sizes)

    def initial(self, generator: torch.Generator) -> Tensor:
        """See Network."""
        start = torch.empty(self.dimension)
        window, side = _KERNEL * _KERNEL, _side_after(_side_after(self.side))
        fans = (self.depth * window,) * 2 + (self.channels * window,) * 2 + (2 * self.channels * side * side,)
        ends = list(accumulate(self._sizes))
        for end, size, fan_in in zip(ends, self._sizes, fans, strict=True):
            uniform_(start[end - size : end], fan_in, generator)
        return start

    def logits(self, parameters: Tensor, inputs: Tensor) -> Tensor:
        """See Network."""
        n, batch = inputs.shape[:2]
        first, first_bias, second, second_bias, last = parameters.split(self._sizes, dim=1)
        images = inputs.transpose(0, 1).reshape(batch, n * self.depth, self.side, self.side)
        hidden = self._convolve(images, first, first_bias, n, self.depth)
        hidden = self._convolve(hidden, second, second_bias, n, self.channels)
        return dense(last, hidden.view(batch, n, -1).transpose(0, 1), self.classes)

    def gradients(self, parameters: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """See Network."""
        leaf = parameters.expand(inputs.shape[0], -1).detach().clone().requires_grad_()
        return torch.autograd.grad(cross_entropy_sum(self.logits(leaf, inputs), labels), leaf)[0]

    @staticmethod
    def _convolve(images: Tensor, weights: Tensor, bias: Tensor, n: int, depth: int) -> Tensor:
        kernels = weights.reshape(-1, depth, _KERNEL, _KERNEL)
        out = torch.nn.functional.conv2d(images, kernels, bias.reshape(-1), stride=_STRIDE, groups=n)
        return torch.relu(out)
