"""Dense layers of all clients at once, with gradients written out: no graph, no copies of the parameters."""

import torch
from torch import Tensor

__all__ = ["dense", "dense_blocks", "dense_gradients", "dense_size", "dense_weights", "softmax_error"]


def dense_size(features: int, outputs: int) -> int:
    """Return the number of parameters of a dense layer."""
    return outputs * (features + 1)


def dense_blocks(features: int, outputs: int) -> tuple[int, int]:
    """Return the numbers of weights and of biases of a dense layer."""
    return outputs * features, outputs


def dense_weights(parameters: Tensor, features: int, outputs: int) -> Tensor:
    """Return the weights (n, outputs, features) in the flat rows (n, outputs * (features + 1)) of a layer."""
    return parameters[:, : outputs * features].unflatten(1, (outputs, features))


def dense(parameters: Tensor, rows: Tensor, outputs: int) -> Tensor:
    """Return (n, b, outputs) of a layer with flat parameters (n, outputs * (features + 1)) on rows (n, b, features).

    The weights are (outputs, features), so both products below read memory in the order it lies in.
    """
    features = rows.shape[2]
    weights = dense_weights(parameters, features, outputs)
    bias = parameters[:, outputs * features :]
    return torch.bmm(weights, rows.transpose(1, 2)).transpose(1, 2) + bias[:, None, :]


def dense_gradients(rows: Tensor, errors: Tensor) -> Tensor:
    """Return the flat gradients (n, outputs * (features + 1)) from the errors (n, b, outputs) at the layer's output."""
    weights = torch.bmm(errors.transpose(1, 2), rows)
    return torch.cat([weights.flatten(1), errors.sum(dim=1)], dim=1)


def softmax_error(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the gradient (n, b, classes) of each client's mean cross-entropy with respect to its logits."""
    errors = torch.softmax(logits, dim=2)
    errors.scatter_add_(2, labels[..., None], torch.full_like(labels[..., None], -1, dtype=errors.dtype))
    return errors / labels.shape[1]
