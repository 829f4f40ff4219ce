"""The systems under test: which adapters there are, and how they come onto the bench without staying on it.

An adapter registers a protocol when it is imported, which would add it to everything that other tests do with all
registered ones. Here it is registered for as long as a `with` block lasts.
"""

import importlib
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from unittest import mock

from protocols.registry import Entry
from protocols.secure_sum import secure_sums

__all__ = ["SYSTEMS", "System", "on_the_bench"]


@dataclass(frozen=True, kw_only=True)
class System:
    """One system: the package that it comes from, and the module whose import registers it (None: built in)."""

    package: str
    adapter: str | None


SYSTEMS: Mapping[str, System] = MappingProxyType(
    {
        "additive_stock": System(package="crypten", adapter=None),
        "flwr_secaggplus": System(package="flwr", adapter="tests.systems.adapters.flwr_secaggplus"),
        "mpyc_shamir": System(package="mpyc", adapter="tests.systems.adapters.mpyc_shamir"),
    }
)
"""Name of the protocol -> what it is."""


@cache
def _entry(name: str, adapter: str) -> Entry:
    importlib.import_module(adapter)
    return secure_sums.entry(name)


@contextmanager
def on_the_bench(name: str) -> Generator[None, None, None]:
    """Register the system inside. Raises: ImportError where its package is not installed."""
    adapter = SYSTEMS[name].adapter
    secure_sums.entries()  # all others are loaded before what is there is remembered
    with mock.patch.dict(secure_sums._entries):
        if adapter is not None:
            secure_sums._entries[name] = _entry(name, adapter)
        yield
