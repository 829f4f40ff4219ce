"""What an outer rule makes of the sums of groups, in the clear and among the delegates who open it alone."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from protocols.check import CloisterError
from protocols.hidden_sums._noise import JointNoise, opened, opened_with_noise, opening_of_result_cost, share_of_noise
from protocols.hidden_sums._resharing import Seats, reshare, resharing_cost
from protocols.hidden_sums._seating import common_multiple
from protocols.hidden_sums.rules import OuterRule, outer_rules
from protocols.network import CheatingDetectedError
from protocols.ring import FixedPoint
from protocols.secure_robust._access import Access
from protocols.secure_robust._checked import draw_of, engines_of
from protocols.secure_robust._conversions import Draw, deal_numbers
from protocols.secure_robust._engine import WORDS, Engine, Shared
from protocols.secure_robust._pads import agreement_cost
from protocols.secure_sum import Board, Party
from protocols.secure_sum._publish import publish, publishing_cost, read_published
from protocols.sublink import SubLink
from protocols.types import Cost, Traffic

__all__ = [
    "Combining",
    "among_delegates",
    "check_committees",
    "delegates_cost",
    "open_result",
    "play",
    "play_cost",
    "read_result",
]


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
    mine = seats.committee_of(party.rank)
    if mine is None:
        reshare(party, seats, share)
        return
    served = among_delegates(party, mine)
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


def read_result(board: Board, seats: Seats) -> Tensor:
    """Return the words (clusters, coordinates) that all committees opened.

    A wrong result is read only where a delegate of every committee departs from the protocol: without noise all have
    the same integers to open, so the words of a committee that follows it are right, and no others are equal to them.

    Raises: CheatingDetectedError where two committees opened different words, OutOfStepError where two of one did.
    """
    results: list[Tensor] = []
    for committee in seats.committees:
        served = replace(board, link=SubLink(board.link, committee.delegates), parties=len(committee.delegates))
        results.append(read_published(served, vouching=True))
    if not all(torch.equal(results[0], other) for other in results[1:]):
        raise CheatingDetectedError(
            "two committees opened different results: somebody lied to one of them, or in it; nothing is taken over"
        )
    return results[0]


def delegates_cost(combining: Combining, *, clusters: int, coordinates: int) -> tuple[Cost, Cost]:
    """Return what one committee sends offline and online, from shared sums to the opened result."""
    access, rule = combining.access, combining.rule
    dealt, combined = rule.cost(access, (clusters, len(combining.groups), coordinates), combining.tolerate)
    hiding, opening = opening_of_result_cost(
        access, clusters=clusters, coordinates=coordinates, in_bits=rule.in_bits, noisy=combining.noise_std > 0
    )
    return dealt.then(hiding), combined.then(opening)


def play_cost(combining: Combining, seats: Seats, entering: Traffic, *, clusters: int, coordinates: int) -> Traffic:
    """Return what a batch sends, from what entering its groups sends to what the board reads.

    A second committee sends the same as the first, at the same time.
    """
    access, beside = combining.access, len(seats.committees)
    seeds, handed = resharing_cost(seats, clusters=clusters, coordinates=coordinates)
    dealt, combined = delegates_cost(combining, clusters=clusters, coordinates=coordinates)
    publishing = publishing_cost(parties=access.parties, clusters=clusters, coordinates=coordinates, vouching=True)
    dealing = agreement_cost(access).times(beside).then(seeds).then(dealt.times(beside))
    return Traffic(
        offline=entering.offline.then(dealing),
        mpc=entering.mpc.then(handed).then(combined.times(beside)),
        upload=entering.upload.then(publishing.times(beside)),
    )


def check_committees(committees: int, noise_std: float) -> None:
    """Raise CloisterError for another number of committees than one or two, and for two whose results have noise."""
    if committees not in {1, 2}:
        raise CloisterError(f"committees = {committees!r} is not allowed; allowed: 1, or 2 that compare their results")
    if committees > 1 and noise_std:
        raise CloisterError(
            f"noise_std = {noise_std!r} does not fit committees = {committees}, whose results would differ by their "
            f"noise; allowed: 0, or committees = 1"
        )
