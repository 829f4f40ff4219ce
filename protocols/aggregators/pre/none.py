"""Nothing before the rule."""

from dataclasses import dataclass

from torch import Tensor

from protocols.aggregators import NOTHING, Given
from protocols.aggregators.pre import pre_aggregators
from protocols.aggregators.pre._support import screen_alike


@pre_aggregators.register(source="baseline")
@dataclass(frozen=True, kw_only=True)
class NoPreAggregation:
    """Leaves the cluster means as they are.

    Guarantees:
        Rows that can be computed with come out as they went in.
    """

    def __call__(
        self,
        means: Tensor,
        sizes: Tensor,
        tolerate: int,
        given: Given = NOTHING,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor, int]:
        """See PreAggregator."""
        points = screen_alike(self, means, sizes, tolerate)
        return points.means if means.dim() == 3 else points.means[0], points.sizes, points.tolerate

    @property
    def in_place(self) -> bool:
        """They are the same rows."""
        return True

    @property
    def row_by_row(self) -> bool:
        """They are the same rows."""
        return True

    def clusters(self, m: int) -> int:
        """As many as before."""
        return m

    def breakdown(self, m: int) -> int:
        """It says nothing about them."""
        return m

    def sizes_after(self, sizes: Tensor) -> Tensor:
        """The same."""
        return sizes

    def coefficient(self, sizes: Tensor, tolerate: int, rule: float) -> float:  # noqa: ARG002
        """The rule's own."""
        return rule

    def sensitivity(self, rule: float | None) -> float | None:
        """The rule's own."""
        return rule
