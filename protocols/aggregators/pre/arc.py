"""Adaptive robust clipping: the longest cluster means are scaled down to the next longest one's length."""

from dataclasses import dataclass

from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, majority_breakdown
from protocols.aggregators._bounds import faulty_share
from protocols.aggregators._rows import cut_to, lengths_of
from protocols.aggregators.pre import pre_aggregators
from protocols.aggregators.pre._support import with_new_rows


@pre_aggregators.register(source="Allouah, Guerraoui, Gupta, Jellouli, Rizk, Stephan 2025, ICLR, Algorithm 2 (ARC)")
@dataclass(frozen=True, kw_only=True)
class AdaptiveClipping:
    """Scales the k = floor(2 (F / m) (m - F)) longest cluster means down to the length of the next longest one.

    Rows of one length are left, but for rounding: a rule that goes by length alone (cge) picks among them by rounding.

    Guarantees:
        No new row is longer than the (k + 1)-th longest old one, and one that was not longer stays as it is.
    """

    def __call__(
        self,
        means: Tensor,
        sizes: Tensor,
        tolerate: int,
        given: Given = NOTHING,  # noqa: ARG002
    ) -> tuple[Tensor, Tensor, int]:
        """See PreAggregator."""
        return with_new_rows(self, means, sizes, tolerate, _cut)

    @property
    def in_place(self) -> bool:
        """Each new row points the old one's way."""
        return True

    @property
    def row_by_row(self) -> bool:
        """The cut is another row's length."""
        return False

    def clusters(self, m: int) -> int:
        """As many as before."""
        return m

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def sizes_after(self, sizes: Tensor) -> Tensor:
        """The same."""
        return sizes

    def coefficient(self, sizes: Tensor, tolerate: int, rule: float) -> float:
        """Rule + 2 r with r = F / (m - 2 F): Allouah et al. 2025, ICLR, the theorem on F composed with ARC."""
        return rule + 2 * faulty_share(sizes.shape[0], tolerate)

    def sensitivity(self, rule: float | None) -> float | None:  # noqa: ARG002
        """Not bounded: one mean's length may set the others'."""
        return None


def _cut(points: Points) -> Tensor:
    m = points.means.shape[1]
    longest = 2 * points.tolerate * (m - points.tolerate) // m  # in whole numbers: 2 (F / m) (m - F) may be one
    lengths = lengths_of(points.means)
    return cut_to(lengths.sort(dim=1, descending=True).values[:, longest], points.means, lengths)
