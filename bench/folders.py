"""The folders that commands write into: made before anything is computed, and written by one run at a time."""

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from protocols.check import CloisterError

__all__ = ["held", "make_folder"]


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, where they are not there.

    Raises: CloisterError where that is not possible, or nothing can be written into it.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CloisterError(_refused(folder, error.strerror)) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise CloisterError(_refused(folder, "Permission denied"))


def _refused(folder: Path, reason: str | None) -> str:
    return f"out = {str(folder)!r} cannot be written: {reason}; allowed: a new folder"


@contextmanager
def held(folder: Path) -> Generator[None, None, None]:
    """Hold a folder while a run writes into it; the system lets go of it when the process ends, however it ends.

    Where the file system knows no locks nothing is held.

    Guarantees:
        A folder that is held is refused in one line.
        It is free again after the run.

    Raises: CloisterError where another run holds it.
    """
    handle = os.open(folder, os.O_RDONLY)  # child processes do not inherit it
    try:
        _lock(handle, folder)
        yield
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise CloisterError(
            f"out = {str(folder)!r} is being written by another run; allowed: a new folder, or --resume {folder} once "
            f"that run has ended"
        ) from None
    except OSError:
        pass  # no locks here: two runs at once then do work twice, and spoil no row, for rows are atomic
