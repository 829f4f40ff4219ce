"""Local differential privacy: each member hides its own update."""

from dataclasses import dataclass

from protocols import check
from protocols.privacy import mechanisms


@mechanisms.register(
    source="Kasiviswanathan et al. 2011, SIAM J. Comput., Section 2, for neighbours that differ in one update or none",
    examples=({}, {"noise_multiplier": 0.1}),
)
@dataclass(frozen=True, kw_only=True)
class Local:
    """Each member adds Gaussian noise of std noise_multiplier x clip_norm to its update before sharing it.

    Threat model: protects a process from everybody, the members of its own cluster included.

    Guarantees:
        Every honest member's noise has the full standard deviation, whatever the cluster.
    """

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0
    delta: float = 1e-5

    def __post_init__(self) -> None:
        check.positive(clip_norm=self.clip_norm)
        check.non_negative(noise_multiplier=self.noise_multiplier)
        check.fraction(delta=self.delta)

    def member_std(self, cluster_size: int) -> float:  # noqa: ARG002
        """See Mechanism."""
        return self.noise_multiplier * self.clip_norm

    def result_std(self, sensitivity: float | None, n: int) -> float:  # noqa: ARG002
        """No noise on the result."""
        return 0.0

    def noise_multiplier_of(self, cluster_size: int, honest: int, sensitivity: float | None) -> float | None:  # noqa: ARG002
        """A process relies on its own noise alone."""
        return self.noise_multiplier
