"""Connecting the parties of a pool: everybody to everybody, strangers to nobody."""

import hmac
import selectors
import socket
import struct
import time
from collections.abc import Collection, Iterable, Sequence

from protocols.network import PartyCrashedError, PartyTimeoutError

__all__ = ["TOKEN_BYTES", "accept_parties", "connect_mesh", "connect_to"]

TOKEN_BYTES = 16
_RANK = struct.Struct("<i")
_HELLO_BYTES = TOKEN_BYTES + _RANK.size


def connect_to(port: int, rank: int, token: bytes, *, deadline_s: float) -> socket.socket:
    """Return a connection to whoever listens on that port of this machine, after showing the token and our rank.

    Raises: PartyCrashedError, PartyTimeoutError.
    """
    try:
        connected = socket.create_connection(("127.0.0.1", port), timeout=deadline_s)
        connected.sendall(token + _RANK.pack(rank))
    except TimeoutError:
        raise PartyTimeoutError(f"port {port} did not answer party {rank} for {deadline_s} s") from None
    except ConnectionError as error:
        raise PartyCrashedError(f"party {rank} cannot connect to port {port}: {error}") from None
    return connected


def connect_mesh(
    rank: int, listener: socket.socket, ports: Sequence[int], token: bytes, *, deadline_s: float
) -> dict[int, socket.socket]:
    """Return a connection to every other party: to the lower ranks by calling them, to the higher ones by waiting.

    Raises: PartyCrashedError, PartyTimeoutError.
    """
    called = {peer: connect_to(ports[peer], rank, token, deadline_s=deadline_s) for peer in range(rank)}
    higher = range(rank + 1, len(ports))
    return {**called, **accept_parties(listener, token, higher, deadline_s=deadline_s)}


def accept_parties(
    listener: socket.socket, token: bytes, ranks: Collection[int], *, deadline_s: float
) -> dict[int, socket.socket]:
    """Return a connection from each of these ranks; whoever does not show the token is dropped.

    Strangers are heard side by side with the parties, so that a silent one holds up nobody.
    Raises: PartyTimeoutError naming the ranks that are missing at the deadline.
    """
    deadline = time.monotonic() + deadline_s
    door = _Door(listener, token, ranks)
    try:
        while len(door.accepted) < len(ranks):
            if not door.hear(max(0.0, deadline - time.monotonic())):
                missing = sorted(set(ranks) - set(door.accepted))
                raise PartyTimeoutError(f"parties {missing} did not connect within {deadline_s} s")
    except BaseException:
        _close_all(door.accepted.values())
        raise
    finally:
        door.close()
    return door.accepted


class _Door:
    """Hears callers side by side; keeps who shows the token and an expected rank, drops everybody else."""

    def __init__(self, listener: socket.socket, token: bytes, ranks: Collection[int]) -> None:
        self.accepted: dict[int, socket.socket] = {}
        self._listener = listener
        self._token = token
        self._ranks = ranks
        self._said: dict[socket.socket, bytearray] = {}
        self._selector = selectors.DefaultSelector()
        listener.setblocking(False)
        self._selector.register(listener, selectors.EVENT_READ)

    def close(self) -> None:
        """Drop whoever has not shown the token yet."""
        self._selector.close()
        _close_all(self._said)

    def hear(self, timeout_s: float) -> bool:
        """Take in what callers say; return False where nobody said anything in time."""
        ready = self._selector.select(timeout_s)
        for key, _ in ready:
            if key.fileobj is self._listener:
                self._take_call()
            elif isinstance(key.fileobj, socket.socket):
                self._listen_to(key.fileobj)
        return bool(ready)

    def _take_call(self) -> None:
        try:
            caller, _ = self._listener.accept()
        except (BlockingIOError, ConnectionError):
            return  # the caller has hung up again
        caller.setblocking(False)
        self._said[caller] = bytearray()
        self._selector.register(caller, selectors.EVENT_READ)

    def _listen_to(self, caller: socket.socket) -> None:
        said = self._said[caller]
        try:
            part = caller.recv(_HELLO_BYTES - len(said))
        except ConnectionError:
            part = b""
        said += part
        if part and len(said) < _HELLO_BYTES:
            return
        self._selector.unregister(caller)
        del self._said[caller]
        rank = self._rank_of(bytes(said))
        if rank is None:
            caller.close()
        else:
            self.accepted[rank] = caller

    def _rank_of(self, said: bytes) -> int | None:
        """Return the rank of a caller who has shown the token and was expected, or None."""
        if len(said) != _HELLO_BYTES or not hmac.compare_digest(said[:TOKEN_BYTES], self._token):
            return None
        rank: int = _RANK.unpack(said[TOKEN_BYTES:])[0]
        return rank if rank in self._ranks and rank not in self.accepted else None


def _close_all(sockets: Iterable[socket.socket]) -> None:
    for each in sockets:
        each.close()
