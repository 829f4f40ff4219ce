"""How members that all learn the sums tell the board: one sends them, and each vouches with a digest.

The digest binds the number of the batch as well as the sums, so that a member that is out of step is seen. Rank 0
vouches for the number only: its sums are there themselves, and all others vouch for them.
"""

import hashlib

import torch
from torch import Tensor

from protocols.network import BOARD as BOARD_RANK
from protocols.network import HEADER_BYTES, OutOfStepError
from protocols.secure_sum import Board, Party
from protocols.types import Cost

__all__ = ["publish", "publishing_cost", "read_published"]

_DIGEST_BYTES = 32


def publish(party: Party, opened: Tensor, *, vouching: bool) -> None:
    """Send the opened sums to the board (rank 0), and their digest where members vouch."""
    if party.rank == 0:
        party.link.exchange({BOARD_RANK: opened}, {})
    if vouching:
        party.link.exchange({BOARD_RANK: _digest(party.use, None if party.rank == 0 else opened)}, {})


def read_published(board: Board, *, vouching: bool) -> Tensor:
    """Return the sums (clusters, coordinates) that rank 0 publishes, after all members vouch for them if they do.

    Raises: OutOfStepError naming the parties that opened other sums.
    """
    sums = torch.empty(board.clusters, board.coordinates, dtype=torch.int64)
    vouchers = range(board.parties) if vouching else ()
    digests = {rank: torch.empty(_DIGEST_BYTES, dtype=torch.uint8) for rank in vouchers}
    board.link.exchange({}, {0: sums})
    expected = [_digest(board.use, None), _digest(board.use, sums)]  # while the others may still be at theirs
    board.link.exchange({}, digests)
    wrong = [rank for rank, digest in digests.items() if not torch.equal(digest, expected[rank > 0])]
    if wrong:
        raise OutOfStepError(f"parties {wrong} opened other sums, or in another batch, than party 0 published")
    return sums


def publishing_cost(*, parties: int, clusters: int, coordinates: int, vouching: bool) -> Cost:
    """Return what publishing costs: all sums once, and a digest from each member that vouches."""
    vouchers = parties if vouching else 0
    payload_bytes = 8 * clusters * coordinates + _DIGEST_BYTES * vouchers
    messages = 1 + vouchers
    return Cost(
        payload_bytes=payload_bytes,
        wire_bytes=payload_bytes + HEADER_BYTES * messages,
        messages=messages,
        rounds=1,
    )


def _digest(use: int, opened: Tensor | None) -> Tensor:
    digest = hashlib.sha256(use.to_bytes(8, "big"))
    if opened is not None:
        digest.update(opened.contiguous().numpy().data)
    return torch.frombuffer(bytearray(digest.digest()), dtype=torch.uint8)
