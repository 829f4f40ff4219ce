"""Gradients of single rows and of all rows, for all clients at once."""

import torch
from torch import Tensor

from bench.models import Network
from bench.training import ClientData

__all__ = ["full_gradients", "row_gradients"]

# So many numbers of gradients are made at once: 128 MB.
_AT_ONCE = 2**25
# A power of two: a client's rows are taken in blocks of so many, then by the binary digits of what is left.
_BLOCK = 256


def row_gradients(network: Network, parameters: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient (k, d) of each row's own cross-entropy, at its own parameters (k, d).

    `inputs` are (k, *shape), `labels` (k,); `parameters` may be one row expanded.
    """
    at_once = max(1, _AT_ONCE // parameters.shape[1])
    parts = [
        network.gradients(own, rows[:, None], truth[:, None])
        for own, rows, truth in zip(
            parameters.split(at_once), inputs.split(at_once), labels.split(at_once), strict=True
        )
    ]
    return torch.cat(parts)


def full_gradients(network: Network, model: Tensor, data: ClientData) -> Tensor:
    """Return the gradient (n, d) of each client's mean cross-entropy over all of its rows, at the model (d,).

    Clients have different numbers of rows and a network wants batches of one size, so each block of rows is taken of
    all clients that have one: whole blocks first, then one block for each binary digit of what is left.
    """
    total = torch.zeros(data.n, len(model))
    start = torch.zeros(data.n, dtype=torch.int64)
    longest = int(data.counts.max())
    sizes = [_BLOCK] * (longest // _BLOCK) + [2**k for k in reversed(range(_BLOCK.bit_length() - 1))]
    for size in sizes:
        left = data.counts - start
        ready = (left >= size).nonzero()[:, 0]
        if len(ready):
            places = start[ready, None] + torch.arange(size)
            rows = data.rows[ready[:, None], places]
            total[ready] += size * network.gradients(model.expand(len(ready), -1), data.inputs[rows], data.labels[rows])
            start[ready] += size
    return total / data.counts[:, None]
