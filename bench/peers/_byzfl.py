"""The one import of byzfl, which imports torchvision, whose compiled operators a CPU-only torch does not have."""

import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import cache
from types import ModuleType
from typing import Any

import torch

from protocols.check import CloisterError

__all__ = ["PEER", "byzfl"]

PEER = "byzfl 0.0.11"


@cache
def byzfl() -> ModuleType:
    """Return the module. Raises: CloisterError with the reason where it cannot be imported."""
    try:
        with _without_torchvision_operators(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what byzfl imports, and nobody here can mend
            import byzfl as module  # a test extra, heavy: only where it is compared with
    except (ImportError, RuntimeError, AttributeError) as error:
        raise CloisterError(
            f"byzfl cannot be imported: {type(error).__name__}: {error}; `pip install 'cloister[test]'` installs it"
        ) from error
    return module


@contextmanager
def _without_torchvision_operators() -> Generator[None]:
    """torchvision describes its compiled operators to torch as it is imported; where they are missing, that fails."""
    register: Any = torch.library.register_fake

    def skip_torchvision(name: Any, *given: Any, **named: Any) -> Any:
        if isinstance(name, str) and name.startswith("torchvision::"):
            return _unchanged
        return register(name, *given, **named)

    torch.library.register_fake = skip_torchvision
    try:
        yield
    finally:
        torch.library.register_fake = register


def _unchanged(function: Callable[..., Any]) -> Callable[..., Any]:
    return function
