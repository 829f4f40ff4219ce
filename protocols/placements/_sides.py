"""The sides of failure that an adversary can aim at: which numbers of Byzantine members break a cluster on each."""

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance.conditions import Conditions

__all__ = ["Broken", "Side", "rules_of"]

Side = Literal["private", "correct", "live"]
Broken = Callable[[int], NDArray[np.bool_]]
"""Size of a cluster -> which numbers of Byzantine members break it: a mask of length size + 1."""


def rules_of(conditions: Conditions) -> Mapping[Side, Broken]:
    """Return for each side which numbers of Byzantine members break a cluster of a size."""
    none = np.array(0)
    return {
        "private": lambda size: conditions.exposed(size, np.arange(size + 1), none),
        "correct": lambda size: conditions.failed(size, np.arange(size + 1), none),
        "live": lambda size: conditions.lost(size, np.arange(size + 1), none),
    }
