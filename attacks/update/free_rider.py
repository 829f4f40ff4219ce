"""Free-riders, who send what they have not trained."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import torch
from torch import Tensor

from attacks.api import OwnView, update_attack
from protocols import check


def _repeated(view: OwnView) -> Tensor:
    """Send the first honest update again and again; a process that was not there then sends its first one."""
    first: dict[int, Tensor] = view.memory.setdefault("first", {})
    for number, row in zip(view.numbers, view.own, strict=True):
        first.setdefault(number, row.clone())
    return torch.stack([first[number] for number in view.numbers])


def _delayed(view: OwnView) -> Tensor:
    return torch.zeros_like(view.own) if view.previous is None else view.previous.repeat(len(view.own), 1)


def _disguised(view: OwnView) -> Tensor:
    return torch.zeros_like(view.own)


_KINDS: Mapping[str, Callable[[OwnView], Tensor]] = MappingProxyType(
    {"constant": _repeated, "delayed": _delayed, "disguised": _disguised}
)


@update_attack(
    knowledge="own",
    source="Lin, Du, Liu 2019, arXiv:1911.12560 (delta weights); Fraboni, Vidal, Lorenzi 2021, AISTATS (disguised)",
    examples=({}, {"kind": "constant"}, {"kind": "disguised", "std": 0.01, "decay": 1.0}),
)
@dataclass(frozen=True, kw_only=True)
class FreeRider:
    """Each sends an update that cost it no training, with noise of its own that makes the copies differ.

    `delayed`: the step that the global model took in the round before; `disguised`: nothing but the noise, whose
    standard deviation in round t = 1, 2, ... is std x t^-decay, as updates grow shorter; `constant`: the update of
    its first round, always. The noise is independent in each coordinate; std = 0 leaves it out.
    """

    kind: Literal["delayed", "disguised", "constant"] = "delayed"
    std: float = 0.001
    decay: float = 0.0

    def __post_init__(self) -> None:
        check.non_negative(std=self.std, decay=self.decay)

    def __call__(self, view: OwnView) -> Tensor:
        std = self.std * (view.round_index + 1) ** -self.decay
        noise = torch.from_numpy(view.rng.normal(0.0, 1.0, size=tuple(view.own.shape)))
        return _KINDS[self.kind](view) + std * noise
