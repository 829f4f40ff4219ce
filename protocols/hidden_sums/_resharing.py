"""From additive shares of a group's sum, one a member, to shares among delegates with a threshold of their own.

Between levels additive shares stay additive: each holder of a node's sum splits its share among the holders of the
parent's, one of each child: seeds to all but one, the rest to that of its own child. A holder adds what it gets.

From the top level to the delegates:

1. Each member draws a seed for each set of delegates that holds a part (`secure_robust._access`) and sends it to the
   delegates of the set; the delegates compare digests of what they got. All that is offline.
2. Each takes away what follows from its seeds from its share of its group's sum (`_groups`), and sends the rest to the
   delegate that serves its group, the group's own where it has one: no `threshold` delegates know all seeds of a
   member, so to them the rest is uniform.
3. That delegate adds what the group sent, and hands the sum to the other delegates: the public part of the group's sum,
   whose other parts are the sums of what follows from the members' seeds.

A member that is no delegate can send nothing but another number: seeds that differ between delegates are seen by them,
and what it sends in step 2 has one receiver. So whatever it does, it changes its own group's sum and no other.

Source: Ito, Saito and Nishizeki 1987, GLOBECOM (replicated sharing); Cramer, Damgård and Ishai 2005, TCC (parts from
keys).
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, reduce
from itertools import cycle

import torch
from torch import Tensor

from protocols.network import CheatingDetectedError, cost_of
from protocols.randomness import SecretStreams
from protocols.secure_robust._access import Access
from protocols.secure_robust._engine import Shared
from protocols.secure_sum import Party
from protocols.types import Cost

__all__ = ["Rise", "Seats", "reshare", "resharing_cost"]

_SEED_BYTES = 16
_DIGEST_BYTES = 32
_WORD_BYTES = 8
_Seeds = Mapping[int, Tensor]
"""By set: the seeds (members, 16 bytes) of all members, in the order of their ranks."""


@dataclass(frozen=True, kw_only=True)
class Rise:
    """One node above its children: who holds the sum of each child, and who of each child then holds the node's.

    `sums` are the members whose words are in each child's sum.
    """

    children: tuple[tuple[int, ...], ...]
    sums: tuple[tuple[int, ...], ...]
    holders: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Seats:
    """Who does what in one batch: the ranks of each group and of the delegates, and which delegate holds which part.

    `leaves` are who holds the sum of each lowest group, `rises` the levels above them, the lowest first, and `groups`
    who holds the sums of the top level: the leaves themselves where there is no other. `sums` are the members whose
    words are in the sum of each group. A group has one delegate of a committee at most; `second` are the delegates of
    a second committee, where there is one.
    """

    groups: tuple[tuple[int, ...], ...]
    sums: tuple[tuple[int, ...], ...]
    delegates: tuple[int, ...]
    access: Access
    leaves: tuple[tuple[int, ...], ...]
    rises: tuple[tuple[Rise, ...], ...] = ()
    second: tuple[int, ...] = ()

    @property
    def committees(self) -> tuple["Seats", ...]:
        """The seats of each committee, as if there were no other."""
        first = replace(self, second=())
        return (first, replace(first, delegates=self.second)) if self.second else (first,)

    def committee_of(self, rank: int) -> "Seats | None":
        """Return the seats of the committee that this member serves in, if any: nobody serves in two."""
        return next((each for each in self.committees if rank in each.delegates), None)

    @property
    def contributors(self) -> tuple[int, ...]:
        """The members whose words are in the groups' sums, in order."""
        return tuple(sorted(rank for members in self.sums for rank in members))

    @property
    def members(self) -> tuple[int, ...]:
        """The holders of all groups' sums, in order: who sends to the delegates."""
        return tuple(sorted(rank for group in self.groups for rank in group))

    @property
    def holders(self) -> frozenset[int]:
        """Who holds a share of a lowest group's sum: all who take part once the groups have entered."""
        return frozenset(rank for leaf in self.leaves for rank in leaf)

    @property
    def one_by_one(self) -> "Seats":
        """The same seats where each member is a group of its own, which shares its own words with the delegates."""
        alone = tuple((rank,) for rank in self.contributors)
        return replace(self, groups=alone, sums=alone, leaves=alone, rises=())

    def group_of(self, rank: int) -> int:
        """Return the number of a member's group."""
        return next(number for number, group in enumerate(self.groups) if rank in group)

    @cached_property
    def servers(self) -> tuple[int, ...]:
        """The delegate that each group's words go to: its own one; the others' in turn where it has none."""
        turns = cycle(self.delegates)
        own = [next((rank for rank in group if rank in self.delegates), None) for group in self.groups]
        return tuple(next(turns) if rank is None else rank for rank in own)

    def served(self, delegate: int) -> tuple[int, ...]:
        """Return the groups whose words come to this delegate."""
        return tuple(number for number, server in enumerate(self.servers) if server == delegate)

    def held(self, delegate: int) -> tuple[int, ...]:
        """Return the sets that this delegate is in."""
        return self.access.held(self.delegates.index(delegate))


def reshare(party: Party, seats: Seats, share: Tensor) -> Shared | None:
    """Play one holder; return what a delegate holds of the sums (clusters, groups, coordinates), None to others.

    `share` is its additive share of its lowest group's sum, int64 (clusters, coordinates). Raises: NetworkError,
    CheatingDetectedError where delegates got other seeds than each other.
    """
    clusters, coordinates = share.shape
    for level, rises in enumerate(seats.rises):
        rise = next(rise for rise in rises if any(party.rank in child for child in rise.children))
        share = _risen(party, rise, share, level)
        if party.rank not in rise.holders:
            return None
    mine = seats.committee_of(party.rank)
    with party.link.meter.offline():
        own, seeds = _deal_seeds(party, seats.committees, mine)
        if mine is not None:
            _compare(party, mine, seeds)
    group, rests = seats.group_of(party.rank), dict[int, Tensor]()
    for committee, drawn in zip(seats.committees, own, strict=True):
        split = (_words_of(seed, party.use, (clusters, coordinates)) for seed in drawn)
        rests[committee.servers[group]] = reduce(torch.sub, split, share)
    kept = rests.pop(party.rank, None)  # a delegate serves its own group
    if mine is None or kept is None:
        party.link.exchange(rests, {})
        return None
    served = mine.served(party.rank)
    senders = [rank for number in served for rank in seats.groups[number] if rank != party.rank]
    received = {rank: torch.empty_like(kept) for rank in senders}
    party.link.exchange(rests, received)
    received |= {party.rank: kept}
    sums = torch.stack([_sum_of(received[rank] for rank in seats.groups[number]) for number in served], dim=1)
    return _as_delegate(party, mine, seeds, sums)


def _risen(party: Party, rise: Rise, share: Tensor, level: int) -> Tensor:
    """Split this party's share among the node's holders; return a holder's share of the node's sum (else the rest)."""
    child = next(child for child in rise.children if party.rank in child)
    (own,) = (rank for rank in rise.holders if rank in child)
    others = [rank for rank in rise.holders if rank != own]
    purpose = f"hidden sums seeds of level {level + 1}"
    drawn = party.keys.secrets.token(purpose=purpose, use=party.use, size=_SEED_BYTES * len(others))
    mine = {rank: drawn[_SEED_BYTES * place :][:_SEED_BYTES] for place, rank in enumerate(others)}
    away = [rank for other in rise.children if other != child for rank in other] if party.rank == own else []
    seeds = {rank: torch.empty(_SEED_BYTES, dtype=torch.uint8) for rank in away}
    outgoing = {rank: torch.frombuffer(bytearray(seed), dtype=torch.uint8) for rank, seed in mine.items()}
    with party.link.meter.offline():
        party.link.exchange(outgoing, seeds)
    shape = (share.shape[0], share.shape[1])
    rest = reduce(torch.sub, (_words_of(seed, party.use, shape) for seed in mine.values()), share)
    if party.rank != own:
        party.link.exchange({own: rest}, {})
        return rest
    received = {rank: torch.empty_like(rest) for rank in child if rank != own}
    party.link.exchange({}, received)
    split = [_words_of(bytes(seed.numpy()), party.use, shape) for seed in seeds.values()]
    return _sum_of([rest, *received.values(), *split])


def _deal_seeds(party: Party, committees: Sequence[Seats], mine: Seats | None) -> tuple[list[list[bytes]], _Seeds]:
    """Return this member's own seeds, one a committee and set, and everybody's seeds of the sets that it serves in."""
    size, sets = _SEED_BYTES, committees[0].access.sets
    drawn = party.keys.secrets.token(
        purpose="hidden sums seeds", use=party.use, size=size * len(sets) * len(committees)
    )
    tables = torch.frombuffer(bytearray(drawn), dtype=torch.uint8).view(len(committees), len(sets), size)
    shares = {
        delegate: table[list(committee.held(delegate))]
        for committee, table in zip(committees, tables, strict=True)
        for delegate in committee.delegates
    }
    own = [[bytes(seed.numpy()) for seed in table] for table in tables]
    outgoing = {delegate: seeds for delegate, seeds in shares.items() if delegate != party.rank}
    if mine is None:
        party.link.exchange(outgoing, {})
        return own, {}
    held = mine.held(party.rank)
    received = {rank: torch.empty(len(held), size, dtype=torch.uint8) for rank in mine.members}
    received[party.rank] = shares[party.rank]
    party.link.exchange(outgoing, {rank: seeds for rank, seeds in received.items() if rank != party.rank})
    everybody = torch.stack([received[rank] for rank in mine.members], dim=1)
    return own, dict(zip(held, everybody, strict=True))


def _compare(party: Party, seats: Seats, seeds: _Seeds) -> None:
    """Raise CheatingDetectedError where another delegate got other seeds of a set that both are in."""
    peers = [delegate for delegate in seats.delegates if delegate != party.rank]
    mine = {peer: _digest(seeds, [number for number in seats.held(peer) if number in seeds]) for peer in peers}
    theirs = {peer: torch.empty(_DIGEST_BYTES, dtype=torch.uint8) for peer in peers}
    party.link.exchange(mine, theirs)
    wrong = [peer for peer in peers if not torch.equal(mine[peer], theirs[peer])]
    if wrong:
        raise CheatingDetectedError(
            f"delegates {[party.rank, *wrong]} got different seeds from one member, or say so; nothing was opened"
        )


def _digest(seeds: _Seeds, numbers: Sequence[int]) -> Tensor:
    digest = hashlib.sha256()
    for number in numbers:
        digest.update(seeds[number].contiguous().numpy().data)
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)


def _as_delegate(party: Party, seats: Seats, seeds: _Seeds, sums: Tensor) -> Shared:
    """Hand the sums of the groups that this delegate serves to the others; return all groups' shares."""
    place, peers = seats.delegates.index(party.rank), [rank for rank in seats.delegates if rank != party.rank]
    clusters, _, coordinates = sums.shape
    public = {rank: torch.empty(clusters, len(seats.served(rank)), coordinates, dtype=torch.int64) for rank in peers}
    party.link.exchange(dict.fromkeys(peers, sums), public)
    public[party.rank] = sums
    kept = seats.access.groups(place)
    parts = torch.zeros(1 + len(kept), clusters, len(seats.groups), coordinates, dtype=torch.int64)
    for rank, words in public.items():
        parts[0, :, list(seats.served(rank))] = words
    for at, sets in enumerate(kept, start=1):
        for group, members in enumerate(seats.groups):
            rows = [seats.members.index(rank) for rank in members]
            drawn = (bytes(seeds[number][row].numpy()) for number in sets for row in rows)
            parts[at, :, group] = _sum_of(_words_of(seed, party.use, (clusters, coordinates)) for seed in drawn)
    return Shared(parts=parts)


def _sum_of(words: Iterable[Tensor]) -> Tensor:
    return reduce(torch.add, words)


def _words_of(seed: bytes, use: int, shape: tuple[int, int]) -> Tensor:
    return SecretStreams(seed).words(use=use, lanes=shape[0], count=shape[1])


def resharing_cost(seats: Seats, *, clusters: int, coordinates: int) -> tuple[Cost, Cost]:
    """Return what it sends offline, the seeds and digests, and online: one word a member, g - 1 a group.

    A second committee costs the same again, at the same time.
    """
    offline, online = _rising_cost(seats, _WORD_BYTES * clusters * coordinates)
    n, g, row = len(seats.members), len(seats.delegates), _WORD_BYTES * clusters * coordinates
    held = len(seats.access.held(0))
    dealing = cost_of(messages=g * (n - 1), payload_bytes=g * (n - 1) * held * _SEED_BYTES, rounds=1)
    comparing = cost_of(messages=g * (g - 1), payload_bytes=g * (g - 1) * _DIGEST_BYTES, rounds=1)
    sent = n - g
    to_delegates = cost_of(messages=sent, payload_bytes=sent * row, rounds=min(sent, 1))
    handed = (g - 1) * len(seats.groups)
    among_delegates = cost_of(messages=g * (g - 1), payload_bytes=handed * row, rounds=1)
    beside = len(seats.committees)
    seeds, handing = dealing.then(comparing).times(beside), to_delegates.then(among_delegates).times(beside)
    return offline.then(seeds), online.then(handing)


def _rising_cost(seats: Seats, row: int) -> tuple[Cost, Cost]:
    """Return what all levels send: of each holder of a child, a seed to each holder but one, and the rest to that."""
    offline, online = Cost.none(), Cost.none()
    for rises in seats.rises:
        seeds = sum((len(rise.holders) - 1) * sum(map(len, rise.children)) for rise in rises)
        sent = sum(len(child) - 1 for rise in rises for child in rise.children)
        offline = offline.then(cost_of(messages=seeds, payload_bytes=seeds * _SEED_BYTES, rounds=1))
        online = online.then(cost_of(messages=sent, payload_bytes=sent * row, rounds=min(sent, 1)))
    return offline, online
