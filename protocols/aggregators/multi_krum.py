"""Multi-Krum: the average of the cluster means that lie closest to their nearest neighbours."""

from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude
from protocols.aggregators._bounds import krum_coefficient
from protocols.aggregators._selection import average_of, krum_scores, lowest


@aggregators.register(
    source="Blanchard et al. 2017, NeurIPS, Section 4 (Multi-Krum)",
    examples=({}, {"selected": 2}),
    facts={"bound": "the argument of Allouah et al. 2023, AISTATS, for m - F - 2 neighbours: see `coefficient`"},
)
@dataclass(frozen=True, kw_only=True)
class MultiKrum:
    """The average of the `selected` cluster means with the smallest sums of squared distances to their neighbours.

    Neighbours are the m - F - 2 nearest others, as in Krum. By default, and where m - F is fewer, m - F are selected.

    Guarantees:
        The result is the average of `selected` cluster means, each counted once; ties go to lower cluster numbers.
    """

    selected: int | None = None

    def __post_init__(self) -> None:
        if self.selected is not None:
            check.integer_at_least(1, selected=self.selected)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; each cluster counts once."""
        return combine(self, means, sizes, tolerate, self._average, notices=True)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Selecting."""
        return exclude(self, means, sizes, tolerate, lambda points: ~self._select(points))

    def _average(self, points: Points) -> Tensor:
        return average_of(self._select(points), points.means)

    def _select(self, points: Points) -> Tensor:
        most = points.means.shape[1] - points.tolerate
        return lowest(krum_scores(points), most if self.selected is None else min(self.selected, most))

    def breakdown(self, m: int) -> int:
        """As Krum's: m >= 2 F + 3 clusters."""
        return (m - 3) // 2

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:
        """6 (m - F) / (m - 2 F - 1), as Krum's; see `krum_coefficient`."""
        return krum_coefficient(sizes.shape[0], tolerate)

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change of one mean may select others."""
        return None
