"""A pool's hold on one of its party processes: the process, the pipe to it, and the memory with its words."""

import contextlib
import multiprocessing
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess

from protocols import party_process
from protocols.input_memory import InputMemory, SentDescriptor
from protocols.network import PartyCrashedError

__all__ = ["Child", "as_crash", "end_children", "start_child"]


@dataclass(frozen=True, kw_only=True)
class Child:
    """One party process."""

    process: ForkServerProcess
    control: Connection
    memory: InputMemory

    @property
    def is_alive(self) -> bool:
        """Whether the process has not ended yet."""
        return self.process.is_alive()

    def kill(self) -> None:
        """End it at once; nothing that it holds is of use any more."""
        self.control.close()
        self.process.kill()

    def bury(self) -> None:
        """Wait until it has ended, and give back what it held."""
        self.process.join()
        self.process.close()
        self.memory.close()


def start_child(rank: int, *, deadline_s: float) -> Child:
    """Start the process of party `rank`, which then waits for orders."""
    context = multiprocessing.get_context("forkserver")
    # The fork server imports CrypTen and all protocols once; each party is a fork of it and starts in milliseconds.
    context.set_forkserver_preload(["protocols.party_preload"])
    ours, theirs = context.Pipe()
    memory = InputMemory.create()
    process = context.Process(
        target=party_process.serve,
        args=(theirs, SentDescriptor(memory.descriptor), rank, deadline_s),
        name=f"party-{rank}",
        daemon=True,
    )
    process.start()
    theirs.close()
    return Child(process=process, control=ours, memory=memory)


def end_children(children: Sequence[Child]) -> None:
    """End these processes at once."""
    for child in children:
        child.kill()
    for child in children:
        child.bury()


@contextlib.contextmanager
def as_crash(slot: int) -> Generator[None, None, None]:
    """Raise PartyCrashedError where the pipe to that party's process has ended."""
    try:
        yield
    except (EOFError, ConnectionError):
        raise PartyCrashedError(f"the process of party {slot} ended") from None
