"""Loads one module of the product with a planted bug; everything else is what it is."""

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import pytest

from tests.meta.mutants import Mutant

__all__ = ["ROOT", "Planted", "plant", "plant_source", "planted_source"]

ROOT = Path(__file__).parents[2]


def planted_source(mutant: Mutant) -> str:
    """Return the module's source with the bug; ValueError where the text to replace is not there exactly once."""
    source = (ROOT / mutant.module).read_text()
    found = source.count(mutant.old)
    if found != 1:
        raise ValueError(
            f"mutant {mutant.name!r}: {mutant.old!r} occurs {found} times in {mutant.module}; allowed: once"
        )
    return source.replace(mutant.old, mutant.new)


class _Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, module: str, source: str) -> None:
        self._path = ROOT / module
        self._source = source
        parts = Path(module).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.name:
            return None
        is_package = self._path.name == "__init__.py"
        spec = importlib.machinery.ModuleSpec(name, self, origin=str(self._path), is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [str(self._path.parent)]
        return spec

    def exec_module(self, module: ModuleType) -> None:
        # Not the file's own name: numba would keep the bug's machine code for whoever imports that file next.
        exec(compile(self._source, f"{self._path} with a planted bug", "exec"), vars(module))


class Planted:
    """A pytest plug-in that has the bug found before anything else looks for its module.

    pytest rewrites the assertions of all packages that come with a plug-in, ours among them, and so would load the
    module itself, as it is.
    """

    def __init__(self, finder: _Finder) -> None:
        self._finder = finder

    @pytest.hookimpl(tryfirst=True)
    def pytest_load_initial_conftests(self) -> None:
        """Go before pytest's own hook, which is there by now; no test has been imported yet."""
        sys.meta_path.remove(self._finder)
        sys.meta_path.insert(0, self._finder)
        _check_absent(self._finder)


def plant(mutant: Mutant) -> Planted:
    """Plant the bug in this process; under pytest, give it the plug-in. Raises: RuntimeError if it is too late."""
    return plant_source(mutant.module, planted_source(mutant))


def plant_source(module: str, source: str) -> Planted:
    """Let the module of that file be what this source says. Raises: RuntimeError if it has been imported."""
    finder = _Finder(module, source)
    _check_absent(finder)
    sys.meta_path.insert(0, finder)
    return Planted(finder)


def _check_absent(finder: _Finder) -> None:
    if finder.name in sys.modules:
        raise RuntimeError(f"{finder.name} has been imported; a bug can only be planted before")
