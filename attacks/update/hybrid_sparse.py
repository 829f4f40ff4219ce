"""Aggressive in a few sensitive weights, imperceptible in all others."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import HonestView, update_attack
from attacks.update._statistics import mean_and_deviation
from attacks.update.alie import largest_z
from protocols import check
from protocols.check import CloisterError


@update_attack(
    knowledge="honest",
    source="Ozfatura, Ozfatura, Kupcu, Gunduz 2024, arXiv:2404.06230 (hybrid sparse attack); the mask: Lee, Ajanthan, "
    "Torr 2019, ICLR (SNIP)",
    examples=({}, {"density": 0.3, "scale": 3.0, "z": 0.5}),
)
@dataclass(frozen=True, kw_only=True)
class HybridSparse:
    """All send the honest mean minus z deviations, but `scale` deviations in the weights that the model hangs on.

    These are the share `density` of the weights, at least one, that pruning would keep: those with the largest
    |weight x gradient|, of equal ones the first. The mask is drawn up once, in the first round of the attack, with the
    mean of the honest updates in place of the gradient, to which one local step is proportional. Few coordinates move
    far, which rules that look at each coordinate notice and those that look at distances do not; the others move as
    under `alie`, whose z is the default. One vector for all, as the attack is defined.

    Guarantees:
        The mask stays what it was in the first round.
    """

    density: float = 0.005
    scale: float = 1.5
    z: float | None = None

    def __post_init__(self) -> None:
        check.positive(density=self.density, scale=self.scale)
        if self.density > 1:
            raise CloisterError(f"density = {self.density} is not allowed; allowed: above 0, up to 1")
        if self.z is not None:
            check.positive(z=self.z)

    def __call__(self, view: HonestView) -> Tensor:
        z = largest_z(view.n, len(view.own)) if self.z is None else self.z
        mean, deviation = mean_and_deviation(view.honest)
        mask: Tensor = view.memory.setdefault("mask", _most_sensitive(view.model * mean, self.density))
        factors = torch.full_like(mean, z).masked_fill_(mask, self.scale)
        return (mean - factors * deviation).expand_as(view.own)


def _most_sensitive(products: Tensor, density: float) -> Tensor:
    """Return the mask (d,) of that share of the products (d,) that are largest in size."""
    count = max(1, round(density * len(products)))
    largest = products.abs().argsort(descending=True, stable=True)[:count]
    return torch.zeros_like(products, dtype=torch.bool).index_fill_(0, largest, True)
