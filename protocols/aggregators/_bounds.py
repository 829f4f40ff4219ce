"""How far a rule's result can be from the honest cluster means' average, in units of their variance."""

import math

from torch import Tensor

__all__ = ["faulty_share", "heaviest", "krum_coefficient"]


def faulty_share(m: int, tolerate: int) -> float:
    """Return r = F / (m - 2 F), in which the published coefficients are written; infinity from half on."""
    return tolerate / (m - 2 * tolerate) if m > 2 * tolerate else math.inf


def heaviest(sizes: Tensor, count: int) -> float:
    """Return the number of processes in the `count` largest clusters."""
    return float(sizes.sort(descending=True).values[:count].sum())


def krum_coefficient(m: int, tolerate: int) -> float:
    """Return 6 (m - F) / (m - 2 F - 1), for any average of up to m - F rows with the smallest scores of Krum.

    Let a and v be the average and the variance of the m - F honest rows h. An honest row's score is at most the sum
    over all other honest rows, so all honest scores together are at most 2 (m - F)^2 v, and the average of the
    k <= m - F smallest scores of all rows is at most 2 (m - F) v. Of the m - F - 2 neighbours of a row and itself, at
    least g = m - 2 F - 1 are honest. Averaging |x - a|^2 <= 2 |x - h|^2 + 2 |h - a|^2 over those gives
    |x - a|^2 <= 2 (score(x) + (m - F) v) / g; and averaging over the selected rows, by convexity, 6 (m - F) v / g.
    (With one neighbour more the same steps give 6 (1 + r), as in Allouah et al. 2023, AISTATS, Table 1.)
    """
    rest = m - 2 * tolerate - 1
    return 6 * (m - tolerate) / rest if rest > 0 else math.inf
