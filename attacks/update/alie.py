"""A little is enough."""

from dataclasses import dataclass
from statistics import NormalDist

from torch import Tensor

from attacks.api import HonestView, update_attack
from attacks.update._statistics import mean_and_deviation
from protocols import check

__all__ = ["Alie", "largest_z"]


@update_attack(
    knowledge="honest", source="Baruch, Baruch, Goldberg 2019, NeurIPS, Algorithm 3", examples=({}, {"z": 0.5})
)
@dataclass(frozen=True, kw_only=True)
class Alie:
    """All send the honest mean minus z standard deviations in each coordinate: small, but always the same way.

    One vector for all, as the attack is defined. Without `z` it is the paper's z_max for the n and f of the round;
    see largest_z(). The mean and the deviation are those of the honest updates, where the paper's attackers estimate
    them from their own.
    """

    z: float | None = None

    def __post_init__(self) -> None:
        if self.z is not None:
            check.positive(z=self.z)

    def __call__(self, view: HonestView) -> Tensor:
        z = largest_z(view.n, len(view.own)) if self.z is None else self.z
        mean, deviation = mean_and_deviation(view.honest)
        return mean.sub_(deviation, alpha=z).expand_as(view.own)


def largest_z(n: int, f: int) -> float:
    """Return z_max = Phi^-1((n - s - f) / (n - f)) with s = floor(n / 2 + 1) - f supporters, but at least 0.

    So many of the honest values are expected to be farther out that the f corrupted ones are a majority with them.
    Where f > n / 2, or so few that there is no such z > 0, it is held in [0, 4]: no supporter is needed, or no
    deviation hides.
    """
    share = (n - (n // 2 + 1)) / (n - f)
    if not 0 < share < 1:
        return 0.0 if share <= 0 else 4.0
    return min(max(NormalDist().inv_cdf(share), 0.0), 4.0)
