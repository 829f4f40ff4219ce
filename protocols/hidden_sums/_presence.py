"""Who is there, and with which model: every member says so to the board, which tells all of them who did."""

from collections.abc import Collection

import torch

from protocols.model_digest import DIGEST_BYTES
from protocols.network import cost_of
from protocols.secure_sum import Board, Party
from protocols.secure_sum._bulletin import bitmap
from protocols.secure_sum._unverified import of_one_model
from protocols.secure_sum._verified import hear, marked, say
from protocols.secure_sum._verified_plan import as_bytes
from protocols.types import Cost

__all__ = ["call_the_roll", "presence_cost", "say_who_is_there", "who_is_there"]


def who_is_there(party: Party) -> frozenset[int]:
    """Say that this member is there, and which model it has trained on; return who is, as the board says.

    Nobody is where that ends the batch, and nobody with another model than the board announces.
    """
    say(party.link, as_bytes(party.bound_model))
    party.link.skip(1)  # the board waits for all of these
    return frozenset(marked(hear(party.link, torch.empty(party.parties, dtype=torch.uint8))))


def call_the_roll(board: Board) -> frozenset[int]:
    """Return which members say that they are there, with the model that the board announces."""
    said = {rank: torch.empty(DIGEST_BYTES, dtype=torch.uint8) for rank in range(board.parties)}
    lost = board.link.try_exchange({}, said)
    return frozenset(of_one_model(board, said) - lost.keys())


def say_who_is_there(board: Board, present: Collection[int], *, said: Collection[int]) -> None:
    """Tell these members who is `said` to be there."""
    board.link.try_exchange(dict.fromkeys(sorted(present), bitmap(board.parties, sorted(said))), {})


def presence_cost(parties: int) -> Cost:
    """Return what it costs: a digest from each member, one byte a member to each."""
    payload_bytes = parties * (DIGEST_BYTES + parties)
    return cost_of(messages=2 * parties, payload_bytes=payload_bytes, rounds=2)
