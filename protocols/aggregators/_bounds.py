"""How far a rule's result can be from the honest cluster means' average, in units of their variance."""

import math

from torch import Tensor

__all__ = ["faulty_share", "heaviest"]


def faulty_share(m: int, tolerate: int) -> float:
    """Return r = F / (m - 2 F), in which the published coefficients are written; infinity from half on."""
    return tolerate / (m - 2 * tolerate) if m > 2 * tolerate else math.inf


def heaviest(sizes: Tensor, count: int) -> float:
    """Return the number of processes in the `count` largest clusters."""
    return float(sizes.sort(descending=True).values[:count].sum())
