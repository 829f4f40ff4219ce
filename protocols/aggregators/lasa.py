"""LASA: in each layer, the mean of the clipped rows whose large coordinates have a usual length and sign balance."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._cells import each_cell, mean_of, median_length, middle
from protocols.aggregators._facts import layers_of
from protocols.check import CloisterError
from protocols.norms import row_norms
from protocols.privacy import clip_to_norm

# A length from a million squares is off by less than 10^6 2^-53, about 1e-10 of itself. Balances of signs are ratios of
# small integers, so that distances of exactly one radius are common, and rounding must not decide about them.
_ROUNDING = 1e-9


@aggregators.register(
    source="Xu, Zhang, Hu 2025, WACV (layer-adaptive sparsified model aggregation, LASA)",
    examples=({}, {"sparsity": 0.0}, {"sparsity": 0.9, "norm_radius": 2.0, "sign_radius": 2.0}),
    facts={
        "equivariant": ("scale",),
        "bound": "none of this form: each layer of the result is no longer than the median length",
    },
)
@dataclass(frozen=True, kw_only=True)
class Lasa:
    """The mean of the clipped cluster means that pass two filters, chosen anew in each layer, each counted once.

    Each mean is cut to the median length of all. Of each, the `sparsity` part of the coordinates with the smallest
    magnitudes, over all layers together, counts as zero in what the filters look at. In each layer they measure the
    length and the balance of signs, (positive - negative) / (positive + negative), and keep the means nearer to the
    median of the measure than `norm_radius` and `sign_radius` standard deviations. Where none passes both, all count.
    The layers are what is given as `layers`; without that, all coordinates are one. The authors' code spares biases
    from sparsity, and masks in place, so that its averages lack the small coordinates too; here biases are coordinates
    like all others, and the averages are over whole clipped means. Where all have the same measure, all pass.

    Guarantees:
        No layer of the result is longer than the median length of the cluster means.
        While fewer than half of the clusters are tainted, none is longer than the longest honest mean.
    """

    sparsity: float = 0.3
    norm_radius: float = 1.0
    sign_radius: float = 1.0

    def __post_init__(self) -> None:
        check.non_negative(sparsity=self.sparsity)
        check.positive(norm_radius=self.norm_radius, sign_radius=self.sign_radius)
        if self.sparsity >= 1:
            raise CloisterError(f"sparsity = {self.sparsity} is not allowed; allowed: from 0 to below 1")

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Aggregator."""

        def averaged(points: Points) -> Tensor:
            layers = layers_of(given, points)

            def average(rows: Tensor) -> Tensor:
                cut = _cut(rows)
                pairs = zip(torch.split(cut, layers, dim=1), self._chosen(cut, layers), strict=True)
                return torch.cat([mean_of(part, chosen) for part, chosen in pairs])

            return each_cell(points, average)

        return combine(self, means, sizes, tolerate, averaged)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Selecting: those that no layer's average is over."""

        def left_out(points: Points) -> Tensor:
            layers = layers_of(given, points)
            return each_cell(points, lambda rows: ~self._chosen(_cut(rows), layers).any(dim=0))

        return exclude(self, means, sizes, tolerate, left_out)

    def _chosen(self, cut: Tensor, layers: list[int]) -> Tensor:
        """Return the mask (layers, m) of the rows that each layer's average is over."""
        return torch.stack([self._usual(part) for part in torch.split(self._sparse(cut), layers, dim=1)])

    def _sparse(self, rows: Tensor) -> Tensor:
        """Return the rows without their smallest coordinates; of equal ones at the edge all stay, in any order."""
        d = rows.shape[1]
        dropped = min(math.floor(self.sparsity * d), d - 1)
        least = rows.abs().kthvalue(dropped + 1, dim=1, keepdim=True).values
        return rows.where(rows.abs() >= least, 0.0)

    def _usual(self, part: Tensor) -> Tensor:
        """Return the mask (m,) of the rows that pass in this layer; a row of zeros is balanced."""
        signs = part.sign()
        balance = signs.sum(dim=1) / signs.abs().sum(dim=1).clamp(min=1.0)
        both = _near(row_norms(part)[:, 0], self.norm_radius) & _near(balance, self.sign_radius)
        return both if bool(both.any()) else torch.ones_like(both)

    def breakdown(self, m: int) -> int:
        """Fewer than half: the median length is then not beyond the honest ones; tainted rows of usual ones do pass."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity: honest rows are cut and put away as well."""
        return math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a small change may move a row into or out of a layer's average."""
        return None


def _cut(rows: Tensor) -> Tensor:
    return clip_to_norm(rows, median_length(rows))


def _near(values: Tensor, radius: float) -> Tensor:
    """Return the mask (m,) of the values nearer to their median than so many standard deviations."""
    scaled = values / values.abs().max().clamp(min=torch.finfo(values.dtype).tiny)  # their squares do not vanish
    deviation = float(scaled.std(correction=0))
    return (scaled - middle(scaled)).abs() < max(_ROUNDING, (1 - _ROUNDING) * radius * deviation)
