"""A small convolutional network for square images."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from bench.models import models, uniform_
from bench.models._dense import dense, dense_gradients, dense_size, dense_weights, softmax_error
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

    @property
    def layers(self) -> tuple[int, ...]:
        """See Network."""
        return (*self._sizes[:4], self._sizes[4] - self.classes, self.classes)

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
        layers = parameters.split(self._sizes, dim=1)
        return dense(layers[4], self._features(layers, inputs)[2], self.classes)

    def gradients(self, parameters: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
        """See Network."""
        n, batch = inputs.shape[:2]
        layers = parameters.expand(n, -1).split(self._sizes, dim=1)
        images, hidden, features = self._features(layers, inputs)
        errors = softmax_error(dense(layers[4], features, self.classes), labels)
        back = torch.bmm(errors, dense_weights(layers[4], features.shape[2], self.classes)).mul_(features > 0)
        side = _side_after(_side_after(self.side))
        back = back.transpose(0, 1).reshape(batch, -1, side, side)
        second = _kernel_gradients(back, hidden, layers[2], n)
        back = _input_gradient(back, layers[2], n, hidden.shape[3]).mul_(hidden > 0)
        first = _kernel_gradients(back, images, layers[0], n)
        return torch.cat([*first, *second, dense_gradients(features, errors)], dim=1)

    def _features(self, layers: Sequence[Tensor], inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return images (b, n * depth, side, side), hidden (b, n * channels, ...) and features (n, b, ...)."""
        n, batch = inputs.shape[:2]
        images = inputs.transpose(0, 1).reshape(batch, n * self.depth, self.side, self.side)
        hidden = _convolve(images, layers[0], layers[1], n)
        features = _convolve(hidden, layers[2], layers[3], n)
        return images, hidden, features.view(batch, n, -1).transpose(0, 1)


def _kernels(weights: Tensor, images: Tensor, n: int) -> Tensor:
    """Return flat weights (n, ...) as kernels (n * outputs, inputs, 5, 5) for images (b, n * inputs, ...)."""
    return weights.reshape(-1, images.shape[1] // n, _KERNEL, _KERNEL)


def _convolve(images: Tensor, weights: Tensor, bias: Tensor, n: int) -> Tensor:
    kernels = _kernels(weights, images, n)
    return torch.nn.functional.conv2d(images, kernels, bias.reshape(-1), stride=_STRIDE, groups=n).relu_()


def _kernel_gradients(back: Tensor, images: Tensor, weights: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the gradients (n, ...) of a convolution's weights and bias from those at its output."""
    kernels = _kernels(weights, images, n)
    same, only_kernels = [0, 0], [False, True, True]
    _, of_weights, of_bias = torch.ops.aten.convolution_backward(
        back, images, kernels, [len(kernels)], [_STRIDE] * 2, same, [1, 1], False, same, n, only_kernels
    )
    return of_weights.view(n, -1), of_bias.view(n, -1)


def _input_gradient(back: Tensor, weights: Tensor, n: int, side: int) -> Tensor:
    """Return the gradient at the input (b, n * inputs, side, side) of a stride-2 convolution.

    Input pixel (2 i + p, 2 j + q) meets only the kernel taps of parity (p, q), so the gradient is an ordinary
    convolution with four times the channels, whose output is then interleaved: twice as fast as the strided
    backward pass of the library.
    """
    outputs = back.shape[1] // n
    kernels = weights.reshape(n, outputs, -1, _KERNEL, _KERNEL)
    inputs = kernels.shape[2]
    taps = torch.nn.functional.pad(kernels, (0, 1, 0, 1)).view(n, outputs, inputs, 3, 2, 3, 2)
    flipped = taps.permute(0, 2, 4, 6, 1, 3, 5).flip(5, 6).reshape(n * inputs * 4, outputs, 3, 3)
    phases = torch.nn.functional.conv2d(back, flipped, padding=2, groups=n)
    return torch.nn.functional.pixel_shuffle(phases, 2)[:, :, :side, :side]
