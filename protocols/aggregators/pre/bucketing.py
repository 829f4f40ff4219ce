"""Bucketing: the cluster means are mixed at random, a few to a bucket."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given
from protocols.aggregators._facts import stream_of
from protocols.aggregators._rows import sums_of_few
from protocols.aggregators.pre import pre_aggregators
from protocols.aggregators.pre._support import screen_alike
from protocols.types import balanced_sizes


@pre_aggregators.register(
    source="Karimireddy, He, Jaggi 2022, ICLR, Algorithm 1 (s-bucketing)",
    examples=({}, {"size": 3}),
    facts={"needs": ("rng",)},
)
@dataclass(frozen=True, kw_only=True)
class Bucketing:
    """Shuffles the cluster means and replaces every `size` of them or a few more by their mean over processes.

    The buckets share the m clusters out evenly, floor(m / size) buckets of `size` or more: the source's last bucket,
    of what is left over, would have a small bucket's noise and a full one's say. Sizes are those of the buckets.
    A tainted cluster taints one bucket, so as many buckets as clusters may be tainted.

    Guarantees:
        Each cluster is in exactly one bucket, and no bucket has fewer than `size` of them, if there are as many.
        The mean over processes stays what it was.
        The same stream gives the same buckets.
    """

    size: int = 2

    def __post_init__(self) -> None:
        check.integer_at_least(1, size=self.size)

    def __call__(
        self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING
    ) -> tuple[Tensor, Tensor, int]:
        """See PreAggregator; all cells of a batch get the same buckets."""
        points = screen_alike(self, means, sizes, tolerate)
        chosen, shares = self._buckets(points.sizes, stream_of(given))
        mixed = sums_of_few(chosen, shares / shares.sum(dim=1, keepdim=True), points.means)
        return mixed if means.dim() == 3 else mixed[0], shares.sum(dim=1).long(), points.tolerate

    def _buckets(self, sizes: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return the clusters (buckets, most) of each bucket and their sizes, float64; 0 where it has one fewer."""
        m = sizes.shape[0]
        each = torch.tensor(balanced_sizes(m, min(self.size, m)))
        place = torch.arange(int(each.max()))
        there = place < each[:, None]
        first = each.cumsum(dim=0) - each
        order = torch.from_numpy(rng.permutation(m))[(first[:, None] + place * there)].to(sizes.device)
        return order, sizes[order].double() * there.to(sizes.device)

    @property
    def in_place(self) -> bool:
        """A new row stands for several clusters, drawn at random."""
        return False

    @property
    def row_by_row(self) -> bool:
        """A new row is an average of several old ones."""
        return False

    def clusters(self, m: int) -> int:
        """The number of buckets."""
        return max(1, m // self.size)

    def breakdown(self, m: int) -> int:
        """As many as there are buckets: what is left of them is the rule's affair."""
        return self.clusters(m)

    def sizes_after(self, sizes: Tensor) -> Tensor:
        """The largest clusters together, in the larger buckets: no draw gives any number of buckets more members."""
        m = sizes.shape[0]
        last = torch.tensor(balanced_sizes(m, min(self.size, m)), device=sizes.device).cumsum(dim=0) - 1
        upto = sizes.sort(descending=True).values.cumsum(dim=0)[last]
        return upto.diff(prepend=upto.new_zeros(1))

    def coefficient(self, sizes: Tensor, tolerate: int, rule: float) -> float:
        """(1 + rule) (m - F) w / (B - F), for whatever buckets are drawn; w: the largest share of a cluster in one.

        Take any B - F of the B buckets that are not tainted, and let y be the average of their means, V that of the
        squared distances to it. Then V + |y - a|^2 is the average of the squared distances of their means to a, the
        average of the m - F honest rows, and by convexity at most w (m - F) v / (B - F), for each honest row is in one
        bucket. The result is within sqrt(rule V) of y, and (sqrt(rule V) + |y - a|)^2 <= (1 + rule) (V + |y - a|^2).
        Of clusters of one size w is 1 / size, and with F = 0 the bound is 1 + rule. On average over the shuffles it is
        far better (Karimireddy et al. 2022, ICLR, Lemma 1).
        """
        m, buckets = sizes.shape[0], self.clusters(sizes.shape[0])
        if tolerate >= buckets:
            return math.inf
        largest, others = float(sizes.max()), (min(self.size, m) - 1) * float(sizes.min())
        return (1 + rule) * (m - tolerate) * largest / (largest + others) / (buckets - tolerate)

    def sensitivity(self, rule: float | None) -> float | None:  # noqa: ARG002
        """Not bounded here: the rule's own one is for other sizes."""
        return None
