"""SignGuard: rows of a usual length, in the largest group by their signs, cut to the median length."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._cells import each_cell, mean_cut_to, median_length, middle
from protocols.aggregators._facts import stream_of
from protocols.aggregators._mean_shift import bandwidth_of, largest_cluster
from protocols.check import CloisterError
from protocols.norms import row_norms

# The part of the pairs whose distance sets the bandwidth.
_QUANTILE = 0.5


@aggregators.register(
    source="Xu, Huang, Song, Lan 2022, ICDCS (collaborative malicious gradient filtering), plain SignGuard",
    examples=({}, {"share": 1.0}),
    facts={
        "equivariant": ("scale",),
        "needs": ("rng",),
        "bound": "none of this form: it bounds the length of the result",
    },
)
@dataclass(frozen=True, kw_only=True)
class SignGuard:
    """The mean of the cluster means that pass both filters, each cut to the median length M of all, counted once.

    The first filter keeps rows of lengths from `shortest` M to `longest` M. The second one draws a `share` of the
    coordinates and describes each row by the parts of them that are positive, zero and negative; mean shift groups the
    descriptions, and the largest group passes. Where no row passes both, those that pass the first count.

    Guarantees:
        The result is no longer than the median length of the cluster means.
        The same stream gives the same coordinates.
    """

    shortest: float = 0.1
    longest: float = 3.0
    share: float = 0.1

    def __post_init__(self) -> None:
        check.non_negative(shortest=self.shortest)
        check.positive(longest=self.longest, share=self.share)
        if self.shortest > 1 or self.longest < 1:
            raise CloisterError(
                f"lengths from {self.shortest} to {self.longest} medians are not allowed; allowed: a range around 1"
            )
        if self.share > 1:
            raise CloisterError(f"share = {self.share} of the coordinates is not allowed; allowed: above 0, up to 1")

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Aggregator."""

        def averaged(points: Points) -> Tensor:
            return each_cell(
                points, lambda rows: mean_cut_to(rows[self._good(rows, stream_of(given))], median_length(rows))
            )

        return combine(self, means, sizes, tolerate, averaged)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Selecting."""

        def left_out(points: Points) -> Tensor:
            return each_cell(points, lambda rows: ~self._good(rows, stream_of(given)))

        return exclude(self, means, sizes, tolerate, left_out)

    def _good(self, rows: Tensor, rng: np.random.Generator) -> Tensor:
        """Return the mask (m,) of the rows that pass."""
        lengths = row_norms(rows)[:, 0]
        usual = (lengths >= self.shortest * middle(lengths)) & (lengths <= self.longest * middle(lengths))
        d = rows.shape[1]
        drawn = rng.choice(d, size=math.ceil(self.share * d), replace=False)
        signs = rows[:, torch.from_numpy(drawn).to(rows.device)].sign()
        described = torch.stack([(signs == sign).double().mean(dim=1) for sign in (1.0, 0.0, -1.0)], dim=1)
        both = usual & largest_cluster(described, bandwidth_of(described, _QUANTILE))
        return both if bool(both.any()) else usual

    def breakdown(self, m: int) -> int:
        """Fewer than half: the median length is then not beyond the honest ones."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity: honest rows are put away and cut as well, and tainted ones with the usual signs pass."""
        return math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change may move a row into or out of the largest group."""
        return None
