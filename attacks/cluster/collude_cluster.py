"""The faulty members of a cluster choose its mean together."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import ClusterView, update_attack
from protocols import check


@update_attack(
    knowledge="cluster",
    source="collusion inside a secure sum: only the sum of a cluster is ever seen",
    examples=({}, {"cancel": 0.0}),
)
@dataclass(frozen=True, kw_only=True)
class ColludeCluster:
    """Colluding members of a cluster aim its mean against their own honest mean, at the length that others have.

    That length is the median of the means opened in the round before, or of their own mean in the first; honest
    members are reckoned to send what the colluders' own mean is. Where two or more share a cluster, they also add
    `cancel` times that length along directions that cancel in the sum: each of their rows is far from honest, and no
    one sees a row.
    """

    cancel: float = 10.0

    def __post_init__(self) -> None:
        check.non_negative(cancel=self.cancel)

    def __call__(self, view: ClusterView) -> Tensor:
        expected = view.own.mean(dim=0)
        length = expected.square().sum().sqrt()
        wanted = length
        if view.opened is not None and len(view.opened.means):
            lengths = view.opened.means.square().sum(dim=1).sqrt()
            wanted = lengths[lengths.isfinite()].quantile(0.5) if bool(lengths.isfinite().any()) else length
        aim = -expected * (wanted / length) if bool(length > 0) else expected
        sent = view.own.clone()
        place = {number: row for row, number in enumerate(view.numbers)}
        for members in view.clusters:  # each cluster's colluders settle it among themselves
            rows = [place[number] for number in members if number in place]
            if rows:
                b, size = len(rows), len(members)
                sent[rows] = (size * aim - (size - b) * expected) / b + self._cancelling(view, b) * wanted
        return sent

    def _cancelling(self, view: ClusterView, b: int) -> Tensor:
        """Return rows (b, d) that add up to zero, the longest of length `cancel`; zero for one colluder alone."""
        away = torch.from_numpy(view.rng.normal(size=(b, view.own.shape[1])))
        away -= away.mean(dim=0)
        longest = away.square().sum(dim=1).sqrt().max()
        return away * (self.cancel / longest) if b > 1 else torch.zeros_like(away)
