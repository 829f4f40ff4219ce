"""Naive pruning: the few rows that are absurdly far away go before a filter looks at directions and spreads.

A filter that removes rows along one direction can be kept busy by one huge row while another one, in another
direction, walks past; and rounding beside the huge row hides the rest. Robust estimation therefore begins with a
pruning (Diakonikolas, Kamath, Kane, Li, Moitra, Stewart 2016, FOCS, NaivePrune). The published radius depends on
unknown constants; here it is FAR times the median distance to the coordinate-wise median, which fewer than half of
the rows cannot make larger than the honest rows' own distances.
"""

import torch
from torch import Tensor

from protocols.aggregators._cells import centred
from protocols.norms import row_norms

__all__ = ["FAR", "near_rows"]

FAR = 10.0
"""So many times the median distance is absurd: beyond what attacks that hide in the spread, or skewed data, show."""


def near_rows(rows: Tensor, tolerate: int) -> Tensor:
    """Return the mask (m,) of the rows (m, d) that stay: all but at most `tolerate` that are far away."""
    distances = row_norms(centred(rows))[:, 0]
    farthest = distances.argsort(descending=True, stable=True)[:tolerate]
    far = torch.zeros_like(distances, dtype=torch.bool)
    far[farthest] = distances[farthest] > FAR * distances.median()
    return ~far
