"""TCP links between threads of the test process, so that a test can ask the kernel what it counted."""

import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from protocols.mesh import accept_parties, connect_mesh, connect_to
from protocols.network import BOARD
from protocols.tcp_link import TcpLink

Result = TypeVar("Result")
_TOKEN = b"0123456789abcdef"
# struct tcp_info of linux/tcp.h: 8 bytes of flags, 24 32-bit counters, then 64-bit pacing_rate,
# max_pacing_rate, bytes_acked, bytes_received.
_BYTES_RECEIVED = slice(128, 136)


def in_parallel(parties: int, work: Callable[[int], Result]) -> list[Result]:
    """Return work(rank) of every party, run side by side."""
    with ThreadPoolExecutor(parties) as threads:
        return list(threads.map(work, range(parties)))


def tcp_links(parties: int, *, deadline_s: float = 60.0) -> list[TcpLink]:
    """Return the links of the parties 0..parties-1 and, last, of the board, connected over loopback."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(parties + 1)]
    ports = [listener.getsockname()[1] for listener in listeners]

    def join(place: int) -> TcpLink:
        if place == parties:
            members = accept_parties(listeners[place], _TOKEN, range(parties), deadline_s=60.0)
            return TcpLink(BOARD, members, deadline_s=deadline_s)
        mesh = connect_mesh(place, listeners[place], ports[:parties], _TOKEN, deadline_s=60.0)
        board = connect_to(ports[parties], place, _TOKEN, deadline_s=60.0)
        return TcpLink(place, {**mesh, BOARD: board}, deadline_s=deadline_s)

    links = in_parallel(parties + 1, join)
    for listener in listeners:
        listener.close()
    return links


def kernel_received_bytes(link: TcpLink) -> int:
    """Return how many payload bytes the kernel says that this party's sockets have received."""
    infos = [peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256) for peer in link.sockets.values()]
    return sum(struct.unpack("=Q", info[_BYTES_RECEIVED])[0] for info in infos)
