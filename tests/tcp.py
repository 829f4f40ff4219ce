"""TCP links between threads of the test process, so that a test can ask the kernel what it counted."""

import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from protocols.mesh import connect_mesh
from protocols.network import TcpLink

Result = TypeVar("Result")
_TOKEN = b"0123456789abcdef"
# struct tcp_info of linux/tcp.h: 8 bytes of flags, 24 32-bit counters, then 64-bit pacing_rate,
# max_pacing_rate, bytes_acked, bytes_received.
_BYTES_RECEIVED = slice(128, 136)


def in_parallel(parties: int, work: Callable[[int], Result]) -> list[Result]:
    """Return work(rank) of every party, run side by side."""
    with ThreadPoolExecutor(parties) as threads:
        return list(threads.map(work, range(parties)))


def tcp_links(parties: int) -> list[TcpLink]:
    """Return the links of the parties 0..parties-1, connected over loopback."""
    listeners = [socket.create_server(("127.0.0.1", 0)) for _ in range(parties)]
    ports = [listener.getsockname()[1] for listener in listeners]
    meshes = in_parallel(parties, lambda rank: connect_mesh(rank, listeners[rank], ports, _TOKEN, deadline_s=60.0))
    for listener in listeners:
        listener.close()
    return [TcpLink(rank, mesh, deadline_s=60.0) for rank, mesh in enumerate(meshes)]


def kernel_received_bytes(link: TcpLink) -> int:
    """Return how many payload bytes the kernel says that this party's sockets have received."""
    infos = [peer.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256) for peer in link.sockets.values()]
    return sum(struct.unpack("=Q", info[_BYTES_RECEIVED])[0] for info in infos)
