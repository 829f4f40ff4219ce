"""The server of a masked sum: it relays keys and sealed shares, adds masked words, and takes the masks off."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

import torch
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from torch import Tensor

from protocols.network import CheatingDetectedError, Link, TooFewPartiesError
from protocols.secure_sum import Board, Opened
from protocols.secure_sum._key_shares import LIMBS, rebuild
from protocols.secure_sum._masking import (
    SEALED_WORDS,
    SIGNATURE_WORDS,
    Plan,
    pair_mask,
    pair_sign,
    public_keys,
    self_mask,
    to_bitmap,
)

__all__ = ["collect"]


@dataclass(frozen=True, kw_only=True)
class _Round:
    """What the server waits for: a message of this shape from `least` members, which they send after it spoke."""

    what: str
    shape: tuple[int, ...]
    least: int
    opening: bool = False


def collect(plan: Plan, board: Board) -> Opened:
    """Play the server: go on with those who are left in each round, and open the sum of those whose words came.

    Raises: TooFewPartiesError when too few are left; CheatingDetectedError when what is left contradicts itself.
    """
    link, graph = board.link, plan.graph
    advertise = _Round(what="advertised keys", shape=(plan.key_words,), least=graph.least, opening=True)
    share = _Round(what="shared their keys", shape=(graph.degree, SEALED_WORDS), least=graph.least)
    send = _Round(what="sent masked words", shape=(plan.clusters, plan.coordinates), least=graph.least)
    sign = _Round(what="signed the list of survivors", shape=(SIGNATURE_WORDS,), least=graph.threshold)
    release = _Round(what="released key shares", shape=(graph.degree + 1, LIMBS), least=graph.threshold)
    with link.meter.offline():
        keys = _hear(plan, link, advertise, range(plan.parties), {})
        shown = _table(plan, advertise, keys)[graph.to_neighbours[0]]
        sealed = _hear(plan, link, share, keys, _lists(plan, keys, shown))
        link.try_exchange(_lists(plan, sealed, _table(plan, share, sealed)[graph.to_neighbours]), {})
    masked = _hear(plan, link, send, sealed, {})
    asked = _lists(plan, masked, torch.empty(plan.parties, 0, dtype=torch.int64))
    if plan.signed:
        signed = _hear(plan, link, sign, asked, asked)
        asked = _lists(plan, signed, _table(plan, sign, signed)[graph.to_neighbours[0]])
    answers = _hear(plan, link, release, asked, asked)
    shares = _table(plan, release, answers)[graph.to_holders]
    sums = _unmasked(plan, keys, frozenset(sealed), masked, _Released(shares=shares, by=frozenset(answers)))
    return Opened(sums=sums, contributors=tuple(sorted(masked)))


def _hear(
    plan: Plan, link: Link, due: _Round, members: Iterable[int], outgoing: Mapping[int, Tensor]
) -> dict[int, Tensor]:
    """Send, then return the message of each of the members that is still there."""
    incoming = {rank: torch.empty(due.shape, dtype=torch.int64) for rank in members}
    link.skip(0 if due.opening else 1)  # meanwhile the members hear the board
    lost = link.try_exchange(outgoing, incoming)
    heard = {rank: message for rank, message in incoming.items() if rank not in lost}
    if len(heard) < due.least:
        raise TooFewPartiesError(f"{len(heard)} of {plan.parties} members {due.what}; needed: at least {due.least}")
    return heard


def _table(plan: Plan, due: _Round, messages: Mapping[int, Tensor]) -> Tensor:
    """Return the messages of a round, zeros for those who sent none: (members, *shape)."""
    table = torch.zeros(plan.parties, *due.shape, dtype=torch.int64)
    for rank, message in messages.items():
        table[rank] = message
    return table


def _lists(plan: Plan, members: Collection[int], rows: Tensor) -> dict[int, Tensor]:
    """Return for each listed member the list and its rows, out of rows (members, ...)."""
    bitmap = to_bitmap(members, plan.parties)
    return {rank: torch.cat([bitmap, rows[rank].flatten()]) for rank in members}


@dataclass(frozen=True, kw_only=True)
class _Released:
    """The shares of each member's key, (members, holders of each, LIMBS), that some holders have released."""

    shares: Tensor = field(repr=False)
    by: frozenset[int]

    def holders(self, plan: Plan, rank: int) -> tuple[int, ...]:
        """Who has released a share of this member's key."""
        return tuple(holder for holder in plan.graph.holders[rank] if holder in self.by)

    def of(self, plan: Plan, rank: int) -> Tensor:
        """Return the shares (holders, LIMBS) of this member's key."""
        return self.shares[rank, [holder in self.by for holder in plan.graph.holders[rank]]]

    def refuse(self, plan: Plan, rank: int, why: str) -> CheatingDetectedError:
        """Return the error for a key that is none: its dealer shared none, or a holder released another share."""
        holders = self.holders(plan, rank)
        return CheatingDetectedError(
            f"the key of member {rank} that members {list(holders)} hold {why}", suspects=frozenset({rank, *holders})
        )


def _unmasked(
    plan: Plan,
    keys: Mapping[int, Tensor],
    dealers: frozenset[int],
    masked: Mapping[int, Tensor],
    released: _Released,
) -> Tensor:
    """Return the sums of the words that came, without the masks of those who sent them and of those who did not."""
    gone = [rank for rank in sorted(dealers - masked.keys()) if _survivors(plan, rank, masked)]
    rebuilt = _rebuilt(plan, [*masked, *gone], released)
    total = torch.zeros(plan.clusters, plan.coordinates, dtype=torch.int64)
    for rank, words in masked.items():
        total.add_(words).sub_(self_mask(plan, rank, rebuilt[rank]))
    for rank in gone:
        private = X25519PrivateKey.from_private_bytes(rebuilt[rank])
        if private.public_key().public_bytes_raw() != public_keys(keys[rank])[1]:
            raise released.refuse(plan, rank, "is not the one that it advertised")
        for peer in _survivors(plan, rank, masked):
            mask = pair_mask(plan, private, public_keys(keys[peer])[1], rank, peer)
            total.sub_(mask, alpha=pair_sign(peer, rank))
    return plan.ring.wrap(total)


def _survivors(plan: Plan, rank: int, masked: Mapping[int, Tensor]) -> list[int]:
    """Return the neighbours whose masked words came, and with them a mask of their pair."""
    return [peer for peer in plan.graph.neighbours[rank] if peer in masked]


def _rebuilt(plan: Plan, members: list[int], released: _Released) -> dict[int, bytes]:
    """Return the key of each of these members; those with the same holders are rebuilt together."""
    alike: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for rank in members:
        alike[released.holders(plan, rank)].append(rank)
    found: dict[int, bytes] = {}
    for holders, ranks in alike.items():
        if len(holders) < plan.graph.threshold:
            raise TooFewPartiesError(
                f"{len(holders)} of those who hold shares of the key of member {ranks[0]} released them; "
                f"needed: at least {plan.graph.threshold}"
            )
        shares = torch.stack([released.of(plan, rank) for rank in ranks], dim=1)
        for rank, key in zip(ranks, rebuild(shares, threshold=plan.graph.threshold, holders=holders), strict=True):
            if key is None:
                raise released.refuse(plan, rank, "contradicts itself")
            found[rank] = key
    return found
