"""Encrypted sums end to end: ours against CrypTen as it comes, and against moving the same bytes over loopback.

The bytes are moved in two ways: in one go through one connection, between two threads, which is the least that the
kernel can take for so many bytes; and as the messages that they are, between as many processes as the sum has parties.
"""

import socket
import threading

import torch

from bench.peers import Comparison, interleave
from bench.peers._movers import Movers
from protocols.memory import keep_freed_memory
from protocols.party_pool import PartyPool
from protocols.randomness import public_stream
from protocols.secure_sum import secure_sums

__all__ = ["compare_sums"]

_CHUNK_BYTES = 2**18


def compare_sums(*, members: int = 5, coordinates: int = 1_000_000, turns: int = 7) -> list[Comparison]:
    """Return the comparisons of one encrypted sum, from words in this process to the opened sum in this process.

    Every turn runs both on the same words through one pool of party processes; `ratio` is peer / ours.
    Raises: AssertionError where the opened sums differ, or other bytes are moved than a sum sends.
    """
    keep_freed_memory()
    words = torch.from_numpy(public_stream(0, "peers", "sums").integers(-(2**40), 2**40, (1, members, coordinates)))
    ours, stock = secure_sums.resolve("additive"), secure_sums.resolve("additive_stock")
    with PartyPool(members) as pool, Movers(members, coordinates) as movers:
        opened = pool.open_sums(ours, words)
        assert torch.equal(opened.sums, words.sum(dim=1)), "additive opened other sums"
        assert torch.equal(pool.open_sums(stock, words).sums, opened.sums), "additive_stock opened other sums"
        assert movers.move() == opened.traffic, "other messages are moved than a sum sends"
        wire_bytes = opened.traffic.wire_bytes
        name = f"additive ({members} parties, d = {coordinates:,})"
        return [
            interleave(
                name,
                "additive_stock",
                lambda: pool.open_sums(ours, words),
                lambda: pool.open_sums(stock, words),
                turns=turns,
            ),
            interleave(
                name,
                f"moving {wire_bytes:,} bytes through one connection",
                lambda: pool.open_sums(ours, words),
                lambda: move_bytes(wire_bytes),
                turns=turns,
            ),
            interleave(
                name,
                f"moving them as its messages, between {members} processes",
                lambda: pool.open_sums(ours, words),
                movers.move,
                turns=turns,
            ),
        ]


def move_bytes(count: int) -> int:
    """Send so many bytes through one TCP connection on loopback; return how many were received."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        sender = socket.create_connection(listener.getsockname())
        receiver, _ = listener.accept()
    with sender, receiver:
        thread = threading.Thread(target=_send, args=(sender, count))
        thread.start()
        buffer, received = bytearray(_CHUNK_BYTES), 0
        while received < count and (part := receiver.recv_into(buffer)):
            received += part
        thread.join()
    return received


def _send(sender: socket.socket, count: int) -> None:
    chunk = memoryview(bytes(_CHUNK_BYTES))
    for start in range(0, count, _CHUNK_BYTES):
        sender.sendall(chunk[: min(_CHUNK_BYTES, count - start)])
