"""Plug-ins by name: built-in files, third-party entry points, "did you mean", duplicates refused.

A built-in plug-in is one file of a plug-in package; its name is the file's name. A third party's plug-in
is an entry point whose name is the plug-in's name. Plug-ins are frozen dataclasses: their fields are the
parameters that a configuration file can set.
"""

import importlib
import importlib.metadata
import inspect
import json
import math
import pkgutil
import threading
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, TypeVar, cast, get_type_hints

from pydantic import TypeAdapter, ValidationError

from protocols.check import CloisterError, suggestion

__all__ = ["Entry", "Registry", "Spec"]

Plugin = TypeVar("Plugin")
Factory = TypeVar("Factory", bound=type)


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A plug-in's name with its parameters, in alphabetical order.

    Guarantees:
        Specs that differ in any parameter have different canonical texts.
    """

    name: str
    parameters: tuple[tuple[str, Any], ...] = ()

    def as_config(self) -> dict[str, Any]:
        """Return the form that a configuration file uses: the name, then the parameters by name."""
        return {"name": self.name, **dict(self.parameters)}

    def canonical(self) -> str:
        """Return one text for equal specs, fit for hashing."""
        return json.dumps(self.as_config(), sort_keys=True)

    def __str__(self) -> str:
        words = ", ".join(f"{key}={value}" for key, value in self.parameters)
        return f"{self.name}({words})" if words else self.name


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One registered plug-in: its factory and what is said about it."""

    name: str
    factory: type
    source: str
    facts: Mapping[str, Any]
    examples: tuple[Mapping[str, Any], ...] = ()

    @property
    def summary(self) -> str:
        """The first line of the plug-in's docstring."""
        return (inspect.getdoc(self.factory) or "").partition("\n")[0]

    @property
    def defaults(self) -> dict[str, Any]:
        """Each parameter with its default."""
        return {f.name: None if f.default is MISSING else f.default for f in fields(self.factory)}

    @property
    def frozen(self) -> bool:
        """Whether its parameters stay what they are."""
        return bool(getattr(self.factory, "__dataclass_params__").frozen)  # noqa: B009 - not in its type

    @property
    def place(self) -> str:
        """Where it is defined."""
        return f"{self.file}:{self.factory.__qualname__}"

    @property
    def file(self) -> Path:
        """The source file, part of the fingerprint of every cell that uses the plug-in."""
        return Path(inspect.getfile(self.factory))


class Registry(Generic[Plugin]):
    """The plug-ins of one kind.

    Guarantees:
        A built-in file of the plug-in package is found without being listed anywhere.
        An unknown name or parameter is refused with the closest allowed one.
        Two plug-ins of one name are refused.
        A plug-in that cannot be imported is named in the error, with the reason.
    """

    def __init__(self, kind: str, packages: tuple[str, ...], group: str) -> None:
        self.kind = kind
        self.group = group
        self._packages = packages
        self._entries: dict[str, Entry] = {}
        self._lock = threading.RLock()
        self._loaded = False

    def register(
        self,
        *,
        source: str,
        examples: tuple[Mapping[str, Any], ...] = (),
        name: str | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> Callable[[Factory], Factory]:
        """Return a class decorator that registers a frozen dataclass under its file's name (or `name`)."""

        def add(factory: Factory) -> Factory:
            word = name or factory.__module__.rpartition(".")[2]
            self._add(
                Entry(
                    name=word,
                    factory=factory,
                    source=source,
                    examples=examples,
                    facts=MappingProxyType(dict(facts or {})),
                )
            )
            return factory

        return add

    def _add(self, entry: Entry) -> None:
        if not is_dataclass(entry.factory):
            raise CloisterError(f"{self.kind} {entry.name!r} is not a dataclass; allowed: a frozen dataclass")
        if not entry.frozen:
            raise CloisterError(f"{self.kind} {entry.name!r} can be changed; allowed: a frozen dataclass")
        if "name" in entry.defaults:
            raise CloisterError(f"{self.kind} {entry.name!r} has a parameter 'name', which names the plug-in itself")
        known = self._entries.get(entry.name)
        if known and known.place != entry.place:
            raise CloisterError(f"{self.kind} {entry.name!r} is registered twice: {known.place} and {entry.place}")
        self._entries[entry.name] = entry

    def entries(self) -> dict[str, Entry]:
        """Return all plug-ins by name, in alphabetical order."""
        self._load()
        return dict(sorted(self._entries.items()))

    def entry(self, name: str) -> Entry:
        """Return the plug-in of that name; CloisterError with the closest name otherwise."""
        entries = self.entries()
        if name not in entries:
            words = ", ".join(entries)
            raise CloisterError(
                f"{self.kind} = {name!r} is unknown{suggestion(str(name), entries)}; allowed: {words}; "
                f"`bench list` shows them all"
            )
        return entries[name]

    def resolve(self, config: object) -> Spec:
        """Return the spec of a name or of {name = ..., parameter = ...}, with every default filled in.

        Raises: CloisterError for an unknown name or parameter, a wrong type or a value out of range.
        """
        if not isinstance(config, str | Mapping):
            raise CloisterError(f"{self.kind} = {config!r} is not allowed; allowed: a name, or {{name = ..., ...}}")
        given = {"name": config} if isinstance(config, str) else dict(cast(Mapping[str, Any], config))
        name = given.pop("name", None)
        if not isinstance(name, str):
            raise CloisterError(f"{self.kind} = {config!r} has no name; allowed: a name, or {{name = ..., ...}}")
        entry = self.entry(name)
        made = self._make(entry, given)
        names = sorted(f.name for f in fields(entry.factory))
        return Spec(name=name, parameters=tuple((key, getattr(made, key)) for key in names))

    def make(self, spec: Spec) -> Plugin:
        """Return the plug-in that the spec describes."""
        return self._make(self.entry(spec.name), dict(spec.parameters))

    def _check_parameter_names(self, entry: Entry, given: Mapping[str, Any]) -> None:
        allowed = entry.defaults
        for key in given:
            if key not in allowed:
                words = ", ".join(allowed) or "none"
                raise CloisterError(
                    f"{self.kind} {entry.name!r} has no parameter {key!r}{suggestion(key, allowed)}; "
                    f"its parameters: {words}"
                )

    def _make(self, entry: Entry, given: Mapping[str, Any]) -> Plugin:
        self._check_parameter_names(entry, given)
        checked = {key: self._typed(entry, key, value) for key, value in given.items()}
        try:
            made = entry.factory(**checked)
        except (TypeError, ValueError) as error:
            raise CloisterError(f"{self.kind} {entry.name!r}: {error}") from None
        for key, value in checked.items():  # after the plug-in's own checks, which say more
            if isinstance(value, float) and not math.isfinite(value):
                raise CloisterError(
                    f"{self.kind} {entry.name!r}: {key} = {value} is not allowed; allowed: finite numbers"
                )
        return cast(Plugin, made)

    def _typed(self, entry: Entry, key: str, value: Any) -> Any:
        # TOML and JSON know lists only; a frozen plug-in holds tuples.
        plain = tuple(cast(list[Any], value)) if isinstance(value, list) else value
        try:
            return _type_of(entry.factory, key).validate_python(plain, strict=True)
        except ValidationError as error:
            wrong = error.errors()[0]
            way_out = f'; write {key} = "{value}"' if wrong["type"] == "string_type" and isinstance(value, int) else ""
            raise CloisterError(
                f"{self.kind} {entry.name!r}: {key} = {value!r} is not allowed; {wrong['msg']}{way_out}"
            ) from None

    def _load(self) -> None:
        with self._lock:
            if self._loaded:
                return
            for package in self._packages:
                self._load_package(package)
            for point in importlib.metadata.entry_points(group=self.group):
                self._load_entry_point(point)
            self._loaded = True

    def _load_package(self, package: str) -> None:
        for found in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
            if not found.ispkg and not found.name.rpartition(".")[2].startswith("_"):
                self._import(found.name, lambda name=found.name: importlib.import_module(name))

    def _load_entry_point(self, point: importlib.metadata.EntryPoint) -> None:
        before = self._entries.get(point.name)
        self._import(f"{point.name} = {point.value}", point.load)
        after = self._entries.get(point.name)
        if after is None or (after is before and after.factory.__module__ != point.module):
            raise CloisterError(
                f"the entry point {point.name!r} of {self.group} registers no {self.kind} of that name; "
                f"allowed: one whose module registers {point.name!r}"
            )

    def _import(self, what: str, load: Callable[[], Any]) -> None:
        try:
            load()
        except (Exception, SystemExit) as error:
            reason = str(error) if isinstance(error, CloisterError) else f"{type(error).__name__}: {error}"
            raise CloisterError(
                f"the {self.kind} plug-in {what!r} cannot be imported: {reason}; mend or remove it"
            ) from error


@cache
def _type_of(factory: type, parameter: str) -> TypeAdapter[Any]:
    """Return what checks a parameter's type; made once, for making it takes as long as a small encrypted sum."""
    return TypeAdapter(get_type_hints(factory)[parameter])
