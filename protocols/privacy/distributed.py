"""Distributed differential privacy: the members' noise shares add up inside the encrypted sum."""

import math
from dataclasses import dataclass

from protocols import check
from protocols.privacy import mechanisms


@mechanisms.register(
    source="Dwork et al. 2006, EUROCRYPT, Our Data Ourselves; noise shares for non-adders: Truex et al. 2019, AISec",
    examples=({}, {"noise_multiplier": 0.1, "non_adders": 2}),
)
@dataclass(frozen=True, kw_only=True)
class Distributed:
    """Each member of a cluster of c adds a share of the noise, sized so that any c - non_adders shares suffice.

    Threat model: protects a process from everybody who sees opened sums, coalitions of up to `non_adders`
    members of its cluster included, who may omit or subtract their shares. If more do, epsilon is computed
    from the shares that the honest members really added.

    Guarantees:
        Any c - non_adders members' shares carry std noise_multiplier x clip_norm in the cluster's sum.
        With h honest members epsilon counts their h shares and no others.
    """

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0
    delta: float = 1e-5
    non_adders: int = 0

    def __post_init__(self) -> None:
        check.positive(clip_norm=self.clip_norm)
        check.non_negative(noise_multiplier=self.noise_multiplier)
        check.fraction(delta=self.delta)
        check.integer_at_least(0, non_adders=self.non_adders)

    def member_std(self, cluster_size: int) -> float:
        """See Mechanism."""
        return self.noise_multiplier * self.clip_norm / math.sqrt(self._adders(cluster_size))

    def result_std(self, sensitivity: float | None, n: int) -> float:  # noqa: ARG002
        """No noise on the result."""
        return 0.0

    def noise_multiplier_of(self, cluster_size: int, honest: int, sensitivity: float | None) -> float | None:  # noqa: ARG002
        """See Mechanism."""
        return self.noise_multiplier * math.sqrt(honest / self._adders(cluster_size))

    def _adders(self, cluster_size: int) -> int:
        # A cluster smaller than non_adders + 1 cannot rely on others: each member then adds the whole noise.
        return max(1, cluster_size - self.non_adders)
