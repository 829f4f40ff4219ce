"""What a party process does: join the mesh of TCP links, agree on keys, then serve batches until the pool hangs up.

The control pipe carries plain JSON between the pool and its own child, whose words lie in memory that the two
share; parties send each other only tensors of announced size, and nothing that is received is ever unpickled.
"""

import json
import signal
import socket
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import Any

import torch

from protocols.input_memory import InputMemory
from protocols.keyring import Keyring, make_keyring
from protocols.memory import keep_freed_memory
from protocols.mesh import connect_mesh, connect_to
from protocols.network import BOARD, CheatingDetectedError
from protocols.parties import run_member
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
    try:
        link, parties = _join(control, rank, deadline_s)
        keys = make_keyring(link, parties)
        _warm_up()
        send_json(control, {"ok": True})
        memory = InputMemory(descriptor)
        while _serve_batch(control, memory, link, keys):
            pass
    except (EOFError, ConnectionError):
        return  # the pool has hung up


def _join(control: Connection, rank: int, deadline_s: float) -> tuple[TcpLink, int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        send_json(control, {"port": listener.getsockname()[1]})
        start = receive_json(control)
        token = bytes.fromhex(start["token"])
        shown = shown_token(token) if start["sealed"] else token
        sockets = connect_mesh(rank, listener, start["ports"], shown, deadline_s=deadline_s)
    board = connect_to(start["board_port"], rank, shown, deadline_s=deadline_s)
    link = TcpLink(rank, {**sockets, BOARD: board}, deadline_s=deadline_s)
    if start["sealed"]:
        seal_link(link, token)
    return link, len(start["ports"])


def _warm_up() -> None:
    # Loads CrypTen now, while the pool starts, and not inside the first measured sum.
    from protocols import crypten_engine

    assert crypten_engine.reveal


def _serve_batch(control: Connection, memory: InputMemory, link: TcpLink, keys: Keyring) -> bool:
    """Play one batch; return whether this party can play another one."""
    batch = receive_json(control)
    words = memory.words(batch["clusters"], batch["coordinates"])
    spec = Spec(name=batch["protocol"], parameters=tuple((key, value) for key, value in batch["parameters"]))
    model = bytes.fromhex(batch["model"])
    party = Party(link=link, parties=batch["members"], use=batch["use"], keys=keys, model=model)
    try:
        traffic = run_member(spec, party, words)
    except Exception as error:
        link.close()  # the others must not wait for a party that is gone
        suspects = sorted(error.suspects) if isinstance(error, CheatingDetectedError) else []
        send_json(control, {"ok": False, "kind": type(error).__name__, "text": str(error), "suspects": suspects})
        return False
    send_json(control, {"ok": True, "lost": sorted(link.lost), "traffic": asdict(traffic)})
    return True
