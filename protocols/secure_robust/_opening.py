"""Opening what the parties' additive shares add up to, with + or with XOR, and what that costs."""

from collections.abc import Callable, Iterable
from functools import reduce

import torch
from torch import Tensor

from protocols.network import Link, cost_of
from protocols.secure_robust._access import Access
from protocols.secure_robust._planes import WORD_BITS
from protocols.types import Cost

__all__ = ["Add", "dealing_cost", "open_shares", "opening_cost", "openings_cost", "sent_to_all_cost"]

Add = Callable[[Tensor, Tensor], Tensor]
_WORD_BYTES = 8


def open_shares(link: Link, parties: int, share: Tensor, add: Add) -> Tensor:
    """Return the sum of all parties' int64 words (clusters, columns) at every party.

    Party j collects and adds the j-th part of the columns, then hands it to all: 2 (c - 1) words a column, two rounds.
    """
    rank = link.rank
    peers = [peer for peer in range(parties) if peer != rank]
    parts = [part.contiguous() for part in torch.tensor_split(share, parties, dim=-1)]
    received = {peer: torch.empty_like(parts[rank]) for peer in peers}
    link.exchange({peer: parts[peer] for peer in peers}, received)
    mine = reduce(add, received.values(), parts[rank])
    opened = {peer: torch.empty_like(parts[peer]) for peer in peers}
    link.exchange(dict.fromkeys(peers, mine), opened)
    return torch.cat([mine if rank == place else opened[place] for place in range(parties)], dim=-1)


def opening_cost(*, parties: int, words: int) -> Cost:
    """Return what opening so many words sends in all."""
    return _cost(messages=2 * parties * (parties - 1), words=2 * (parties - 1) * words, rounds=2)


def openings_cost(access: Access, words: int, layers: Iterable[int], *, comparisons: int = 0) -> Cost:
    """Return what layers send one after the other, of so many times `words` words each.

    `comparisons` is how many times `words` words are compared in them.
    """
    cost = Cost.none(comparisons=WORD_BITS * words * comparisons)
    for times in layers:
        cost = cost.then(opening_cost(parties=access.parties, words=times * words))
    return cost


def dealing_cost(access: Access, *, words: int) -> Cost:
    """Return what it costs that each of t + 1 dealers sends so many words to every other party."""
    messages = (access.threshold + 1) * (access.parties - 1)
    return _cost(messages=messages, words=messages * words, rounds=1)


def sent_to_all_cost(*, parties: int, words: int) -> Cost:
    """Return what it costs that every party sends so many words to every other one."""
    return _cost(messages=parties * (parties - 1), words=parties * (parties - 1) * words, rounds=1)


def _cost(*, messages: int, words: int, rounds: int) -> Cost:
    payload_bytes = _WORD_BYTES * words
    return cost_of(messages=messages, payload_bytes=payload_bytes, rounds=rounds)
