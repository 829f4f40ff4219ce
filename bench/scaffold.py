"""`bench new KIND NAME`: a working plug-in to start from."""

import keyword
from importlib import resources
from pathlib import Path
from typing import Any

import attacks.update
import protocols.clustering
import protocols.placements
from attacks import attacks as attack_registry
from protocols.check import CloisterError
from protocols.clustering import clusterings
from protocols.placements import placements
from protocols.registry import Registry
from protocols.secure_sum import secure_sums

__all__ = ["new_attack", "new_clustering", "new_placement", "new_system"]


def new_attack(name: str, directory: Path | None) -> Path:
    """Write a working update attack and return its file; into the package's own folder unless told otherwise.

    Raises: CloisterError for a name that is taken or no Python name, or an existing file.
    """
    return _new_plugin(name, directory or Path(attacks.update.__path__[0]), attack_registry)


def new_clustering(name: str, directory: Path | None) -> Path:
    """Write a working clustering policy and return its file; as new_attack."""
    return _new_plugin(name, directory or Path(protocols.clustering.__path__[0]), clusterings)


def new_placement(name: str, directory: Path | None) -> Path:
    """Write a working fault placement and return its file; as new_attack."""
    return _new_plugin(name, directory or Path(protocols.placements.__path__[0]), placements)


def new_system(name: str, directory: Path | None) -> Path:
    """Write the adapter of somebody else's secure sum, for `pytest --protocol`; into the current folder, unless told.

    Raises: as new_attack.
    """
    return _new_plugin(name, directory or Path.cwd(), secure_sums, template="system")


def _new_plugin(name: str, folder: Path, registry: Registry[Any], *, template: str | None = None) -> Path:
    """Fill in the template that is named after the kind of plug-in, or the one that is named."""
    if not name.isidentifier() or keyword.iskeyword(name) or name.startswith("_") or name != name.lower():
        raise CloisterError(f"name = {name!r} is not allowed; allowed: a lower-case Python name, such as my_attack")
    if name in registry.entries():
        raise CloisterError(f"name = {name!r} is taken by {registry.entry(name).file}; choose another one")
    path = folder / f"{name}.py"
    if path.exists():
        raise CloisterError(f"{str(path)!r} exists already; choose another name, or remove it")
    if not folder.is_dir():
        raise CloisterError(f"folder {str(folder)!r} does not exist; make it first")
    source = (resources.files("bench.templates") / f"{template or registry.kind}.py.txt").read_text(encoding="utf-8")
    class_name = "".join(part.capitalize() for part in name.split("_"))
    path.write_text(source.format(name=name, class_name=class_name), encoding="utf-8")
    return path
