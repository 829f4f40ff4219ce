"""What an outer rule makes of the sums of groups, in the clear and among the delegates who open it alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.hidden_sums._noise import JointNoise, opened, opened_with_noise, opening_of_result_cost, share_of_noise
from protocols.hidden_sums._resharing import Seats, reshare
from protocols.hidden_sums._seating import common_multiple
from protocols.hidden_sums.rules import OuterRule, outer_rules
from protocols.ring import FixedPoint
from protocols.secure_robust._access import Access
from protocols.secure_robust._checked import draw_of, engines_of
from protocols.secure_robust._conversions import Draw, deal_numbers
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.secure_sum import Party
from protocols.secure_sum._publish import publish
from protocols.sublink import SubLink
from protocols.types import Cost

__all__ = ["Combining", "among_delegates", "combining_cost", "open_result", "play"]


@dataclass(frozen=True, kw_only=True)
class Combining:
    """An outer rule, what it is told to withstand and the noise on its result, for the sums of these `groups`.

    Each group is who is in its sum. `noise_std` is that of the protocol: for a change of one update by 1.
    """

    groups: Sequence[Sequence[int]]
    outer: str
    tolerate: int
    noise_std: float
    ring: FixedPoint
    access: Access

    @property
    def rule(self) -> OuterRule:
        """The outer rule."""
        return outer_rules.make(outer_rules.resolve(self.outer))

    @property
    def weights(self) -> list[int]:
        """What each group's sum is multiplied by: 1, or so that the products are means up to one public factor."""
        common = common_multiple(self.groups)
        return [1 if self.rule.by_members else common // len(group) for group in self.groups]

    @property
    def noise(self) -> JointNoise | None:
        """The noise that opens with the result, if any; CloisterError where it does not fit."""
        if not self.noise_std:
            return None
        if not self.rule.is_continuous:
            raise CloisterError(
                f"noise_std = {self.noise_std!r} means nothing to outer = {self.outer!r}, which a small change of one "
                f"update may move by any distance; allowed: 0, or outer = 'median'"
            )
        # One unit of one member's update moves the result by the weight of its group, at most.
        return JointNoise(std=self.noise_std / self.ring.unit * max(self.weights), access=self.access)

    def reference(self, words: Tensor) -> Tensor:
        """Return the result's words (clusters, coordinates) of all members' words, without noise."""
        sums = torch.stack([words[:, list(group)].sum(dim=1) for group in self.groups], dim=1)
        return self.rule.reference(sums * torch.tensor(self.weights)[:, None], self.tolerate)

    def decode(self, sums: Tensor) -> Tensor:
        """Return what a result's words mean, float64: a mean, a median, ..."""
        if self.rule.by_members:
            return self.ring.decode(sums) / sum(len(group) for group in self.groups)
        kept = self.rule.kept(len(self.groups), self.tolerate)
        return self.ring.decode(sums) / (kept * common_multiple(self.groups))


def play(party: Party, seats: Seats, combining: Combining, share: Tensor) -> None:
    """Play one holder of a group's sum, and a delegate where it is one: from its share to what the board reads."""
    if party.rank not in seats.delegates:
        reshare(party, seats, share)
        return
    served = among_delegates(party, seats)
    bits, _ = engines_of(served, seats.access)
    draw = draw_of(served)
    values = reshare(party, seats, share)
    assert values is not None
    publish(served, open_result(party, bits, draw, combining, values), vouching=True)


def among_delegates(party: Party, seats: Seats) -> Party:
    """Return this party among the delegates, of whom it is one."""
    return replace(party, link=SubLink(party.link, seats.delegates), parties=len(seats.delegates))


def open_result(party: Party, bits: Engine, draw: Draw, combining: Combining, sums: Shared, *, part: int = 0) -> Tensor:
    """Return what the delegates open of groups' sums (clusters, groups, coordinates): words (clusters, coordinates).

    `part` numbers what a batch opens apart.
    """
    clusters, _, coordinates = sums.shape
    noise, rule, weights = combining.noise, combining.rule, torch.tensor(combining.weights)
    result = rule.combine(bits, draw, bits.over(WORDS).scale(sums, weights[:, None]), combining.tolerate)
    if noise is None:
        return opened(bits, result, coordinates, in_bits=rule.in_bits)
    own = share_of_noise(party, noise, (clusters, coordinates), part)
    with bits.offline():
        hiding = deal_numbers(bits, draw, (clusters, 1, coordinates)) if rule.in_bits else None
    return opened_with_noise(bits, result, own, hiding)


def combining_cost(combining: Combining, *, clusters: int, coordinates: int) -> tuple[Cost, Cost]:
    """Return what the delegates send each other offline and online, from shared sums to the opened result."""
    access, rule = combining.access, combining.rule
    dealt, combined = rule.cost(access, (clusters, len(combining.groups), coordinates), combining.tolerate)
    hiding, opening = opening_of_result_cost(
        access, clusters=clusters, coordinates=coordinates, in_bits=rule.in_bits, noisy=combining.noise_std > 0
    )
    return dealt.then(hiding), combined.then(opening)
