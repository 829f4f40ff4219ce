"""Noise in a round: what members add inside the sums, what is added to the result, and whom it protects how well."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.attacking import sees_past_the_noise
from bench.setting import Federation
from protocols.check import CloisterError
from protocols.types import Clustering

__all__ = ["multipliers_of", "noise_words", "result_noise"]

# Rounded Gaussian noise of at least this many units adds up like Gaussian noise: see noise_words.
_LEAST_NOISE_UNITS = 4.0
# No Gaussian draw of 53 bits is larger than 8.6 standard deviations.
_LARGEST_DRAW = 8.6


def noise_words(federation: Federation, clustering: Clustering, round_index: int, terms: int) -> Tensor | None:
    """Return each member's noise, int64 (n, k), rounded to the ring's grid; None without noise inside the sum.

    The update is rounded before the noise is added, so a member's message is its rounded update plus rounded
    Gaussian noise: a post-processing of the Gaussian mechanism on the grid. The sum of c rounded Gaussians is
    a mixture, over c - 1 uniform offsets, of such post-processings, up to terms of exp(-2 pi^2 std^2) with std
    in units: at 4 units below 1e-137, which no delta notices.
    """
    stds = np.zeros(federation.data.n)
    for cluster in clustering.clusters:
        stds[list(cluster)] = federation.mechanism.member_std(len(cluster)) / federation.ring.unit
    if not stds.any():
        return None
    largest = federation.ring.largest_word(terms)
    if stds.min() < _LEAST_NOISE_UNITS or stds.max() * _LARGEST_DRAW > largest:
        raise CloisterError(
            f"noise std = {stds.min() * federation.ring.unit:.3g} to {stds.max() * federation.ring.unit:.3g} does not "
            f"fit the ring; allowed: {_LEAST_NOISE_UNITS * federation.ring.unit:.3g} to "
            f"{largest / _LARGEST_DRAW * federation.ring.unit:.3g}; change noise_multiplier, clip_norm or fraction_bits"
        )
    draws = federation.noise.gaussian(use=2 * round_index, lanes=len(stds), count=federation.coordinates)
    return torch.round(draws * torch.from_numpy(stds)[:, None]).to(torch.int64)


def result_noise(federation: Federation, sensitivity: float | None, round_index: int) -> Tensor | float:
    """Return the noise (k,) that is added to the combined row, before it is decompressed; 0.0 without any."""
    std = federation.mechanism.result_std(sensitivity, federation.data.n)
    if not std:
        return 0.0
    return std * federation.noise.gaussian(use=2 * round_index + 1, lanes=1, count=federation.coordinates)[0]


def multipliers_of(
    federation: Federation,
    clustering: Clustering,
    sensitivity: float | None,
    left_out: frozenset[int] = frozenset(),
    *,
    told: frozenset[int] = frozenset(),
    protection: float = 1.0,
) -> NDArray[np.float64] | None:
    """Return noise std over sensitivity for each process; colluding ones need no protection and get infinity.

    Only the noise of honest members whose words are surely in the sum counts: not that of crashed ones, nor that of
    members `left_out` of a sum that was opened. Where single inputs can be opened, by the colluding members of a
    cluster or, as under `plaintext`, by anybody, a process has its own share alone; so has each of those who are
    `told` to colluding ones, as delegates who hold inputs one by one tell them. Noise on the result counts `protection`
    times, where it is sampled jointly and some know a part of it.

    None where nothing is proved: see sees_past_the_noise().
    """
    if sees_past_the_noise(federation):
        return None
    multipliers = np.full(federation.data.n, np.inf)
    known = protection if federation.mechanism.result_std(1.0, federation.data.n) else 1.0
    slack = _rounding_slack(federation)
    colluding = federation.faulty | federation.curious
    for cluster in clustering.clusters:
        protected = [process for process in cluster if not colluding[process]]
        adders = sum(not federation.crashed[process] and process not in left_out for process in protected)
        adders = min(adders, 1) if _opened_one_by_one(federation, cluster) else adders
        seen = [process for process in protected if process in told]
        for some, sharing in ((protected, adders), (seen, min(adders, 1))):
            multiplier = federation.mechanism.noise_multiplier_of(len(cluster), sharing, sensitivity)
            if multiplier is None:
                return None
            multipliers[some] = known * multiplier / slack
    return multipliers


def _opened_one_by_one(federation: Federation, cluster: Sequence[int]) -> bool:
    """Whether somebody sees an input of this cluster by itself, as the verdict on its secrecy has it."""
    members = list(cluster)
    colluding = np.array([int((federation.faulty | federation.curious)[members].sum())])
    crashed = np.array([int(federation.crashed[members].sum())])
    return bool(federation.conditions.exposed(len(members), colluding, crashed)[0])


def _rounding_slack(federation: Federation) -> float:
    """Return how much longer than clip_norm a clipped update may be once each coordinate is rounded."""
    clip_norm = federation.mechanism.clip_norm
    if clip_norm is None:
        return 1.0
    return 1.0 + 0.5 * federation.ring.unit * np.sqrt(federation.coordinates) / clip_norm
