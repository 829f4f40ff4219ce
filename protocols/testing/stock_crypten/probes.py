"""What the experiments on CrypTen ask the operating system: bytes received, stopped processes, children that hang.

It imports nothing of Cloister: see `fresh`.
"""

import multiprocessing
import os
import signal
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["CHILD_DEADLINE_S", "in_child", "received_bytes", "recorded", "returns", "state_of"]

CHILD_DEADLINE_S = 20.0
_FORK = multiprocessing.get_context("fork")  # what CrypTen's run_multiprocess relies on


def recorded(function: Callable[..., Any], record: Callable[[Any], None]) -> Callable[..., Any]:
    """Return the function, each of whose results is recorded as well."""

    def recording(*positional: Any, **named: Any) -> Any:
        result = function(*positional, **named)
        record(result)
        return result

    return recording


def returns(crypten: Any, result_bytes: int, deadline_s: float) -> bool:
    """Return whether run_multiprocess comes back with a result of this size within the deadline."""

    def run() -> None:
        os.setpgid(0, 0)  # to be ended together with its party
        crypten.mpc.context.run_multiprocess(1)(lambda: bytes(result_bytes))()

    child: Any = _FORK.Process(target=run)
    child.start()
    child.join(deadline_s)
    if child.exitcode is not None:
        return True
    os.killpg(child.pid, signal.SIGKILL)
    child.join()
    return False


def state_of(pid: int) -> str:
    """Return the kernel's letter for the state of a process; T is stopped."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def received_bytes() -> int:
    """Return how many payload bytes the kernel has received on the TCP sockets of this process."""
    total = 0
    for entry in Path("/proc/self/fd").iterdir():
        try:
            if not str(entry.readlink()).startswith("socket:"):
                continue
            with socket.socket(fileno=os.dup(int(entry.name))) as copy:
                info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)
        except OSError:
            continue  # closed by now, or no TCP socket
        total += struct.unpack("=Q", info[128:136])[0]  # tcpi_bytes_received of linux/tcp.h
    return total


def in_child(work: Callable[[], Any]) -> Any:
    """Return what work() returns in a forked process, so that what it sets does not stay."""
    ours, theirs = _FORK.Pipe(duplex=False)
    child = _FORK.Process(target=lambda: theirs.send(work()))
    child.start()
    theirs.close()  # a child that fails ends the wait
    try:
        if not ours.poll(CHILD_DEADLINE_S):
            raise RuntimeError(f"nothing came back in {CHILD_DEADLINE_S} s")
        return ours.recv()
    finally:
        child.kill()
        child.join()
