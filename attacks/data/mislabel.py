"""Honest mistakes in labels."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from attacks.api import DataView, data_attack
from attacks.data._labels import other_labels
from protocols import check


def _next(view: DataView) -> Tensor:
    return (view.labels + 1) % view.classes


def _any(view: DataView) -> Tensor:
    return other_labels(view.labels, view.classes, view.rng)


_KINDS: Mapping[str, Callable[[DataView], Tensor]] = MappingProxyType({"symmetric": _any, "class_dependent": _next})


@data_attack(
    source="Han et al. 2018, Co-teaching, NeurIPS (symmetric and pair noise)",
    examples=({}, {"kind": "class_dependent"}, {"rate": 0.9}),
)
@dataclass(frozen=True, kw_only=True)
class Mislabel:
    """Each row of a Byzantine process has a wrong label with probability `rate`, independently: mistakes, no collusion.

    `symmetric`: any other label, each with the same probability; `class_dependent`: the next one, as for two classes
    that are easily confused.
    """

    rate: float = 0.3
    kind: Literal["symmetric", "class_dependent"] = "symmetric"

    def __post_init__(self) -> None:
        check.fraction(rate=self.rate)

    def __call__(self, view: DataView) -> tuple[Tensor, Tensor]:
        wrong = torch.from_numpy(view.rng.random(len(view.labels)) < self.rate)
        return view.inputs, torch.where(wrong, _KINDS[self.kind](view), view.labels)

    def target(self, labels: Tensor, classes: int) -> Tensor:  # noqa: ARG002
        """Each row's own label: nothing in particular is wanted."""
        return labels
