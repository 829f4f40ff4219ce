"""Faults as plain values, for the way to a party process and back: nothing that is received is ever unpickled."""

from collections.abc import Mapping
from dataclasses import fields
from types import MappingProxyType
from typing import Any

import numpy as np

from protocols.check import CloisterError
from protocols.faults import (
    Combined,
    Crash,
    Delay,
    Duplicate,
    Equivocate,
    Garbage,
    Mute,
    Replay,
    Tamper,
    Truncate,
    WrongCluster,
    WrongDtype,
)
from protocols.faulty_link import Fault

__all__ = ["KINDS", "fault_of", "values_of"]

KINDS: Mapping[str, Any] = MappingProxyType(
    {
        kind.__name__: kind
        for kind in (
            Combined,
            Crash,
            Delay,
            Duplicate,
            Equivocate,
            Garbage,
            Mute,
            Replay,
            Tamper,
            Truncate,
            WrongCluster,
            WrongDtype,
        )
    }
)
"""All kinds of fault, by name."""


def values_of(fault: Fault) -> dict[str, Any]:
    """Return the fault as JSON has it: its kind's name, and its fields.

    Guarantees:
        `fault_of` returns an equal fault, also after a way through JSON.

    Raises: CloisterError for a kind of fault that a party process does not know.
    """
    name = type(fault).__name__
    if KINDS.get(name) is not type(fault):
        raise CloisterError(
            f"fault {fault} is of a kind that party processes do not know; allowed: {', '.join(KINDS)} (or parties "
            f"that are threads, see protocols.in_process)"
        )
    return {"fault": name, **{field.name: _plain(getattr(fault, field.name)) for field in fields(KINDS[name])}}


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):  # drawn by numpy
        return value.item()  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, frozenset):
        return sorted(map(_plain, value))  # pyright: ignore[reportUnknownArgumentType]
    return [values_of(each) for each in value] if isinstance(value, tuple) else value  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def fault_of(values: Mapping[str, Any]) -> Fault:
    """Return the fault that these values are of."""
    own = {key: value for key, value in values.items() if key != "fault"}
    for key, made in (("faults", _several), ("to", _receivers)):
        if isinstance(own.get(key), list):
            own[key] = made(own[key])
    return KINDS[values["fault"]](**own)


def _several(values: list[Mapping[str, Any]]) -> tuple[Fault, ...]:
    return tuple(fault_of(each) for each in values)


def _receivers(values: list[int]) -> frozenset[int]:
    return frozenset(values)
