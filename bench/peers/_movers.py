"""Processes that send each other what the members of `additive` do, and compute nothing: the cost of the wire alone."""

import multiprocessing
import secrets
import socket
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from types import TracebackType

import torch

from protocols.memory import keep_freed_memory
from protocols.mesh import TOKEN_BYTES, accept_parties, connect_mesh, connect_to
from protocols.network import BOARD
from protocols.parties import total
from protocols.secure_sum._publish import VOUCHER_BYTES
from protocols.tcp_link import TcpLink
from protocols.types import Traffic

__all__ = ["Movers"]

_DEADLINE_S = 60.0


class Movers:
    """As many processes as a cluster has members, connected to each other and to this process as theirs are.

    Guarantees:
        A move sends the messages of one sum by `additive`, each as long and between the same two processes.
    """

    def __init__(self, members: int, coordinates: int) -> None:
        self._members = members
        self._coordinates = coordinates
        self._children: list[tuple[ForkServerProcess, Connection]] = []

    def __enter__(self) -> "Movers":
        context = multiprocessing.get_context("forkserver")
        for rank in range(self._members):
            ours, theirs = context.Pipe()
            child = context.Process(target=_serve, args=(theirs, rank, self._coordinates), daemon=True)
            child.start()
            theirs.close()
            self._children.append((child, ours))
        token = secrets.token_bytes(TOKEN_BYTES)
        ports = [control.recv() for _, control in self._children]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            for _, control in self._children:
                control.send((token, ports, listener.getsockname()[1]))
            sockets = accept_parties(listener, token, range(self._members), deadline_s=_DEADLINE_S)
        self._board = TcpLink(BOARD, sockets, deadline_s=_DEADLINE_S)
        self._sums = torch.empty(self._coordinates, dtype=torch.int64)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._board.close()
        for child, control in self._children:
            control.close()
            child.join()

    def move(self) -> Traffic:
        """Let all messages of one sum cross the loopback interface; return what was sent."""
        self._board.begin()
        for _, control in self._children:
            control.send(True)
        self._board.exchange({}, {0: self._sums})
        vouchers = {rank: torch.empty(VOUCHER_BYTES, dtype=torch.uint8) for rank in range(self._members)}
        self._board.exchange({}, vouchers)
        return total([*(control.recv() for _, control in self._children), self._board.meter.traffic()])


def _serve(control: Connection, rank: int, coordinates: int) -> None:
    torch.set_num_threads(1)
    keep_freed_memory()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        control.send(listener.getsockname()[1])
        token, ports, board_port = control.recv()
        sockets = connect_mesh(rank, listener, ports, token, deadline_s=_DEADLINE_S)
    board = connect_to(board_port, rank, token, deadline_s=_DEADLINE_S)
    link = TcpLink(rank, {**sockets, BOARD: board}, deadline_s=_DEADLINE_S)
    words = torch.zeros(coordinates, dtype=torch.int64)
    try:
        while control.recv():
            link.begin()
            _move_once(link, words, len(ports))
            control.send(link.meter.traffic())
    except EOFError:
        link.close()


def _move_once(link: TcpLink, words: torch.Tensor, members: int) -> None:
    """Send what one member of `additive` sends: a part to each other one, its own part to all, and to the board."""
    parts, peers = torch.tensor_split(words, members), [peer for peer in range(members) if peer != link.rank]
    mine = parts[link.rank]
    received = torch.empty(members, len(mine), dtype=torch.int64)
    link.exchange({peer: parts[peer] for peer in peers}, {peer: received[peer] for peer in peers})
    opened = torch.tensor_split(torch.empty_like(words), members)
    link.exchange(dict.fromkeys(peers, mine), {peer: opened[peer] for peer in peers})
    if link.rank == 0:
        link.exchange({BOARD: words}, {})
    link.exchange({BOARD: torch.zeros(VOUCHER_BYTES, dtype=torch.uint8)}, {})
