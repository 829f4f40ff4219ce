"""How members that all learn the sums tell the board: one sends them, and each vouches for them.

A voucher is a fresh key and the GMAC of the batch's number, the digest of the member's model and the sums under it, so
that a member that is out of step, or has trained on another model than the board announces, is seen as well. Rank 0
vouches for number and model only: its sums are there themselves, and all others vouch for them.

Threat model: whoever makes the board read other sums than an honest member has opened - rank 0, or who sent different
words to different members - does not know that member's key, which goes to the board alone, and nothing that the key
has touched comes back before the sums are fixed. Under a random key two different messages of at most L blocks of 16
bytes have the same GMAC with probability at most (L + 1) / 2^128, as far as AES is a pseudorandom permutation: 2^-109
for a million words. A key is used once, so that what one voucher tells is of no use for another. A member that lies in
its own voucher vouches for what it likes, as it could with any hash. A plain hash would need no key, and ten times as
long: of what members do with the opened sums only sending them took longer. Vouchers say that all members have opened
the same: whether that is right, is what the protocol itself does or does not see to.

Source: Carter and Wegman 1979, Universal classes of hash functions, JCSS; McGrew and Viega 2004, The security and
performance of the Galois/Counter Mode, INDOCRYPT; NIST SP 800-38D (GMAC).
"""

import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from torch import Tensor

from protocols.model_digest import NO_MODEL
from protocols.network import BOARD as BOARD_RANK
from protocols.network import OutOfStepError, bytes_of, cost_of
from protocols.secure_sum import Board, Party
from protocols.types import Cost

__all__ = ["VOUCHER_BYTES", "publish", "publishing_cost", "read_published", "vouches"]

_KEY_BYTES = _TAG_BYTES = 16
VOUCHER_BYTES = _KEY_BYTES + _TAG_BYTES
# The key of a tag is used for it alone, so that its nonce may be what it likes.
_NONCE = bytes(12)
_NOTHING = memoryview(b"")


def publish(party: Party, opened: Tensor, *, vouching: bool) -> None:
    """Send the opened sums to the board (rank 0), and a voucher where members vouch."""
    if party.rank == 0:
        party.link.exchange({BOARD_RANK: opened}, {})
    if vouching:
        key = party.keys.secrets.token(purpose="voucher", use=party.use, size=_KEY_BYTES)
        tag = _tag(key, party.use, party.model, bytes_of(opened.contiguous()) if party.rank else _NOTHING)
        party.link.exchange({BOARD_RANK: torch.frombuffer(bytearray(key + tag), dtype=torch.uint8)}, {})


def read_published(board: Board, *, vouching: bool) -> Tensor:
    """Return the sums (clusters, coordinates) that rank 0 publishes, after all members vouch for them if they do.

    Raises: OutOfStepError naming the parties that opened other sums, or hold another model.
    """
    sums = torch.empty(board.clusters, board.coordinates, dtype=torch.int64)
    board.link.exchange({}, {0: sums})
    members = range(board.parties if vouching else 0)
    vouchers = {rank: torch.empty(VOUCHER_BYTES, dtype=torch.uint8) for rank in members}
    board.link.exchange({}, vouchers)
    wrong = [
        rank
        for rank, voucher in vouchers.items()
        if not vouches(voucher.numpy().tobytes(), board.use, bytes_of(sums) if rank else _NOTHING, board.model)
    ]
    if wrong:
        raise OutOfStepError(
            f"parties {wrong} opened other sums, or in another batch, than party 0 published, or trained on another "
            f"model than the board announces"
        )
    return sums


def vouches(voucher: bytes, use: int, sums: memoryview, model: bytes = NO_MODEL) -> bool:
    """Return whether this is a voucher for that batch, the bytes of those sums and that model."""
    return _tag(voucher[:_KEY_BYTES], use, model, sums) == voucher[_KEY_BYTES:]


def publishing_cost(*, parties: int, clusters: int, coordinates: int, vouching: bool) -> Cost:
    """Return what publishing costs: all sums once, and a voucher from each member that vouches."""
    vouchers = parties if vouching else 0
    payload_bytes = 8 * clusters * coordinates + VOUCHER_BYTES * vouchers
    messages = 1 + vouchers
    return cost_of(messages=messages, payload_bytes=payload_bytes, rounds=1)


def _tag(key: bytes, use: int, model: bytes, sums: memoryview) -> bytes:
    """Return the GMAC of the batch's number, a model's digest and the bytes of the sums."""
    maker = Cipher(algorithms.AES128(key), modes.GCM(_NONCE)).encryptor()
    maker.authenticate_additional_data(use.to_bytes(_TAG_BYTES, "big") + model)
    maker.authenticate_additional_data(sums)
    maker.finalize()
    return maker.tag
