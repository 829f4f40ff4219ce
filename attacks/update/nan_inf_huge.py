"""Numbers that are none, or that no honest sender would have."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from attacks.api import OwnView, update_attack

_VALUES: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "nan": (math.nan,),
        "inf": (math.inf,),
        "-inf": (-math.inf,),
        "huge": (1e30,),
        "denormal": (1e-40,),
        "mixed": (math.nan, math.inf, -math.inf, 1e30, -1e30, 1e-40),
    }
)


@update_attack(
    knowledge="own",
    source="what every rule must survive; one NaN stops the medians of public libraries",
    examples=({}, *({"value": name} for name in _VALUES if name != "mixed")),
    raw=True,
)
@dataclass(frozen=True, kw_only=True)
class NanInfHuge:
    """Each sends NaN, infinities, +-1e30 or 1e-40, drawn anew in each coordinate, or one of them everywhere.

    Where the protocol sends inputs in the clear, they reach the sum and the rule as they are. An encrypted sum adds
    words of a ring: there they become the nearest number that has a word, and NaN becomes zero.
    """

    value: Literal["mixed", "nan", "inf", "-inf", "huge", "denormal"] = "mixed"

    def __call__(self, view: OwnView) -> Tensor:
        values = np.array(_VALUES[self.value])
        return torch.from_numpy(values[view.rng.integers(len(values), size=tuple(view.own.shape))])
