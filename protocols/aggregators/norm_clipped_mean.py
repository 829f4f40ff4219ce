"""The mean of the cluster means, each cut to a fixed length first."""

import math
from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, majority_breakdown
from protocols.aggregators._cells import each_cell
from protocols.privacy import clip_to_norm


@aggregators.register(
    source="Sun, Kairouz, Suresh, McMahan 2019, arXiv 1911.07963 (norm thresholding of updates)",
    examples=({}, {"radius": 0.1}),
    facts={
        "equivariant": (),
        "unanimous": False,
        "bound": "none: tainted clusters move the result by up to 2 F radius / m",
        "within": "F radius / m",
    },
)
@dataclass(frozen=True, kw_only=True)
class NormClippedMean:
    """The mean over processes of the cluster means, each scaled down to L2 norm `radius` where it is longer.

    What it withstands is by construction only: no cluster counts for more than its share of `radius`.

    Guarantees:
        The result is no longer than `radius`.
        F of m clusters of one size move it by at most F radius / m from where it is with theirs at zero.
    """

    radius: float = 1.0

    def __post_init__(self) -> None:
        check.positive(radius=self.radius)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator; weighted by size."""
        return combine(self, means, sizes, tolerate, self._clipped)

    def _clipped(self, points: Points) -> Tensor:
        shares = points.sizes.double() / points.sizes.sum()
        return each_cell(points, lambda rows: shares @ clip_to_norm(rows, self.radius))

    def breakdown(self, m: int) -> int:
        """Fewer than half, by construction."""
        return majority_breakdown(m)

    def reach(self, sizes: Tensor, tolerate: int, d: int) -> float:  # noqa: ARG002
        """The share of the F largest clusters times `radius`: F radius / m for one size.

        A row at zero adds nothing, any other at most its share of `radius`; where rows are taken out, the others get
        their share, and the average of these is no longer than `radius` either.
        """
        return self.radius * int(sizes.sort(descending=True).values[:tolerate].sum()) / int(sizes.sum())

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity: nothing of this form holds, as clusters that agree on a longer mean are cut."""
        return math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:
        """A process moves one cluster mean by 1 / c; the projection onto a ball no further; weighted c / n: 1 / n.

        Where a hostile cluster is taken out, the weights of the others grow: n is then what is left at least.
        """
        left = sizes.sort().values[: sizes.shape[0] - tolerate]
        return 1.0 / int(left.sum())
