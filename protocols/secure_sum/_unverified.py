"""Dealing without verification: share, agree by bitmaps on whose shares all have, post the sums of the shares.

Beside its bitmap each member posts what binds the model that it has trained on to the batch. Members that hold another
model than the board announces hold shares as all do, but their own words are in no sum.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from protocols.model_digest import DIGEST_BYTES
from protocols.network import TooFewPartiesError, cost_of
from protocols.secure_sum import Board, Party
from protocols.secure_sum._bulletin import OpenedRows, bitmap
from protocols.secure_sum._sharing import PolynomialSharing
from protocols.secure_sum._verified import hear, marked, say
from protocols.secure_sum._verified_plan import as_bytes
from protocols.types import Cost, Traffic

__all__ = ["collect_sums", "heard_memory", "of_one_model", "say_heard", "send_sums", "unverified_cost"]


def send_sums(sharing: PolynomialSharing, party: Party, words: Tensor) -> None:
    """Play one member: deal, say whose shares came, and post the sum of those that all have."""
    field, parties = sharing.field, party.parties
    clusters, coordinates = words.shape
    drawn = party.keys.secrets.elements(
        field, purpose="shamir shares", use=party.use, clusters=clusters, count=sharing.random_terms * coordinates
    )
    randomness = drawn.view(clusters, sharing.random_terms, coordinates).transpose(0, 1)
    shares = sharing.at(sharing.basis(field.from_signed(words), randomness), range(parties))
    received = torch.zeros(parties, clusters, coordinates, dtype=torch.int64)
    received[party.rank] = shares[party.rank]
    lost = party.link.try_exchange(
        {peer: shares[peer] for peer in party.peers}, {peer: received[peer] for peer in party.peers}
    )
    say_heard(party, [rank for rank in range(parties) if rank not in lost])
    party.link.skip(1)  # the board first hears all members
    added = marked(hear(party.link, torch.empty(parties, dtype=torch.uint8)))
    say(party.link, field.sum(field.from_signed(received[added]), 0))


def say_heard(party: Party, heard: list[int]) -> None:
    """Post whose shares this member has, and which model it holds."""
    say(party.link, torch.cat([bitmap(party.parties, heard), as_bytes(party.bound_model)]))


def heard_memory(board: Board) -> Tensor:
    """Return memory for what `say_heard` posts."""
    return torch.empty(board.parties + DIGEST_BYTES, dtype=torch.uint8)


def of_one_model(board: Board, said: Mapping[int, Tensor]) -> set[int]:
    """Return the members whose posts end with the model that the board announces."""
    announced = as_bytes(board.bound_model)
    return {rank for rank, post in said.items() if torch.equal(post[-DIGEST_BYTES:], announced)}


def collect_sums(sharing: PolynomialSharing, board: Board, *, least_dealers: int) -> OpenedRows:
    """Play the board: add the inputs of the members whose shares reached all who hold shares of the sum.

    Raises: TooFewPartiesError when those are fewer than `least_dealers`.
    """
    link, c = board.link, board.parties
    link.skip(1)  # the members deal first
    maps = {rank: heard_memory(board) for rank in range(c)}
    lost = set(link.try_exchange({}, maps))
    misled = set(maps) - lost - of_one_model(board, maps)
    has = {rank: set(marked(maps[rank][:c])) | {rank} for rank in range(c) if rank not in lost}
    holders = _without_conflicts(set(has), has)
    shared = [rank for rank in range(c) if holders and all(rank in has[holder] for holder in holders)]
    dealers = [rank for rank in shared if rank not in misled]
    if len(dealers) < least_dealers:
        raise TooFewPartiesError(
            f"the inputs of parties {dealers} are left; allowed: at least {least_dealers} inputs in a sum that opens"
        )
    lost |= set(link.try_exchange(dict.fromkeys(has, bitmap(c, dealers)), {}))
    sums = {rank: torch.empty(board.clusters, board.coordinates, dtype=torch.int64) for rank in has if rank not in lost}
    lost |= set(link.try_exchange({}, sums))
    positions = [rank for rank in sums if rank in holders and rank not in lost]
    rows = [sharing.field.from_signed(sums[rank]) for rank in positions]
    empty = torch.empty(0, board.clusters, board.coordinates, dtype=torch.int64)
    return OpenedRows(
        positions=positions,
        rows=torch.stack(rows) if rows else empty,
        dealers=tuple(dealers),
        suspects=frozenset(),
    )


def _without_conflicts(members: set[int], has: Mapping[int, set[int]]) -> set[int]:
    """Return the largest set of members that all have each other's shares.

    Of two members in conflict one is faulty, so the members without a fault are such a set; a faulty one that
    says it has no shares takes itself out, not all the others. The search branches once a faulty member.
    """
    conflict = next(
        ((holder, dealer) for holder in sorted(members) for dealer in sorted(members) if dealer not in has[holder]),
        None,
    )
    if conflict is None:
        return members
    first, second = (_without_conflicts(members - {rank}, has) for rank in conflict)
    return first if len(first) >= len(second) else second


def unverified_cost(*, parties: int, clusters: int, coordinates: int) -> Traffic:
    """Return what one batch sends: c (c - 1) d words of shares, c d of sums, and a member's two bitmaps and digest."""
    c, row = parties, 8 * clusters * coordinates
    return Traffic(
        offline=Cost.none(),
        mpc=cost_of(messages=c * (c - 1), payload_bytes=c * (c - 1) * row, rounds=min(c - 1, 1)),
        upload=cost_of(messages=3 * c, payload_bytes=c * (2 * c + DIGEST_BYTES + row), rounds=3),
    )
