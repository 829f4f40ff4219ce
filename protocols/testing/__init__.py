"""The conformance kits: what clusterings, aggregators and mechanisms must do, built in or from third parties.

Each kind has a module here. Each check takes a spec, runs the plug-in on small inputs, and raises AssertionError
with the reason. In a test file of your own:

    from protocols.testing import aggregators as kit

    for check in kit.conformance_checks(spec):
        check(spec)
"""

import inspect
from collections.abc import Callable
from dataclasses import is_dataclass
from typing import Any

from protocols.check import CloisterError
from protocols.registry import Registry, Spec

__all__ = ["Check", "check_documented", "examples_of", "refusal"]

Check = Callable[[Spec], None]


def examples_of(registry: Registry[Any]) -> list[Spec]:
    """Return every registered plug-in with its defaults and with each of its declared examples, without repeats."""
    return list(
        dict.fromkeys(
            registry.resolve({**example, "name": entry.name})
            for entry in registry.entries().values()
            for example in ({"name": entry.name}, *entry.examples)
        )
    )


def check_documented(registry: Registry[Any], spec: Spec) -> None:
    """Raise AssertionError unless the plug-in is a frozen dataclass with a docstring, a source and all defaults."""
    entry = registry.entry(spec.name)
    assert is_dataclass(entry.factory), f"{spec.name} is not a dataclass"
    assert getattr(entry.factory, "__dataclass_params__").frozen, f"{spec.name} is not frozen"  # noqa: B009
    doc = inspect.getdoc(entry.factory) or ""
    # dataclass() writes "Name(...)" where there is no docstring.
    assert not doc.startswith(f"{entry.factory.__name__}("), f"{spec.name} has no docstring"
    assert entry.source, f"{spec.name} has no source"
    entry.factory()


def refusal(call: Callable[[], object]) -> str | None:
    """Return what CloisterError says where the call raises one, else None; any other error goes on to the caller."""
    try:
        call()
    except CloisterError as error:
        return str(error)
    return None
