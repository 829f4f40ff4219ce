"""The attack that is tailored to the trimmed mean and the median, by processes that know their own updates only."""

from dataclasses import dataclass

import torch
from torch import Tensor

from attacks.api import OwnView, update_attack


@update_attack(
    knowledge="own", source="Fang, Cao, Jia, Gong 2020, USENIX Security (trimmed mean and median, partial knowledge)"
)
@dataclass(frozen=True, kw_only=True)
class TrimmedMeanAttackPartial:
    """In each coordinate, each sends its own draw 3 to 4 standard deviations from the mean, against the direction.

    Mean, standard deviation and direction (the sign of the mean) are those of the senders' own honest updates; a
    single sender knows no deviation and sends its honest update.
    """

    def __call__(self, view: OwnView) -> Tensor:
        mean, deviation = view.own.mean(dim=0), view.own.std(dim=0, correction=0)
        share = torch.from_numpy(view.rng.uniform(3.0, 4.0, size=tuple(view.own.shape)))
        return mean - torch.where(mean > 0, 1.0, -1.0) * share * deviation
