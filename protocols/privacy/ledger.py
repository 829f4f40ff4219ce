"""What a run costs in privacy: Gaussian noise composed over rounds, epsilon by dp-accounting's PLD."""

import functools
import math

import numpy as np
from numpy.typing import NDArray

from protocols import check
from protocols.check import CloisterError

__all__ = ["UNSUPPORTED", "Ledger"]

UNSUPPORTED = "unsupported"
"""What is said instead of an epsilon that nobody has proved."""


class Ledger:
    """Adds up, for every process, the noise that protected it in each round.

    Rounds of Gaussian mechanisms with multipliers z_1, z_2, ... compose exactly to one of multiplier z with
    1 / z^2 = sum 1 / z_t^2; dp-accounting turns it into epsilon. The relation is add-or-remove-one process.

    Guarantees:
        epsilon is that of the worst-protected process.
        epsilon grows with every round.
        A round without noise makes epsilon infinite; a round without a proof makes it unsupported.

    Source: Dong, Roth, Su 2022, JRSS-B, Corollary 3.3 (composition); Koskela, Jälkö, Honkela 2020, AISTATS (PLD).
    """

    def __init__(self, n: int) -> None:
        check.integer_at_least(1, n=n)
        self._inverse_squares = np.zeros(n)
        self._supported = True

    def record(self, multipliers: NDArray[np.float64] | None) -> None:
        """Add one round: the noise multiplier of each process (n,); inf for those that need no protection.

        Raises: CloisterError for another shape, or a multiplier that is negative or no number.
        """
        if multipliers is None:
            self._supported = False
            return
        if multipliers.shape != self._inverse_squares.shape or not bool((multipliers >= 0).all()):
            raise CloisterError(
                f"noise multipliers {multipliers!r} are not allowed; "
                f"allowed: {len(self._inverse_squares)} numbers >= 0, or infinity"
            )
        with np.errstate(divide="ignore", over="ignore"):
            self._inverse_squares += np.square(1.0 / multipliers)

    def epsilon(self, delta: float) -> float | str:
        """Return the epsilon of the run at `delta`, math.inf, or UNSUPPORTED."""
        check.fraction(delta=delta)
        worst = float(self._inverse_squares.max())
        if math.isinf(worst):
            return math.inf
        if not self._supported:
            return UNSUPPORTED
        return _gaussian_epsilon(1.0 / math.sqrt(worst), delta) if worst else 0.0


@functools.cache
def _gaussian_epsilon(noise_multiplier: float, delta: float) -> float:
    # dp-accounting takes a second to import, which `bench list` should not pay for.
    from dp_accounting import GaussianDpEvent
    from dp_accounting.pld import PLDAccountant

    # PLD estimates are upper bounds at any interval, at most one interval too high for a single mechanism.
    largest_loss = 0.5 / noise_multiplier**2 + 10.0 / noise_multiplier
    accountant = PLDAccountant(value_discretization_interval=max(1e-4, largest_loss * 1e-5))
    return float(accountant.compose(GaussianDpEvent(noise_multiplier)).get_epsilon(delta))
