"""What the commands of the conformance kit share: modules to import first, and mistakes said in one line."""

import importlib
import os
import sys
from collections.abc import Callable, Sequence

from protocols.check import CloisterError

__all__ = ["import_first", "in_one_line"]


def import_first(modules: Sequence[str]) -> None:
    """Import modules that register protocols, from the current folder too. Raises: CloisterError for one not there."""
    sys.path.insert(0, os.getcwd())
    for module in modules:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise CloisterError(
                f"--import {module}: {error}; allowed: a module that can be imported from here"
            ) from None


def in_one_line(command: Callable[[], int]) -> int:
    """Return what a command returns; where it is asked for what makes no sense, say so in one line and return 2."""
    try:
        return command()
    except CloisterError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
