"""FoolsGold: clusters whose updates have long pointed the same way are taken for one attacker's."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, exclude
from protocols.aggregators._cells import cosines, each_cell
from protocols.aggregators._facts import history_of

# A learning rate of exactly 1 has no logit.
_ALMOST_ONE = 0.99


@aggregators.register(
    source="Fung, Yoon, Beschastnikh 2020, RAID (FoolsGold), Algorithm 1",
    examples=({}, {"confidence": 2.0}),
    facts={
        "equivariant": ("scale",),
        "needs": ("history",),
        "unanimous": False,
        "takes_all_out": True,
        "bound": "none: it is for sybils that agree, and a lone attacker is not held back",
    },
)
@dataclass(frozen=True, kw_only=True)
class FoolsGold:
    """The average of the cluster means, weighted by how little their sums over all rounds resemble any other's.

    A cluster's history is the sum of its means so far, this round's among them. Its similarity is the largest cosine
    with another history; a cluster that resembles one with a larger similarity is pardoned in proportion; what remains
    is inverted, scaled so that the largest is 1, and spread by a logit with `confidence`. The source adds the weighted
    updates up and may weight coordinates by their importance; here they are averaged, so that the step is as long as
    other rules' is, and all coordinates count alike. Where all weights are zero, as between clusters that agree
    entirely, the result is zero. Rows that cannot be computed with are left out, however many.

    Guarantees:
        Clusters whose histories point exactly the same way have no part in the result, where others differ.
        Clusters that send NaN, infinities or numbers beyond LIMIT have no part in it, as long as there are others.
    """

    confidence: float = 1.0

    def __post_init__(self) -> None:
        check.positive(confidence=self.confidence)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Aggregator; weighted by these weights, not by size."""

        def averaged(points: Points) -> Tensor:
            before = history_of(given, points)

            def average(rows: Tensor) -> Tensor:
                weights = _weights(cosines(before + rows), self.confidence)
                total = float(weights.sum())
                return (weights / total) @ rows if total > 0 else torch.zeros_like(rows[0])

            return each_cell(points, average)

        return combine(self, means, sizes, tolerate, averaged, all_out=True)

    def excluded(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:
        """See Selecting: those of weight zero; nobody where all are, as then none is told from another."""

        def left_out(points: Points) -> Tensor:
            before = history_of(given, points)

            def weightless(rows: Tensor) -> Tensor:
                weights = _weights(cosines(before + rows), self.confidence)
                return (weights == 0) & (weights > 0).any()

            return each_cell(points, weightless)

        return exclude(self, means, sizes, tolerate, left_out, all_out=True)

    def breakdown(self, m: int) -> int:  # noqa: ARG002
        """None: a lone attacker resembles nobody, and its mean counts in full, however long it is."""
        return 0

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity: honest clusters that agree are put away as well."""
        return math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: the weights change with a mean's direction, and it may be long."""
        return None


def _weights(similarity: Tensor, confidence: float) -> Tensor:
    """Return the weights (m,) in 0 to 1 of histories with these cosines (m, m)."""
    itself = torch.eye(similarity.shape[0], dtype=torch.bool, device=similarity.device)
    alike = similarity.masked_fill(itself, -torch.inf).amax(dim=1)  # -inf for a single cluster
    more = (alike[None, :] > alike[:, None]) & (alike[None, :] > 0)
    pardon = torch.where(more, alike[:, None] / alike[None, :].clamp(min=torch.finfo(alike.dtype).tiny), 1.0)
    pardoned = (similarity * pardon).masked_fill(itself, -torch.inf)
    rates = (1.0 - pardoned.amax(dim=1)).clamp(0.0, 1.0)
    largest = float(rates.max())
    if largest == 0.0:
        return rates
    scaled = (rates / largest).clamp(max=_ALMOST_ONE)
    return (confidence * (scaled.log() - (1.0 - scaled).log() + 0.5)).clamp(0.0, 1.0)
