"""Which source files a result depends on: those that run every cell, and what a plug-in's file imports beside them.

What a file imports is read off its text, as imports inside functions count too; only Cloister's own files are followed.
"""

import ast
import importlib.metadata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path

import attacks
import bench
import protocols

__all__ = ["core_files", "version_of", "with_imports"]

_ROOTS = {package.__name__: Path(package.__path__[0]) for package in (attacks, bench, protocols)}

# What runs a cell, beside plug-ins; checks, probabilities, reports, the command line and the scheduler change nothing.
_APART = {"testing"}
_VERDICTS = {
    "__init__.py",
    "_predicates.py",
    "_seats.py",
    "conditions.py",
    "disclosure.py",
    "parts.py",
    "spans.py",
    "verdict.py",
}
_BENCH_CORE = (
    *("attacking.py", "worker.py", "cell.py", "chain.py", "data.py", "federation.py", "given.py", "inside.py"),
    *("judging.py", "metrics.py", "noise.py", "observation.py", "opening.py", "poisoning.py", "population.py"),
    *("recall.py", "replaying.py", "round.py", "rules.py", "setting.py", "training.py"),
    *("decentralised.py", "measures.py", "misconduct.py", "placing.py"),
)


def core_files(plugins: Iterable[Path]) -> tuple[Path, ...]:
    """Return the files that run every cell, in order, without these plug-ins' files.

    Guarantees:
        Whatever one of them imports of Cloister's own is among them, plug-ins aside.
    """
    apart = set(plugins)
    root = _ROOTS["protocols"]
    start = [file for file in root.rglob("*.py") if not _APART & set(file.relative_to(root).parts)]
    start = [file for file in start if file.parent.name != "tolerance" or file.name in _VERDICTS]
    start += [file for file in _ROOTS["attacks"].rglob("*.py") if "testing" not in file.parts]
    here = _ROOTS["bench"]
    start += [here / name for name in _BENCH_CORE]
    start += [file for room in ("datasets", "models", "partitions", "workers") for file in (here / room).glob("_*.py")]
    return tuple(sorted(_reached((file for file in start if file not in apart), apart)))


def with_imports(file: Path, core: Iterable[Path] = ()) -> tuple[Path, ...]:
    """Return the file and all that it imports of Cloister's own, at any remove, in order, but for `core`.

    Guarantees:
        Another plug-in's file that it imports is among them.
    """
    return tuple(sorted(_reached([file], set(core))))


def _reached(start: Iterable[Path], apart: set[Path]) -> set[Path]:
    seen: set[Path] = set()
    waiting = list(start)
    while waiting:
        file = waiting.pop()
        if file not in seen:
            seen.add(file)
            waiting += [found for found in _imported(file) if found not in apart]
    return seen


@lru_cache(maxsize=1024)
def _imported(file: Path) -> frozenset[Path]:
    names = (name for node in ast.walk(ast.parse(file.read_bytes())) for name in _names(node))
    return frozenset(found for name in names if (found := _file_of(name)) is not None)


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the full names that a statement may import a module by: what `from` takes may be a module or not."""
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module is not None:
        yield node.module
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _file_of(name: str) -> Path | None:
    top, *rest = name.split(".")
    if top not in _ROOTS:
        return None
    place = _ROOTS[top].joinpath(*rest)
    files = (place.with_suffix(".py") if rest else place / "__init__.py", place / "__init__.py")
    return next((file for file in files if file.is_file()), None)


def version_of(package: str) -> str:
    """Return the version of a package, or "none": numba need not be there, and its sums differ in their last bits."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "none"
