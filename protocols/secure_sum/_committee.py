"""A sum by a few servers: drawing them, sharing to them, and opening what they post.

Dealing here is not verified; `_offline_dealing` verifies it. Each member tells the board as well which model it has
trained on; the words of those who hold another one than the board announces are in no sum, whoever serves.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from protocols.model_digest import DIGEST_BYTES
from protocols.network import CheatingDetectedError, TooFewPartiesError
from protocols.randomness import public_stream
from protocols.secure_sum import Board, Party
from protocols.secure_sum._bulletin import bitmap
from protocols.secure_sum._sharing import PolynomialSharing
from protocols.secure_sum._unverified import heard_memory, of_one_model, say_heard
from protocols.secure_sum._verified import hear, marked, say
from protocols.secure_sum._verified_plan import as_bytes

__all__ = [
    "Plan",
    "Posted",
    "announce",
    "collect_unverified",
    "deal",
    "draw_servers",
    "elements_of",
    "heard_set",
    "post_unverified",
    "posted",
    "sum_over",
    "to_servers",
]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The public shape of one batch: who serves, with which sharing, and how many inputs a sum must have.

    The server at place q of `servers` holds the value at the point q + 1.
    """

    sharing: PolynomialSharing
    servers: tuple[int, ...]
    parties: int
    clusters: int
    coordinates: int
    least: int

    def sums(self) -> Tensor:
        """Return memory for one server's sums."""
        return torch.empty(self.clusters, self.coordinates, dtype=torch.int64)


@dataclass(frozen=True, kw_only=True)
class Posted:
    """The servers' sums: rows (places, clusters, coordinates) of elements, over the inputs of `dealers`."""

    places: list[int]
    rows: Tensor
    dealers: tuple[int, ...]
    suspects: frozenset[int] = frozenset()


def draw_servers(*, use: int, parties: int, servers: int) -> tuple[int, ...]:
    """Return who serves in batch number `use`, ascending: uniform, public, and fixed by that number alone."""
    drawn = public_stream(use, "committee servers", parties).choice(parties, size=servers, replace=False)
    return tuple(sorted(int(rank) for rank in drawn))


def deal(plan: Plan, party: Party, secret: Tensor, *, purpose: str) -> Tensor:
    """Return the servers' shares (servers, rows, columns) of secret elements (rows, columns)."""
    rows, columns = secret.shape
    sharing = plan.sharing
    drawn = party.keys.secrets.elements(
        sharing.field, purpose=purpose, use=party.use, clusters=rows, count=sharing.random_terms * columns
    )
    randomness = drawn.view(rows, sharing.random_terms, columns).transpose(0, 1)
    return sharing.at(sharing.basis(secret, randomness), range(len(plan.servers)))


def to_servers(plan: Plan, party: Party, shares: Tensor) -> tuple[Tensor, list[int]]:
    """Send each server its share; return what a server received, (parties, ...), as elements, and from whom."""
    received = torch.zeros(plan.parties, *shares.shape[1:], dtype=shares.dtype)
    serves = party.rank in plan.servers
    outgoing = {server: shares[place] for place, server in enumerate(plan.servers) if server != party.rank}
    if serves:
        received[party.rank] = shares[plan.servers.index(party.rank)]
    lost = party.link.try_exchange(outgoing, {peer: received[peer] for peer in party.peers} if serves else {})
    senders = [rank for rank in range(plan.parties) if rank not in lost]
    return elements_of(plan, received), senders


def heard_set(plan: Plan, announced: Tensor) -> list[int]:
    """Return the members whose inputs the sum shall have; TooFewPartiesError, and no answer, if they are too few.

    Every server looks for itself, so that t of them and the board together cannot open a smaller sum.
    """
    dealers = marked(announced)
    if len(dealers) < plan.least:
        raise TooFewPartiesError(_too_few(plan, dealers))
    return dealers


def sum_over(plan: Plan, received: Tensor, dealers: list[int]) -> Tensor:
    """Return the sums (clusters, coordinates) of the words that came from these members."""
    return plan.sharing.field.sum(received[dealers, ..., : plan.coordinates], 0)


def elements_of(plan: Plan, words: Tensor) -> Tensor:
    """Return what was received as elements: whatever word a faulty party sends stands for one."""
    field = plan.sharing.field
    return words if field.holds(words) else field.from_signed(words)


def post_unverified(plan: Plan, party: Party, words: Tensor) -> None:
    """Play one member: share, and tell the board when all is sent; a server then adds up what it is told to.

    Servers tell whose shares they have; what they post says as well that they have dealt, and on which model.
    """
    shares = deal(plan, party, plan.sharing.field.from_signed(words), purpose="committee shares")
    received, senders = to_servers(plan, party, shares)
    if party.rank not in plan.servers:
        say(party.link, as_bytes(party.bound_model))
        return
    say_heard(party, senders)
    party.link.skip(1)  # the board waits for all of these
    dealers = heard_set(plan, hear(party.link, torch.empty(plan.parties, dtype=torch.uint8)))
    say(party.link, sum_over(plan, received, dealers))


def collect_unverified(plan: Plan, board: Board, *, strict: bool) -> Posted:
    """Play the board: announce whose inputs count, and collect the servers' sums of them.

    Those are the members that have told the board, after all their shares had left, that they hold the model which it
    announces, and whose shares all servers have that are there. `strict`: a member that has told so, and a server that
    lacks its share, end the batch: one of them cheats.
    Raises: TooFewPartiesError, CheatingDetectedError.
    """
    link = board.link
    link.skip(1)  # the members share first
    said = {
        rank: heard_memory(board) if rank in plan.servers else torch.empty(DIGEST_BYTES, dtype=torch.uint8)
        for rank in range(plan.parties)
    }
    lost = set(link.try_exchange({}, said))
    dealt = sorted(of_one_model(board, said) - lost)
    present = [server for server in plan.servers if server not in lost]
    lacking = {rank: [server for server in present if not said[server][rank]] for rank in dealt}
    disputed = [rank for rank in dealt if lacking[rank]]
    if strict and disputed:
        suspects = frozenset({disputed[0], lacking[disputed[0]][0]})
        link.try_exchange(dict.fromkeys(present, bitmap(plan.parties, [])), {})
        raise CheatingDetectedError(
            f"a server says that it lacks a share which was sent: one of {sorted(suspects)} cheats", suspects=suspects
        )
    dealers = [rank for rank in dealt if not lacking[rank]]
    announce(plan, board, present, dealers)
    sums = {server: plan.sums() for server in present}
    lost |= set(link.try_exchange({}, sums))
    return posted(plan, {server: row for server, row in sums.items() if server not in lost}, dealers)


def announce(plan: Plan, board: Board, servers: list[int], dealers: list[int], *before: Tensor) -> None:
    """Tell the servers whose inputs count, behind what else they are told: nobody's where that is too few.

    Raises: TooFewPartiesError where the inputs or the servers are too few.
    """
    enough = len(servers) >= plan.sharing.least
    opens = enough and len(dealers) >= plan.least
    said = torch.cat([*before, bitmap(plan.parties, dealers if opens else [])])
    board.link.try_exchange(dict.fromkeys(servers, said), {})
    if not enough:
        raise TooFewPartiesError(f"servers {servers} are left; allowed: at least {plan.sharing.least}")
    if not opens:
        raise TooFewPartiesError(_too_few(plan, dealers))


def posted(plan: Plan, sums: Mapping[int, Tensor], dealers: list[int]) -> Posted:
    """Return the sums that servers have posted, as elements."""
    rows = [elements_of(plan, sums[server]) for server in sums]
    return Posted(
        places=[plan.servers.index(server) for server in sums],
        rows=torch.stack(rows) if rows else plan.sums()[None][:0],
        dealers=tuple(dealers),
    )


def _too_few(plan: Plan, dealers: list[int]) -> str:
    return f"the inputs of parties {dealers} are left; allowed: at least {plan.least} inputs in a sum that opens"
