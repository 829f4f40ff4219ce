"""Central differential privacy: noise once, on the opened result."""

from dataclasses import dataclass

from protocols import check
from protocols.privacy import mechanisms


@mechanisms.register(
    source="McMahan et al. 2018, ICLR, Algorithm 1 (DP-FedAvg)", examples=({}, {"noise_multiplier": 0.1})
)
@dataclass(frozen=True, kw_only=True)
class Central:
    """Gaussian noise of std noise_multiplier x clip_norm x sensitivity, once on the aggregated update.

    Threat model: protects a process from those who see the models only; whoever opens the cluster sums is trusted.
    A rule without a proved sensitivity gets the noise of the plain mean, clip_norm / n, and no epsilon.

    Guarantees:
        The noise is calibrated to the rule's own sensitivity, where that is proved.
        A rule without a proved sensitivity has no epsilon: it is unsupported.
    """

    clip_norm: float = 1.0
    noise_multiplier: float = 1.0
    delta: float = 1e-5

    def __post_init__(self) -> None:
        check.positive(clip_norm=self.clip_norm)
        check.non_negative(noise_multiplier=self.noise_multiplier)
        check.fraction(delta=self.delta)

    def member_std(self, cluster_size: int) -> float:  # noqa: ARG002
        """No noise inside the sum."""
        return 0.0

    def result_std(self, sensitivity: float | None, n: int) -> float:
        """See Mechanism."""
        return self.noise_multiplier * self.clip_norm * (1.0 / n if sensitivity is None else sensitivity)

    def noise_multiplier_of(self, cluster_size: int, honest: int, sensitivity: float | None) -> float | None:  # noqa: ARG002
        """See Mechanism."""
        return None if sensitivity is None else self.noise_multiplier
