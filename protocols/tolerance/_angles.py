"""The angles at which the saddle-point integral is evaluated, and the kernel that reads the wanted values off them."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocols.tolerance.binomial import Floats

__all__ = ["Axis", "Complexes", "axis_of", "kernel_of"]

Complexes = NDArray[np.complex128]


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The angles 2 pi k / points of one variable that are evaluated, k of both signs, or from 0 on where mirrored.

    The others matter less than exp(-faded).
    """

    steps: NDArray[np.int64]
    points: int

    @property
    def angles(self) -> Floats:
        """The angles, in radians."""
        return (2 * math.pi / self.points * self.steps).astype(np.float64)


def axis_of(points: int, pull: float, faded: float, *, half: bool) -> Axis:
    """Return the angles of a variable. `pull` certifies that the integrand is below exp(-pull (1 - cos angle)).

    Looking at the integrand's end instead would miss what comes back: where parities are tied, it does, at pi.
    """
    points |= 1  # an odd number has no angle of pi, which would be its own mirror image
    reach = math.acos(1 - faded / pull) if 2 * pull > faded else math.pi
    last = min(points // 2, math.ceil(reach * points / (2 * math.pi)))
    return Axis(steps=np.arange(0 if half else -last, last + 1), points=points)


def kernel_of(axes: Sequence[Axis], target: Floats, slope: int, ks: NDArray[np.int64], tilt: float) -> Complexes:
    """Return sum over k of e^{-v (k - wanted)} e^{-i (theta (f - slope k) + phi k)}, and the other kinds' waves."""
    wanted = int(ks[0])
    turns: list[Complexes] = [_wave(axis, int(target[i])) for i, axis in enumerate(axes[:-1])]
    turns[0] = _wave(axes[0], int(target[0]) - slope * wanted)
    turns.append(_wave(axes[-1], wanted))
    kernel: Complexes = np.ones([1] * len(axes), dtype=np.complex128)
    for i, turn in enumerate(turns):
        kernel = kernel * turn.reshape([-1 if j == i else 1 for j in range(len(axes))])
    steps = -tilt - 1j * np.subtract.outer(-slope * axes[0].angles, -axes[-1].angles)
    series = _geometric(steps, len(ks))
    return kernel * series.reshape(series.shape[0], *[1] * (len(axes) - 2), series.shape[1])


def _geometric(steps: Complexes, terms: int) -> Complexes:
    """sum over j < terms of e^{j step}; a step of 0 modulo 2 pi i gives the number of terms."""
    below = np.expm1(steps)
    flat = np.abs(below) < 1e-13
    return np.where(flat, float(terms), np.expm1(terms * steps) / np.where(flat, 1.0, below))


def _wave(axis: Axis, value: int) -> Complexes:
    """e^{-i angle value} at every angle; whole numbers first, so that no phase is rounded."""
    return np.exp(-2j * math.pi / axis.points * (axis.steps * value % axis.points))
