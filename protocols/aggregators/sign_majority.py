"""The sign of each coordinate by majority vote of the clusters."""

import math
from dataclasses import dataclass

from torch import Tensor

from protocols import check
from protocols.aggregators import NOTHING, Given, Points, aggregators, combine, majority_breakdown


@aggregators.register(
    source="Bernstein, Zhao, Azizzadenesheli, Anandkumar 2019, ICLR (signSGD with majority vote)",
    examples=({}, {"step": 0.1}),
    facts={
        "equivariant": (),
        "unanimous": False,
        "bound": "none in units of the means' spread: only signs count",
        "within": "2 step sqrt(d)",
    },
)
@dataclass(frozen=True, kw_only=True)
class SignMajority:
    """`step` times the sign that most cluster means have, coordinate by coordinate; 0 where the votes are even.

    A cluster has one vote, whatever its size; a mean of exactly 0 abstains.

    Guarantees:
        No coordinate is larger than `step`.
        Where the honest clusters agree on a sign, fewer than half of the clusters cannot change it.
    """

    step: float = 0.01

    def __post_init__(self) -> None:
        check.positive(step=self.step)

    def __call__(self, means: Tensor, sizes: Tensor, tolerate: int, given: Given = NOTHING) -> Tensor:  # noqa: ARG002
        """See Aggregator."""
        return combine(self, means, sizes, tolerate, self._voted)

    def _voted(self, points: Points) -> Tensor:
        return self.step * points.means.sign().sum(dim=1).sign().double()

    def breakdown(self, m: int) -> int:
        """Fewer than half."""
        return majority_breakdown(m)

    def reach(self, sizes: Tensor, tolerate: int, d: int) -> float:  # noqa: ARG002
        """2 step sqrt(d): at worst every sign is turned, where the honest clusters' votes are close."""
        return 2 * self.step * math.sqrt(d) if tolerate else 0.0

    def coefficient(self, sizes: Tensor, tolerate: int) -> float:  # noqa: ARG002
        """Infinity: the result does not tell how long the means are."""
        return math.inf

    def sensitivity(self, sizes: Tensor, tolerate: int) -> float | None:  # noqa: ARG002
        """Not bounded: a change however small may turn a sign."""
        return None
