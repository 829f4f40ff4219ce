"""FLTrust: cluster means as long as the root update, weighted by how much they point its way."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude, majority_breakdown
from protocols.aggregators._cells import directions, each_cell
from protocols.aggregators._facts import reference_of
from protocols.norms import row_norms


@aggregators.register(
    source="Cao, Fang, Liu, Gong 2021, NDSS (FLTrust), Algorithm 2",
    facts={
        "equivariant": ("scale",),
        "needs": ("reference",),
        "bound": "none of this form: its trust is in the root data",
    },
)
@dataclass(frozen=True, kw_only=True)
class TrustBootstrapping:
    """The average of the cluster means, each scaled to the root update's norm, with trust scores as weights.

    A cluster's trust score is max(0, cosine of its mean with the root update). The result is zero where nobody is
    trusted, or the root update is zero: the model then stays as it is. Clusters count by trust, not by size.

    Guarantees:
        The result is no longer than the root update.
    """

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Aggregator."""

        def trusted(points: Points) -> Tensor:
            root = reference_of(given, points)

            def average(rows: Tensor) -> Tensor:
                ways, trust = _trust(rows, root)
                total = float(trust.sum())
                length = float(row_norms(root[None]))
                return (trust / total) @ ways * length if total > 0 else torch.zeros_like(root)

            return each_cell(points, average)

        return combine(self, means, sizes, tolerate, trusted)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Selecting: those without trust."""

        def left_out(points: Points) -> Tensor:
            root = reference_of(given, points)
            return each_cell(points, lambda rows: _trust(rows, root)[1] == 0)

        return exclude(self, means, sizes, tolerate, left_out)

    def breakdown(self, m: int) -> int:
        """Fewer than half: the source bounds no number, but a root update cannot tell which half is right."""
        return majority_breakdown(m)

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity: nothing bounds how far the root update is from the honest means."""
        return math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a short mean turns far with a small change."""
        return None


def _trust(rows: Tensor, root: Tensor) -> tuple[Tensor, Tensor]:
    """Return the directions (m, d) of the rows, zero for zero, and their trust scores (m,)."""
    ways = directions(rows)
    return ways, (ways @ directions(root[None])[0]).clamp(min=0)
