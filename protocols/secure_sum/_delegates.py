"""A sum of group sums that nobody sees: shares of shares, added by delegates, of which only the global sum opens.

1. Each member shares its words within its group. Each says whose shares it has, and which model it has trained on;
   the board announces U: the members that said so, with the model that it announces, and whose shares all of their
   group have that said so.
2. Each member adds its shares over U - a share of its group's sum - and shares that share among the delegates,
   one of each group.
3. The delegates say whose shares they have; the board announces R: the members whose shares all delegates have that
   said so. Every group with a member in U must have enough of them to determine its sum.
4. Each delegate adds what it has from R, weighted as the groups' sums are determined by their shares, and posts its
   share of the global sum; the board opens that.

Source: Ben-Or, Goldwasser and Wigderson 1988, STOC, Section 3 (linear combinations of re-shared shares).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.network import CheatingDetectedError, TooFewPartiesError
from protocols.polynomials import consistent, lagrange_weights
from protocols.randomness import public_stream
from protocols.secure_sum import Board, Party
from protocols.secure_sum._bulletin import bitmap
from protocols.secure_sum._sharing import AdditiveSharing, PolynomialSharing, Sharing
from protocols.secure_sum._unverified import heard_memory, of_one_model, say_heard
from protocols.secure_sum._verified import hear, marked, say

__all__ = ["GroupSharing", "Plan", "additive_group", "collect", "contribute", "draw_delegates", "polynomial_group"]


@dataclass(frozen=True, kw_only=True)
class GroupSharing:
    """How a group shares, and the weights with which the shares at so many places add up to the secret."""

    sharing: Sharing
    weights: Callable[[Sequence[int]], list[int]]


def additive_group(sharing: AdditiveSharing) -> GroupSharing:
    """Return n-of-n sharing in a group."""
    return GroupSharing(sharing=sharing, weights=lambda places: [1] * len(places))


def polynomial_group(sharing: PolynomialSharing) -> GroupSharing:
    """Return Shamir's sharing in a group."""
    return GroupSharing(
        sharing=sharing, weights=lambda places: lagrange_weights(sharing.field, [place + 1 for place in places], 0)
    )


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The public shape of one batch: groups of ranks with their sharings, a delegate for each, their sharing.

    `least`: how many inputs a sum that opens must have. Delegate q holds the value at the point q + 1.
    """

    groups: tuple[tuple[int, ...], ...]
    inner: tuple[GroupSharing, ...]
    delegates: tuple[int, ...]
    outer: PolynomialSharing
    parties: int
    clusters: int
    coordinates: int
    least: int

    def group_of(self, rank: int) -> int:
        """Return the group of a member."""
        return next(number for number, group in enumerate(self.groups) if rank in group)

    def words(self, *count: int) -> Tensor:
        """Return memory for so many members' words."""
        return torch.zeros(*count, self.clusters, self.coordinates, dtype=torch.int64)

    def holders(self, dealers: Sequence[int], present: Sequence[int]) -> list[list[int]]:
        """Return for each group whose shares of its sum are added: nobody's where it has no dealer.

        Raises: TooFewPartiesError where a group's sum can no longer be determined, or the dealers are too few.
        """
        if len(dealers) < self.least:
            raise TooFewPartiesError(
                f"the inputs of parties {list(dealers)} are left; allowed: at least {self.least} inputs in a sum that "
                f"opens"
            )
        return [self._holders(number, dealers, present) for number in range(len(self.groups))]

    def _holders(self, number: int, dealers: Sequence[int], present: Sequence[int]) -> list[int]:
        group, least = self.groups[number], self.inner[number].sharing.least
        if not any(rank in dealers for rank in group):
            return []
        there = [rank for rank in group if rank in present]
        if len(there) < least:
            raise TooFewPartiesError(f"parties {there} of the group {group} are left; allowed: at least {least}")
        return there[:least]


def draw_delegates(*, use: int, groups: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return one member of each group for batch number `use`: uniform, public, and fixed by that number alone."""
    stream = public_stream(use, "hierarchical delegates", sum(len(group) for group in groups))
    return tuple(int(stream.choice(list(group))) for group in groups)


def contribute(plan: Plan, party: Party, words: Tensor) -> None:
    """Play one member, and a delegate where it is one."""
    link, field = party.link, plan.outer.field
    number = plan.group_of(party.rank)
    group, sharing = plan.groups[number], plan.inner[number].sharing
    shares = _shares(party, sharing, field.from_signed(words), len(group), purpose="hierarchical shares")
    received = plan.words(plan.parties)
    received[party.rank] = shares[group.index(party.rank)]
    mates = [rank for rank in group if rank != party.rank]
    lost = link.try_exchange(
        {mate: shares[group.index(mate)] for mate in mates}, {mate: received[mate] for mate in mates}
    )
    say_heard(party, [rank for rank in group if rank not in lost])
    link.skip(1)  # the board waits for all of these
    dealers = marked(hear(link, torch.empty(plan.parties, dtype=torch.uint8)))
    plan.holders(dealers, range(plan.parties))
    mine = [rank for rank in dealers if rank in group]
    share = field.sum(field.from_signed(received[mine]), 0)
    shares = _shares(party, plan.outer, share, len(plan.delegates), purpose="hierarchical shares of shares")
    _delegate(plan, party, shares, dealers)


def _delegate(plan: Plan, party: Party, shares: Tensor, dealers: list[int]) -> None:
    """Send the delegates their shares; be one."""
    link, field = party.link, plan.outer.field
    outgoing = {delegate: shares[place] for place, delegate in enumerate(plan.delegates) if delegate != party.rank}
    if party.rank not in plan.delegates:
        link.try_exchange(outgoing, {})
        return
    received = plan.words(plan.parties)
    received[party.rank] = shares[plan.delegates.index(party.rank)]
    lost = link.try_exchange(outgoing, {peer: received[peer] for peer in party.peers})
    say(link, bitmap(plan.parties, [rank for rank in range(plan.parties) if rank not in lost]))
    link.skip(1)  # the board waits for all of these
    present = marked(hear(link, torch.empty(plan.parties, dtype=torch.uint8)))
    holders, weights = _weighted(plan, plan.holders(dealers, present))
    say(link, field.apply([weights], field.from_signed(received[holders]))[0])


def collect(plan: Plan, board: Board) -> tuple[Tensor, tuple[int, ...]]:
    """Play the board; return the sums as elements, and whose inputs are in them.

    Raises: TooFewPartiesError, CheatingDetectedError where the delegates' shares lie on no polynomial.
    """
    link = board.link
    link.skip(1)  # the members share in their groups first
    dealers, present = _dealers(plan, board)
    _announce(plan, board, present, dealers, lambda: plan.holders(dealers, range(plan.parties)))
    link.skip(2)  # they share with the delegates, who wait for all of these
    holders, delegates = _reached(plan, board, [rank for rank in plan.delegates if rank in present])
    _announce(plan, board, delegates, holders, lambda: plan.holders(dealers, holders))
    sums = {delegate: plan.words() for delegate in delegates}
    lost = link.try_exchange({}, sums)
    return _opened(plan, {rank: each for rank, each in sums.items() if rank not in lost}), tuple(dealers)


def _announce(plan: Plan, board: Board, to: list[int], ranks: list[int], check: Callable[[], object]) -> None:
    """Tell these ranks, or nobody's where the check raises TooFewPartiesError, which then ends the batch."""
    try:
        check()
    except TooFewPartiesError:
        board.link.try_exchange(dict.fromkeys(to, bitmap(plan.parties, [])), {})
        raise
    board.link.try_exchange(dict.fromkeys(to, bitmap(plan.parties, ranks)), {})


def _dealers(plan: Plan, board: Board) -> tuple[list[int], list[int]]:
    """Return U, and who is there."""
    said = {rank: heard_memory(board) for rank in range(plan.parties)}
    lost = board.link.try_exchange({}, said)
    present = [rank for rank in said if rank not in lost]
    mates = {rank: [mate for mate in plan.groups[plan.group_of(rank)] if mate in present] for rank in present}
    agreeing = of_one_model(board, said)
    dealers = [rank for rank in present if rank in agreeing and all(said[mate][rank] for mate in mates[rank])]
    return dealers, present


def _reached(plan: Plan, board: Board, delegates: list[int]) -> tuple[list[int], list[int]]:
    """Return R, and which delegates are there."""
    said = {rank: torch.empty(plan.parties, dtype=torch.uint8) for rank in delegates}
    lost = board.link.try_exchange({}, said)
    present = [rank for rank in delegates if rank not in lost]
    return [rank for rank in range(plan.parties) if all(said[each][rank] for each in present)], present


def _opened(plan: Plan, sums: dict[int, Tensor]) -> Tensor:
    sharing, delegates = plan.outer, list(sums)
    if len(delegates) < sharing.least:
        raise TooFewPartiesError(f"delegates {delegates} are left; allowed: at least {sharing.least}")
    places = [plan.delegates.index(delegate) for delegate in delegates]
    rows = torch.stack([sharing.field.from_signed(each) for each in sums.values()])
    if not bool(consistent(sharing.field, [place + 1 for place in places], rows, sharing.degree).all()):
        raise CheatingDetectedError("the delegates' shares do not lie on one polynomial; nothing was opened")
    return sharing.open(places, rows)


def _shares(party: Party, sharing: Sharing, secret: Tensor, count: int, *, purpose: str) -> Tensor:
    """Return so many shares (count, clusters, coordinates) of a secret."""
    clusters, coordinates = secret.shape
    drawn = party.keys.secrets.elements(
        sharing.field, purpose=purpose, use=party.use, clusters=clusters, count=sharing.random_terms * coordinates
    )
    randomness = drawn.view(clusters, sharing.random_terms, coordinates).transpose(0, 1)
    return sharing.at(sharing.basis(secret, randomness), range(count))


def _weighted(plan: Plan, holders: list[list[int]]) -> tuple[list[int], list[int]]:
    """Return whose shares are added, and their weights: those of each group make its sum."""
    chosen: list[int] = []
    weights: list[int] = []
    for group, inner, these in zip(plan.groups, plan.inner, holders, strict=True):
        chosen += these
        weights += inner.weights([group.index(rank) for rank in these]) if these else []
    return chosen, weights
