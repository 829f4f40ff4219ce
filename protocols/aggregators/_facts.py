"""What a rule takes from Given, checked and cut to the rows and the cell that it looks at."""

import copy
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from protocols.aggregators import Given, Points, provided
from protocols.check import CloisterError

__all__ = ["history_of", "layers_of", "losses_of", "reference_of", "stream_of"]


def stream_of(given: Given) -> np.random.Generator:
    """Return a copy of the rule's stream.

    Equal arguments so give equal results, whoever asks first: the rule itself, or which clusters it left out.
    """
    return copy.deepcopy(provided(given.rng, "rng"))


def reference_of(given: Given, points: Points) -> Tensor:
    """Return the root update (d,), float64; CloisterError for another shape or numbers that are not finite."""
    reference = provided(given.reference, "reference").to(points.means.device, torch.float64)
    _check(reference, (points.means.shape[2],), "reference")
    return reference


def history_of(given: Given, points: Points) -> Tensor:
    """Return the sums of the past means of the rows at hand (m', d), float64."""
    history = provided(given.history, "history").to(points.means.device, torch.float64)
    if history.dim() != 2 or history.shape[0] <= int(points.kept.max()):
        raise CloisterError(
            f"given.history of shape {tuple(history.shape)} is not allowed; allowed: one row for each cluster"
        )
    own = history[points.kept]
    _check(own, tuple(points.means.shape[1:]), "history")
    return own


def layers_of(given: Given, points: Points) -> list[int]:
    """Return the sizes of the layers, all coordinates where none are given; CloisterError where they do not fit."""
    d = points.means.shape[2]
    layers = (d,) if given.layers is None else given.layers
    if sum(layers) != d or min(layers) < 1:
        raise CloisterError(f"given.layers = {layers} is not allowed; allowed: sizes of at least 1 that add up to {d}")
    return list(layers)


def losses_of(given: Given) -> Callable[[Tensor], Tensor]:
    """Return the validation loss of candidate updates (k, d), as float64 (k,); NaN counts as infinite."""
    loss = provided(given.loss, "loss")
    return lambda rows: loss(rows).to(rows.device, torch.float64).nan_to_num(nan=torch.inf, posinf=torch.inf)


def _check(values: Tensor, shape: tuple[int, ...], name: str) -> None:
    if tuple(values.shape) != shape or not bool(torch.isfinite(values).all()):
        raise CloisterError(
            f"given.{name} of shape {tuple(values.shape)} is not allowed; allowed: finite numbers of shape {shape}"
        )
