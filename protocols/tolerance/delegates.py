"""Who holds cluster sums that stay hidden, and what they see of single inputs."""

from dataclasses import dataclass

from protocols import check
from protocols.check import CloisterError
from protocols.tolerance.parts import Groups, clusters_of

__all__ = ["Delegates"]


@dataclass(frozen=True, kw_only=True)
class Delegates:
    """Who holds the sums: `count` delegates, of whom `threshold` know nothing; `deviating`: the faulty among them may.

    `committees` of so many compare what they open. With `checked` inputs these are shared among the delegates one by
    one, so that a Byzantine member may have its own cluster left out, by an input that does not pass; `shows_total`:
    what opens is the mean of the clusters that are left. Raises: CloisterError unless 1 <= threshold < count / 2, and
    for two committees of members who follow the protocol, who have nothing to compare.
    """

    count: int = 3
    threshold: int = 1
    deviating: bool = False
    committees: int = 1
    checked: bool = False
    shows_total: bool = False

    def __post_init__(self) -> None:
        check.integer_at_least(3, delegates=self.count)
        if not 1 <= self.threshold <= (self.count - 1) // 2:
            raise CloisterError(
                f"threshold = {self.threshold} of {self.count} delegates is not allowed; "
                f"allowed: 1 to {(self.count - 1) // 2}, fewer than half of them"
            )
        if not 1 <= self.committees <= 1 + self.deviating:
            raise CloisterError(
                f"committees = {self.committees} is not allowed; allowed: 1, or 2 where members deviate"
            )

    @property
    def withstood(self) -> int:
        """How many colluding delegates show no sum."""
        return 0 if self.deviating else self.threshold

    @property
    def serving(self) -> int:
        """How many delegates all committees have."""
        return self.committees * self.count

    @property
    def chooses(self) -> bool:
        """Whether members may leave one input alone in what opens, by clusters of theirs that do not pass."""
        return self.checked and self.shows_total

    def least(self, groups: Groups) -> int:
        """Return how many clusters must be complete for all of them to be drawn."""
        # A cluster of one has no second member for a second committee.
        return self.serving if groups[0][0] == 1 else self.count

    def spare(self, groups: Groups) -> int:
        """Return how many clusters may be lost: with one more there are too few to serve."""
        return clusters_of(groups) - self.least(groups)

    def check(self, groups: Groups) -> None:
        """Raise CloisterError where there are too few clusters for them."""
        least = self.least(groups)
        if clusters_of(groups) < least:
            raise CloisterError(
                f"delegates = {self.count} of {clusters_of(groups)} clusters is not allowed; "
                f"allowed: {least} clusters or more"
            )
