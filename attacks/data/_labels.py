"""What attacks on labels and backdoors have in common."""

import numpy as np
import torch
from torch import Tensor

from attacks.views import DataView
from protocols.check import CloisterError

__all__ = ["check_classes", "drawn_rows", "other_labels", "planted", "wanted_from"]


def check_classes(classes: int, **named: int) -> None:
    """Raise CloisterError unless each named label is one of the classes."""
    for name, label in named.items():
        if not 0 <= label < classes:
            raise CloisterError(f"{name} = {label} is not a label of these data; allowed: 0 to {classes - 1}")


def drawn_rows(eligible: Tensor, share: float, rng: np.random.Generator) -> Tensor:
    """Return a mask (rows,) of this share of the eligible rows (a mask), to the nearest whole number, at random."""
    places = torch.nonzero(eligible)[:, 0].numpy()
    chosen = rng.permutation(places)[: round(share * len(places))]
    mask = torch.zeros_like(eligible)
    mask[torch.from_numpy(chosen)] = True
    return mask


def other_labels(labels: Tensor, classes: int, rng: np.random.Generator) -> Tensor:
    """Return for each label (rows,) another one, each with the same probability."""
    steps = torch.from_numpy(rng.integers(1, max(classes, 2), size=len(labels)))
    return (labels + steps) % classes


def planted(view: DataView, triggered: Tensor, *, rate: float, wanted: int) -> tuple[Tensor, Tensor]:
    """Return the (inputs, labels) in which a share `rate` of the rows is as in `triggered` and labelled `wanted`."""
    chosen = drawn_rows(torch.ones_like(view.labels, dtype=torch.bool), rate, view.rng)
    inputs = view.inputs.clone()
    inputs[chosen] = triggered[chosen]
    return inputs, torch.where(chosen, wanted, view.labels)


def wanted_from(inputs: Tensor, labels: Tensor, wanted: int) -> tuple[Tensor, Tensor]:
    """Return the rows that have another label, and the wanted label for each of them."""
    rows = labels != wanted
    return inputs[rows], torch.full_like(labels[rows], wanted)
