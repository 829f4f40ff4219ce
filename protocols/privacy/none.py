"""No differential privacy."""

from dataclasses import dataclass

from protocols.privacy import mechanisms


@mechanisms.register(source="baseline")
@dataclass(frozen=True, kw_only=True)
class NoPrivacy:
    """Neither clipping nor noise: epsilon is infinite."""

    @property
    def clip_norm(self) -> float | None:
        """Not clipped."""
        return None

    @property
    def delta(self) -> float | None:
        """No statement."""
        return None

    def member_std(self, cluster_size: int) -> float:  # noqa: ARG002
        """No noise."""
        return 0.0

    def result_std(self, sensitivity: float | None, n: int) -> float:  # noqa: ARG002
        """No noise."""
        return 0.0

    def noise_multiplier_of(self, cluster_size: int, honest: int, sensitivity: float | None) -> float | None:  # noqa: ARG002
        """No noise: the multiplier is zero and epsilon infinite."""
        return 0.0
