"""Links between parties in tests: among threads and over TCP, and a socket that speaks for a peer."""

import contextlib
import socket
from collections.abc import Callable
from typing import Any

import torch

from protocols.in_process_link import InProcessLink
from protocols.tcp_link import TcpLink
from tests.tcp import in_parallel

__all__ = ["TOKEN", "AnyLink", "bare", "read", "receive", "rounds", "run", "send", "swap", "words"]

AnyLink = InProcessLink | TcpLink
TOKEN = b"0123456789abcdef"


def run(links: list[AnyLink], work: Callable[[AnyLink], Any]) -> list[Any]:
    return in_parallel(len(links), lambda rank: work(links[rank]))


def words(*values: int) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.int64)


def send(link: AnyLink, peer: int, *values: int) -> None:
    link.exchange({peer: words(*values)}, {})


def receive(link: AnyLink, peer: int, count: int) -> list[int]:
    into = torch.full((count,), -1, dtype=torch.int64)
    link.exchange({}, {peer: into})
    return into.tolist()


def swap(link: AnyLink, parties: int, count: int = 2) -> None:
    """Exchange `count` words with each of the others."""
    peers = [peer for peer in range(parties) if peer != link.rank]
    incoming = {peer: torch.empty(count, dtype=torch.int64) for peer in peers}
    link.exchange({peer: torch.full((count,), 100 * link.rank + peer) for peer in peers}, incoming)
    for peer, got in incoming.items():
        assert got.tolist() == [100 * peer + link.rank] * count, "a message went to the wrong party"


def rounds(link: AnyLink) -> tuple[int, int]:
    """The hops between members, and those from and to the board, behind this party."""
    traffic = link.meter.traffic()
    return traffic.mpc.rounds, traffic.upload.rounds


def bare(stack: contextlib.ExitStack, *, deadline_s: float) -> tuple[TcpLink, dict[int, socket.socket]]:
    """A party of rank 1 whose peers 0 and 2 are bare sockets, on which the test writes bytes of its own."""
    ours: dict[int, socket.socket] = {}
    theirs: dict[int, socket.socket] = {}
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for peer in (0, 2):
            ours[peer] = socket.create_connection(listener.getsockname())
            theirs[peer] = stack.enter_context(listener.accept()[0])
    link = TcpLink(1, ours, deadline_s=deadline_s)
    stack.callback(link.close)
    return link, theirs


def read(peer: socket.socket, count: int) -> bytes:
    received = b""
    while len(received) < count:
        received += peer.recv(count - len(received))
    return received
