"""Who is there: every member says so to the board, which tells all of them who did."""

from collections.abc import Collection

import torch

from protocols.network import cost_of
from protocols.secure_sum import Board, Party
from protocols.secure_sum._bulletin import bitmap
from protocols.secure_sum._verified import hear, marked, say
from protocols.types import Cost

__all__ = ["call_the_roll", "presence_cost", "say_who_is_there", "who_is_there"]


def who_is_there(party: Party) -> frozenset[int]:
    """Say that this member is there; return who is, as the board says: nobody where that ends the batch."""
    say(party.link, torch.ones(1, dtype=torch.uint8))
    party.link.skip(1)  # the board waits for all of these
    return frozenset(marked(hear(party.link, torch.empty(party.parties, dtype=torch.uint8))))


def call_the_roll(board: Board) -> frozenset[int]:
    """Return which members say that they are there."""
    said = {rank: torch.empty(1, dtype=torch.uint8) for rank in range(board.parties)}
    lost = board.link.try_exchange({}, said)
    return frozenset(said.keys() - lost.keys())


def say_who_is_there(board: Board, present: Collection[int], *, said: Collection[int]) -> None:
    """Tell these members who is `said` to be there."""
    board.link.try_exchange(dict.fromkeys(sorted(present), bitmap(board.parties, sorted(said))), {})


def presence_cost(parties: int) -> Cost:
    """Return what it costs: one byte from each member, one a member to each."""
    payload_bytes = parties * (1 + parties)
    return cost_of(messages=2 * parties, payload_bytes=payload_bytes, rounds=2)
