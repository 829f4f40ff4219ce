"""Mean shift with a flat kernel: how many clusters there are follows from the points."""

import numpy as np
import torch
from torch import Tensor

__all__ = ["bandwidth_of", "largest_cluster"]

_MOST_STEPS = 300
# A shift below this part of the bandwidth is none.
_STILL = 1e-3


def bandwidth_of(points: Tensor, quantile: float) -> float:
    """Return the mean distance of the points (m, k) to their (quantile m)-th nearest, themselves counted."""
    nearest = max(1, int(points.shape[0] * quantile))
    return float(torch.cdist(points, points).sort(dim=1).values[:, nearest - 1].mean())


def largest_cluster(points: Tensor, bandwidth: float) -> Tensor:
    """Return the mask (m,) of the largest cluster of the points (m, k); all of them for a bandwidth of 0.

    Every point moves to the mean of those within the bandwidth until it stands still, 300 times at most. Where it ends
    is a cluster's centre, unless a centre with more points is within the bandwidth; a point belongs to the nearest
    centre, if that is within the bandwidth. (Comaniciu and Meer 2002, IEEE TPAMI, as scikit-learn's MeanShift.)
    """
    if bandwidth <= 0:
        return torch.ones(points.shape[0], dtype=torch.bool, device=points.device)
    ends = _ends(points, bandwidth)
    crowd = (torch.cdist(ends, points) <= bandwidth).sum(dim=1)
    near = torch.cdist(ends, ends) <= bandwidth
    centres: list[int] = []
    for place in _by_crowd(ends, crowd):
        if not any(bool(near[place, centre]) for centre in centres):
            centres.append(place)
    distances = torch.cdist(points, ends[centres])
    nearest = distances.argmin(dim=1)
    inside = distances.amin(dim=1) <= bandwidth
    largest = torch.bincount(nearest[inside], minlength=len(centres)).argmax()
    return inside & (nearest == largest)


def _ends(points: Tensor, bandwidth: float) -> Tensor:
    """Return where each point (m, k) comes to rest."""
    ends = points.clone()
    moving = torch.ones(points.shape[0], dtype=torch.bool, device=points.device)
    for _ in range(_MOST_STEPS):
        if not bool(moving.any()):
            break
        within = (torch.cdist(ends[moving], points) <= bandwidth).double()
        moved = (within @ points) / within.sum(dim=1, keepdim=True)
        still = (moved - ends[moving]).square().sum(dim=1).sqrt() <= _STILL * bandwidth
        ends[moving] = moved
        moving = moving.masked_scatter(moving, ~still)
    return ends


def _by_crowd(ends: Tensor, crowd: Tensor) -> list[int]:
    """Return the places with the most points first; of equally many those with the larger coordinates."""
    keys = torch.cat([crowd[:, None].double(), ends], dim=1).cpu().numpy()
    order = np.lexsort(keys.T[::-1])  # by the crowd first, then by the first coordinate, and so on
    return [int(place) for place in order[::-1]]
