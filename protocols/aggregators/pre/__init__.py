"""What changes the cluster means before a rule combines them, one a file."""

from typing import Protocol

from torch import Tensor

from protocols.aggregators import NOTHING, Given
from protocols.registry import Registry

__all__ = ["PreAggregator", "pre_aggregators"]


class PreAggregator(Protocol):
    """Maps cluster means to others that a rule combines more safely. Registers with `facts` as an Aggregator does."""

    def __call__(
        self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING
    ) -> tuple[Tensor, Tensor, int]:
        """Return the new means (m', d) or (cells, m', d), their sizes (m',) and how many of them may be tainted.

        Types, devices and what is refused are as for an Aggregator. Hostile rows are taken out; the cells of a batch
        must have them in the same rows (a composed rule sees to that).
        """
        ...

    @property
    def in_place(self) -> bool:
        """Whether each new row stands for the cluster of the old one in its place."""
        ...

    @property
    def row_by_row(self) -> bool:
        """Whether each new row depends on the old one in its place alone, so that a row left out later has no part."""
        ...

    def clusters(self, m: int) -> int:
        """Return how many rows come out for m that go in."""
        ...

    def breakdown(self, m: int) -> int:
        """Return the largest number of tainted clusters among m that it is defined for (-1: m is too small)."""
        ...

    def sizes_after(self, sizes: Tensor) -> Tensor:
        """Return the sizes (m',) int64 of the rows that come out for clusters of these sizes (m,).

        Where they are drawn, those with the most members in the largest ones: no coefficient is smaller for others.
        """
        ...

    def coefficient(self, sizes: Tensor, tolerate: int, rule: float) -> float:
        """Return the coefficient (see Aggregator) of this, followed by a rule whose own one is `rule`.

        That is the rule's for the sizes that come out.
        """
        ...

    def sensitivity(self, rule: float | None) -> float | None:
        """Return the sensitivity (see Aggregator) of this, followed by a rule whose own one is `rule`; None: unproved.

        Where a change of one row by a vector of norm r changes that row only, and by no more than r, it is the rule's.
        """
        ...


pre_aggregators: Registry[PreAggregator] = Registry("pre", ("protocols.aggregators.pre",), "cloister.pre_aggregators")
