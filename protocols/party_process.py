"""What a party process does: what the pool orders, which is to join a mesh of TCP links, to agree on keys, or to play.

The control pipe carries plain JSON between the pool and its own child, whose words lie in memory that the two
share; parties send each other only tensors of announced size, and nothing that is received is ever unpickled.
"""

import json
import signal
import socket
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from types import MappingProxyType
from typing import Any

import torch

from protocols.fault_values import fault_of
from protocols.faulty_link import FaultyLink, Sent
from protocols.input_memory import InputMemory
from protocols.keyring import Keyring, make_keyring
from protocols.memory import keep_freed_memory
from protocols.mesh import connect_mesh, connect_to
from protocols.network import BOARD, Link
from protocols.parties import run_member
from protocols.party_report import failure, success
from protocols.registry import Spec
from protocols.sealed_link import seal_link, shown_token
from protocols.secure_sum import Party
from protocols.tcp_link import TcpLink

__all__ = ["receive_json", "send_json", "serve"]


def send_json(control: Connection, message: dict[str, Any]) -> None:
    """Send one JSON object over the control pipe."""
    control.send_bytes(json.dumps(message).encode())


def receive_json(control: Connection) -> dict[str, Any]:
    """Return the next JSON object from the control pipe."""
    return json.loads(control.recv_bytes())


def serve(control: Connection, descriptor: int, rank: int, deadline_s: float) -> None:
    """Run one party until the pool closes the control pipe; its words come by the memory of that descriptor."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the pool decides what ends
    torch.set_num_threads(1)
    keep_freed_memory()
    _warm_up()
    seat = _Seat(control, descriptor, rank, deadline_s)
    try:
        while True:
            seat.obey()
    except (EOFError, ConnectionError):
        return  # the pool has hung up


def _warm_up() -> None:
    # Loads CrypTen now, while the pool starts, and not inside the first measured sum.
    from protocols import crypten_engine

    assert crypten_engine.reveal


class _Seat:
    """One party: its links to the others and its keys, once it has joined them."""

    def __init__(self, control: Connection, descriptor: int, rank: int, deadline_s: float) -> None:
        self._control = control
        self._memory = InputMemory(descriptor)
        self._rank = rank
        self._deadline_s = deadline_s
        self._link: TcpLink | None = None
        self._parties = 0
        self._keys: Keyring | None = None
        self._has_left = False
        self._sent: dict[int, Sent] = {}

    def obey(self) -> None:
        """Do what the pool orders next."""
        if self._link is not None and self._has_left:
            self._link.discard_until(self._control)
        order = receive_json(self._control)
        _ORDERS[order["order"]](self, order)

    def join(self, _: Mapping[str, Any]) -> None:
        """Leave the old mesh, if any, join the parties of a new one, and agree on keys with them, where asked to."""
        if self._link is not None:
            self._link.close()
        with socket.create_server(("127.0.0.1", 0)) as listener:
            send_json(self._control, {"port": listener.getsockname()[1]})
            start = receive_json(self._control)
            for memory in start["forget"]:
                self._sent.pop(memory, None)
            token = bytes.fromhex(start["token"])
            shown = shown_token(token) if start["sealed"] else token
            sockets = connect_mesh(self._rank, listener, start["ports"], shown, deadline_s=self._deadline_s)
        board = connect_to(start["board_port"], self._rank, shown, deadline_s=self._deadline_s)
        everybody = {**sockets, BOARD: board}
        # A pause ends early where the pool has something to say, which it has once a sum is over.
        self._link = TcpLink(self._rank, everybody, deadline_s=self._deadline_s, wait=self._control.poll)
        if start["sealed"]:
            seal_link(self._link, token)
        self._parties, self._has_left = len(start["ports"]), False
        if start["agree"]:
            self.agree(start)
        else:
            send_json(self._control, {"ok": True})

    def agree(self, _: Mapping[str, Any]) -> None:
        """Agree on new keys with all others; nothing is ever drawn from the old ones again."""
        assert self._link is not None
        self._keys = make_keyring(self._link, self._parties)
        send_json(self._control, {"ok": True})

    def play(self, batch: Mapping[str, Any]) -> None:
        """Play one batch, with this party's fault, if any, and report."""
        assert self._link is not None
        assert self._keys is not None
        link = self._link
        words = self._memory.words(batch["clusters"], batch["coordinates"])
        spec = Spec(name=batch["protocol"], parameters=tuple((key, value) for key, value in batch["parameters"]))
        model = bytes.fromhex(batch["model"])
        party = Party(
            link=self._faulty(link, batch), parties=batch["members"], use=batch["use"], keys=self._keys, model=model
        )
        try:
            traffic = run_member(spec, party, words)
        except Exception as error:
            link.leave()  # the others must not wait for a party that is gone
            self._has_left = True
            send_json(self._control, failure(link.meter.traffic(), error))
        else:
            send_json(self._control, success(traffic, link.lost))

    def _faulty(self, link: TcpLink, batch: Mapping[str, Any]) -> Link:
        """Return the link as this party's fault leaves it; what it sends is remembered where the batch says so."""
        fault = None if batch["fault"] is None else fault_of(batch["fault"])
        if batch["memory"] is not None:
            return FaultyLink(link, fault, self._sent.setdefault(batch["memory"], Sent()))
        return link if fault is None else FaultyLink(link, fault)

    def over(self, _: Mapping[str, Any]) -> None:
        """Leave a batch that is over, so that no other party waits for this one; all will join anew."""
        assert self._link is not None
        self._link.leave()
        self._has_left = True


_ORDERS: Mapping[str, Callable[[_Seat, Mapping[str, Any]], None]] = MappingProxyType(
    {"join": _Seat.join, "agree": _Seat.agree, "play": _Seat.play, "over": _Seat.over}
)
