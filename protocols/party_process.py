"""What a party process does: join the mesh of TCP links, agree on keys, then serve batches until the pool hangs up.

The control pipe carries plain JSON between the pool and its own child, whose words lie in memory that the two
share; parties send each other only tensors of announced size, and nothing that is received is ever unpickled.
"""

import json
import signal
import socket
from multiprocessing.connection import Connection
from typing import Any

import torch

from protocols.input_memory import InputMemory
from protocols.memory import keep_freed_memory
from protocols.mesh import connect_mesh, connect_to
from protocols.network import BOARD, TcpLink
from protocols.parties import publish, run_party
from protocols.registry import Spec
from protocols.secure_sum import Party
from protocols.zero_sharing import ZeroShares, agree_on_keys

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
        zero_shares = agree_on_keys(link, parties)
        _warm_up()
        send_json(control, {"ok": True})
        memory = InputMemory(descriptor)
        while True:
            _serve_batch(control, memory, link, zero_shares)
    except (EOFError, ConnectionError):
        return  # the pool has hung up


def _join(control: Connection, rank: int, deadline_s: float) -> tuple[TcpLink, int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        send_json(control, {"port": listener.getsockname()[1]})
        start = receive_json(control)
        token = bytes.fromhex(start["token"])
        sockets = connect_mesh(rank, listener, start["ports"], token, deadline_s=deadline_s)
    board = connect_to(start["board_port"], rank, token, deadline_s=deadline_s)
    return TcpLink(rank, {**sockets, BOARD: board}, deadline_s=deadline_s), len(start["ports"])


def _warm_up() -> None:
    # Loads CrypTen now, while the pool starts, and not inside the first measured sum.
    from protocols import crypten_engine

    assert crypten_engine.reveal


def _serve_batch(control: Connection, memory: InputMemory, link: TcpLink, zero_shares: ZeroShares) -> None:
    batch = receive_json(control)
    words = memory.words(batch["clusters"], batch["coordinates"])
    spec = Spec(name=batch["protocol"], parameters=tuple((key, value) for key, value in batch["parameters"]))
    party = Party(link=link, parties=batch["members"], use=batch["use"], zero_shares=zero_shares)
    try:
        report, opened = run_party(spec, party, words)
    except Exception as error:
        # The pool stops all parties after a failure, so a half-done exchange never meets the next batch.
        send_json(control, {"ok": False, "kind": type(error).__name__, "text": str(error)})
        return
    send_json(control, {"ok": True, "report": report.as_json()})
    upload = publish(link, opened)
    send_json(control, {"upload": upload.__dict__})
